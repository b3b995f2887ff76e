"""The broker: one task appends to the log; subscriptions, cursors and groups follow it.

- A `Broker` (`broker`) takes publishes: its `Writer` (`writer`) stores the queued drafts in batches, each in
  one commit. Then `Channels` (`channels`), with one `Channel` for each filter, wake their subscriptions.
- A `Subscription` (`broker`) follows a channel; one that is behind reads the log through the `PageCache`
  (`page_cache`). `Starts` (`starts`) says where it begins, and of which gap it is told.
- `StoredMessages` and `NewestMessages` (`history`) cover the log up to its head at their creation. All three are
  subscriptions are `MessageSource`s (`history`).
- `Deletions` (`deletions`) deletes messages, and tells all who hold them in memory.
- A `Consumer` (`consumers`) is a source whose client acknowledges: a connection that claims a cursor (`cursors`), or a
  member of a group (`group`, all of them in `groups`), where each message is leased to one member (`leases`).
- `while_held` (`duties`) does what only one hub of a family does at a time.
- `BrokerLimits` (`limits`) bounds the memory of all of them.
- `Positions` (`positions`) saves the acknowledged position of each cursor and group; a `Claim` (`claims`) is the use
  of one. Of hubs that share a log, each saves those that it serves (`SharedPositions`, `shared_positions`).

`web` and `routers` publish to a broker and take from its sources; nothing here imports them.
"""
