"""The tables of the log on disk, filled by its own queries."""

import sqlite3
from dataclasses import replace
from typing import Any

from hookbot.log import sqlite_keys as keys
from hookbot.log import sqlite_queries as queries
from hookbot.log.batch import Batch
from hookbot.log.retention import Retention, RetentionLimits
from hookbot.protocol.message import Draft, Message
from hookbot.protocol.topics import UNSAFE

EPOCH = "abcdefgh"
TIME_US = 1_700_000_000_000_000
KEEP_ALL = Retention(max_age_s=None, max_bytes=None, max_unsafe_bytes=None)


def store(connection: sqlite3.Connection, *drafts: Draft, head: int = 0, time_us: int = TIME_US) -> list[Message]:
    batch = Batch(
        EPOCH,
        head,
        time_us,
        keys.first_uses(connection, [once for draft in drafts for once in draft.once], earlier=False),
    )
    for draft in drafts:
        batch.add(draft)
    queries.insert_batch(connection, batch)
    return [message for _, message in batch.stored]


def limits(*, unsafe: bool = False, now_us: int = TIME_US, **kept: Any) -> RetentionLimits:
    return replace(KEEP_ALL, **kept).limits(now_us)[UNSAFE if unsafe else ""]
