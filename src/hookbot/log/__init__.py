"""The append-only log: every message in the order of its id, and the only durable state of a hub.

- A `Log` (`contract`) is what any engine promises. `memory.MemoryLog` keeps nothing over a restart,
  `sqlite.SqliteLog` one file: `sqlite_file` opens it, `sqlite_queries` reads and writes its tables.
- A `Batch` (`deduplication`) turns drafts into messages, or into duplicates of earlier ones.
- A `Partition` (`retention`) is the account of the safe or of the unsafe messages; it says what has to go.
- An `Engine` (`engine`) is what all of them keep in memory: partitions, the heads of topics, ranges to scan.

The broker's writer appends and trims; the broker's page cache, and whoever resumes, reads.
"""
