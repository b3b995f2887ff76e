"""The append-only log: all messages in the order of their ids, the only durable state of a hub.

- `Log` (`contract`) is the interface of all engines. `MemoryLog` (`memory`) loses everything at a restart; `SqliteLog`
  (`sqlite`) stores one file, which `sqlite_file` opens and `sqlite_queries` reads and writes.
- `Batch` (`deduplication`) turns the drafts of one commit into messages, or into duplicates of earlier ones.
- `Partition` (`retention`) counts the safe or the unsafe messages, and selects those to delete.
- `Engine` (`engine`) is the base class of both engines, with the state that they keep in memory.

The broker's writer appends and trims; the broker's page cache and resuming subscriptions read.
"""
