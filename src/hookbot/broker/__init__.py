"""The broker: one task writes the log; subscriptions, cursors and groups follow it.

- A `Broker` (`broker`) takes publishes: its `Writer` (`writer`) stores all queued drafts in one commit,
  then the `Channels` (`channels`), one for each filter, wake their subscriptions.
- A `Subscription` (`broker`) follows a channel; one that is behind reads the log through the `PageCache`
  (`page_cache`). `StoredMessages` and `NewestMessages` (`history`) end at the head that the log has when they begin.
  Each of them is a `MessageSource` (`history`).
- A `Consumer` (`consumers`) is a source whose client acknowledges: a connection that claims a cursor (`cursors`), or a
  member of a group (`group`, all of them in `groups`), where each message is leased to one member (`leases`).
- `BrokerLimits` (`limits`) bound the memory of all of them.
- `Positions` (`positions`) saves the acknowledged position of each consumer; a `Claim` (`claims`) is the use of one.

`web` and `routers` publish to a broker and take from its sources; nothing here imports them.
"""
