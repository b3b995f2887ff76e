"""Deletion in the PostgreSQL log: of a deleted message, its position and its time stay. It runs in threads.

Such a row of `log` has no size and the prefix of its budget as topic, and nothing in `body` belongs to it. What
the server keeps of the bytes, in pages that are not vacuumed yet and in what it has written ahead, is up to the server.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .contract import DeletionStep
from .copying import DeletedRow
from .postgres_batch import BEGIN, one_trip
from .retention import STEP_ROWS

if TYPE_CHECKING:
    from psycopg import Connection

NOTICE = "deleted"
"""First word of the notification that messages were deleted, before their positions, unless these are many."""
# The server takes payloads of less than 8000 bytes.
MAX_PAYLOAD = 7900

# In the order in which retention locks the rows.
_DELETE_BODIES = "DELETE FROM body WHERE position = ANY(%b::bigint[])"
_MARK = """
    UPDATE log SET size = 0, topic = (
        SELECT prefix FROM budget WHERE prefix = topic OR starts_with(topic, prefix) AND right(prefix, 1) IN ('', '/')
        ORDER BY length(prefix) DESC LIMIT 1
    )
    WHERE position = ANY(%b::bigint[]) AND size > 0
    """
_LOAD_DELETED = """
    SELECT position, time_us, topic FROM log WHERE position > %b::bigint AND size = 0
    ORDER BY position LIMIT %b::bigint
    """
_REPLACE_DELETED = """
    INSERT INTO log (position, time_us, topic, size)
    SELECT *, 0 FROM unnest(%b::bigint[], %b::bigint[], %b::text[])
    ON CONFLICT (position) DO UPDATE SET topic = excluded.topic, size = 0
    """
_NOTIFY = "SELECT pg_notify(%b::text, %b::text)"


def delete_step(connection: "Connection[Any]", positions: Sequence[int], channel: str) -> DeletionStep:
    """Delete one step of the messages at these positions, and notify those who listen on `channel`.

    So does this hub: if the answer of the server is lost, it may be done.
    """
    step = list(positions[:STEP_ROWS])
    with one_trip(connection):
        connection.execute(BEGIN)
        connection.execute(_DELETE_BODIES, (step,))
        marked = connection.execute(_MARK, (step,))
        connection.execute(_NOTIFY, (channel, notification(step)))
        connection.execute("COMMIT")
    return DeletionStep(marked.rowcount, positions[STEP_ROWS:])


def load_deleted(connection: "Connection[Any]", *, after: int, limit: int) -> list[DeletedRow]:
    """Rows that stay of the messages that were deleted after a position, at most `limit`."""
    return list(map(DeletedRow._make, connection.execute(_LOAD_DELETED, (after, limit), binary=True)))


def replace_deleted(connection: "Connection[Any]", *, deleted: Sequence[DeletedRow]) -> None:
    """Write what stays of messages that were deleted, also in place of them."""
    positions, times_us, topics = map(list, zip(*deleted, strict=True))
    connection.execute(_DELETE_BODIES, (positions,))
    connection.execute(_REPLACE_DELETED, (positions, times_us, topics))


def notification(positions: Sequence[int]) -> str:
    """Payload for all hubs: without the positions, if it would be too long with them."""
    payload = f"{NOTICE} {','.join(map(str, positions))}"
    return payload if len(payload) <= MAX_PAYLOAD else NOTICE


def notified(words: Sequence[str]) -> Sequence[int] | None:
    """The positions in the words of such a payload behind the first; None if they are left out.

    Raises `ValueError`.
    """
    return [int(position) for position in words[0].split(",")] if words else None
