"""The append-only log: the messages in the order of their ids, with saved cursors and deduplication keys.

- `Log` (`contract`) is the interface of all engines. `MemoryLog` (`memory`) loses everything at a restart; `SqliteLog`
  (`sqlite`) stores one file, which `sqlite_file` opens; `sqlite_queries` and `sqlite_keys` read and write it: messages
  as `sqlite_rows`, their large bodies apart (`large_bodies`); `sqlite_deletion` deletes some, and `sqlite_unused`
  overwrites the copies that SQLite leaves of them. `Connections` (`sqlite_connections`) run them in threads, and
  `sqlite_errors` says what their errors mean. Of a damaged file, `sqlite_damage` reads what is left, and
  `sqlite_repair` rebuilds what it needs to be opened. `DiskReserve` (`disk_reserve`) sets disk space aside for a full
  disk.
- `sqlite_backup` copies that file beside the hub that writes to it, and `sqlite_restore` makes a new log of the copy.
- `postgres_schema` creates and migrates the tables of a log in PostgreSQL, and recognises its server; `postgres_batch`
  stores a batch in them, `postgres_queries` read messages and cursors; `postgres_retention` deletes the oldest, and
  `postgres_deletion` any. `postgres_topics` selects topics. `Follower` (`postgres_follower`) tells what any hub has
  stored, and `Notifications` (`postgres_notifications`) say when there is something to look for.
- `Batch` (`batch`) turns the drafts of one commit into messages, or into duplicates of earlier ones (`deduplication`);
  `earlier_keys` recognises the keys of the first version of the schema.
- `Partition` (`retention`) counts the messages of one budget, and selects those to delete; `Budgets` (`budgets`) finds
  the budget of a topic, and `Partitions` are those of a log. `sqlite_retention` stores and trims them in a file,
  and `sqlite_regrouping` counts for other budgets.
- `OpenedFile` (`opened_files`) notices that a file is gone or truncated while it is open.
- `Histogram` (`histogram`) counts how long things take, and how large they are, for the hub's metrics.
- `TrustedClock` (`trusted_clock`) is the time of a hub, which does not follow a jump of the machine's clock.
- `Duties` (`duties`) are what only one of the hubs that share a log does at a time; `SoleDuties` those of a log with
  one hub, and `PostgresDuties` (`postgres_duties`) those of a family, with its SQL (`postgres_duty_queries`) and what
  is held here (`HeldDuties`, `held_duties`).
- `Engine` (`engine`) is the base class of both engines, with the state that they keep in memory.

Only the broker's writer appends, trims and deletes; any task may read.
"""
