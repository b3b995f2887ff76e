"""The broker: one task writes the log; subscriptions, cursors and groups follow it.

- A `Broker` (`broker`) is what publishes go to: its `Writer` (`writer`) stores all that waits in one commit,
  then the `Channels` (`channels`), one for each filter, wake their listeners.
- A `Subscription` (`broker`) follows a channel; one that is behind reads the log through the `PageCache`
  (`page_cache`). `StoredMessages` and `NewestMessages` (`history`) end where the log ends now. All of them are a
  `MessageSource` (`history`).
- A `Consumer` (`consumers`) is a source whose client acknowledges: a connection that has a cursor (`cursors`), or is a
  member of a group (`group`, all of them in `groups`), where each message is leased to one member (`leases`).
- `Positions` (`positions`) saves up to where each has acknowledged; a `Claim` (`claims`) says who has it now.

The ways in (`web`) and the routers publish to a broker and take from its sources; nothing here knows of them.
"""
