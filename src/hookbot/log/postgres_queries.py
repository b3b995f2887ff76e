"""Queries of the PostgreSQL log that read messages and cursors. They run in threads.

Values are read in the binary format: as text, a body takes five times as long.
"""

# ruff: noqa: S608 - only constants of this file are formatted into statements; values are bound

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..protocol.message import Message, Once
from ..protocol.topics import TopicFilter
from .contract import Page, SavedCursor
from .copies import Copy, find_copies, mark_of
from .deduplication import FirstUse, digest
from .engine import ScanRange
from .postgres_batch import FIND_KEYS, one_trip
from .postgres_retention import Losses, load_lost, lost_of, query_lost
from .postgres_topics import IS_WANTED, selection
from .stored_message import StoredMessage

if TYPE_CHECKING:
    from psycopg import Connection

# No message ever gets there: an id has 15 digits.
PROBE_POSITION = 10**15

# One snapshot for all statements.
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# Their sizes first, from the narrow table, so that no body is read that does not fit. OFFSET 0 keeps the planner from
# turning the look-up of each body into a walk over all of them.
_FITTING = """
    SELECT position, time_us, size, meta, topic, body, found
    FROM (
        SELECT *, sum(size) OVER these AS total, row_number() OVER these AS number, count(*) OVER () AS found
        FROM ({found}) found WINDOW these AS (ORDER BY position {order})
    ) fitting
    CROSS JOIN LATERAL (SELECT meta, body FROM body WHERE body.position = fitting.position OFFSET 0) body
    WHERE number = 1 OR total <= %(max_bytes)b::bigint
    ORDER BY position {order}
    """
_SCAN = f"""
    SELECT * FROM log WHERE position > %(low)b::bigint AND position <= %(high)b::bigint AND size > 0 AND {IS_WANTED}
    ORDER BY position {{order}} LIMIT %(limit)b::bigint
    """
LOAD_PAGE = {
    newest: _FITTING.format(found=_SCAN.format(order=order), order=order)
    for newest, order in ((False, "ASC"), (True, "DESC"))
}
_COUNT = f"""
    SELECT count(*), coalesce(min(time_us), 0) FROM ({_SCAN.format(order="ASC")}) found
    """
# Others are left out before they are parsed.
_COPIES = """
    SELECT position, topic, json->>'routed_from', json->>'replay_of', json->>'duplicate_of'
    FROM log JOIN body USING (position) CROSS JOIN LATERAL (SELECT meta::json AS json OFFSET 0) parsed
    WHERE position > %(low)b::bigint AND position <= %(high)b::bigint AND meta LIKE ANY(%(marks)b::text[])
    ORDER BY position
    """
_NEXT = """
    SELECT * FROM log
    WHERE position > %(after)b::bigint AND position <= coalesce(%(up_to)b::bigint, position) AND size > 0
    ORDER BY position LIMIT %(limit)b::bigint
    """
# One statement has one snapshot: every message up to `head` is one of these, or follows them, or is lost.
LOAD_ROWS = f"""
    SELECT head, prefixes, losses, rows.*
    FROM (SELECT coalesce(%(up_to)b::bigint, max(position)) AS head FROM log) newest
    CROSS JOIN (
        SELECT array_agg(prefix) AS prefixes, array_agg(ARRAY[lost, lost_us, passed, generation]) AS losses FROM budget
    ) budgets
    LEFT JOIN ({_FITTING.format(found=_NEXT, order="ASC")}) rows ON true
    ORDER BY position
    """
# Of a log that retention has emptied, it is what retention has passed.
_LOAD_HEAD = """
    SELECT position, time_us FROM (
        (SELECT position, time_us FROM log ORDER BY position DESC LIMIT 1) UNION ALL
        SELECT greatest(passed, lost), lost_us FROM budget
    ) newest ORDER BY position DESC, time_us DESC LIMIT 1
    """
_LOAD_TOPICS = """
    SELECT topic, position FROM (SELECT topic, position FROM log ORDER BY position DESC LIMIT %b::bigint) newest
    ORDER BY position
    """
# By bisection: `low` is the newest message that is known to be too old, or where messages begin; those after `high` are
# not. There may be none at a position between them.
_POSITION_BEFORE = """
    WITH RECURSIVE search (low, high) AS (
        SELECT passed, greatest(passed, (SELECT max(position) FROM log))
        FROM (SELECT min(passed) AS passed FROM budget) start
        UNION ALL
        SELECT coalesce(found.position, low), CASE WHEN found.position IS NULL THEN (low + high) / 2 ELSE high END
        FROM search LEFT JOIN LATERAL (
            SELECT position FROM (
                SELECT position, time_us FROM log WHERE position > (low + high) / 2 AND position <= high
                ORDER BY position LIMIT 1
            ) next WHERE time_us < %b::bigint
        ) found ON true
        WHERE low < high
    )
    SELECT low FROM search WHERE low = high
    """
_LOAD_NOW = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
_LOAD_CURSORS = """
    SELECT name, position, updated_us, note FROM cursor
    WHERE name >= %(prefix)b::text AND starts_with(name, %(prefix)b::text) ORDER BY name
    """
_LOAD_KEYS = """
    SELECT key, position, time_us, unsafe, fingerprint FROM once WHERE key > %b::bytea ORDER BY key LIMIT %b::bigint
    """
_PROBE = "INSERT INTO body VALUES (%b::bigint + pg_backend_pid(), '', '')"


class LogStart(NamedTuple):
    """State of a log's messages when it is opened."""

    head: int
    """Position and time of the newest message."""
    head_us: int
    topics: Sequence[tuple[str, int]]
    """Topics and positions of the messages after `primed_after`, in order."""
    primed_after: int
    lost: Losses
    ancestors: Mapping[str, int]


class Rows(NamedTuple):
    """The oldest messages after a position, the position of the newest of all there, and what is lost."""

    messages: Sequence[Message]
    newest: int
    lost: Losses

    def until(self, position: int) -> "Rows":
        """These as they would be without the messages behind a position."""
        messages = [message for message in self.messages if message.position <= position]
        return Rows(messages, min(self.newest, position), self.lost)


def load_page(
    connection: "Connection[Any]",
    epoch: str,
    wanted: TopicFilter,
    scan: ScanRange,
    *,
    limit: int,
    max_bytes: int,
    newest: bool,
) -> tuple[Page, Losses]:
    """Page of the messages that `wanted` selects in `scan`, limited like that of `Log.read`, and what is lost then."""
    bounds = {"low": scan.low, "high": scan.high, "limit": limit, "max_bytes": max_bytes}
    with one_trip(connection):
        connection.execute(_BEGIN)
        found = connection.execute(LOAD_PAGE[newest], {**bounds, **selection(wanted)}, binary=True)
        lost = query_lost(connection)
        connection.execute("COMMIT")
    rows = found.fetchall()
    complete = not rows or len(rows) == rows[0][-1] < limit
    return Page(_messages(epoch, rows), scan.end if complete else rows[-1][0]), lost_of(lost)


def count_messages(
    connection: "Connection[Any]", *, wanted: TopicFilter, scan: ScanRange, limit: int
) -> tuple[int, int]:
    """Number of the messages in `scan` that `wanted` selects, up to `limit`, and time of the oldest, 0 without one."""
    bounds = {"low": scan.low, "high": scan.high, "limit": limit}
    [(number, oldest_us)] = connection.execute(_COUNT, {**bounds, **selection(wanted)}, binary=True)
    return int(number), int(oldest_us)


def load_copies(connection: "Connection[Any]", *, shared: Mapping[str, int], low: int, high: int) -> Sequence[Copy]:
    """The copies after position `low`, up to and including `high`."""
    values = {"low": low, "high": high, "marks": [f"%{mark_of(epoch)}%" for epoch in shared]}
    rows = connection.execute(_COPIES, values, binary=True)
    return find_copies(shared, ((position, topic, ids) for position, topic, *ids in rows))


def load_start(connection: "Connection[Any]", *, primed: int) -> LogStart:
    """State of a log's messages, with the topics of its newest messages, at most `primed`."""
    head, head_us = load_head(connection)
    newest = load_topics(connection, primed)
    primed_after = newest[0][1] - 1 if len(newest) == primed else 0
    # Those that were stored meanwhile are told.
    topics = [(topic, position) for topic, position in newest if position <= head]
    return LogStart(head, head_us, topics, primed_after, load_lost(connection), load_ancestors(connection))


def load_rows(
    connection: "Connection[Any]", epoch: str, after: int, up_to: int | None, *, limit: int, max_bytes: int
) -> Rows:
    """The messages after a position, up to another one or all, limited like those of a page."""
    values = {"after": after, "up_to": up_to, "limit": limit, "max_bytes": max_bytes}
    rows = connection.execute(LOAD_ROWS, values, binary=True).fetchall()
    head, prefixes, losses = rows[0][:3]
    messages = _messages(epoch, (row[3:] for row in rows if row[3] is not None))
    return Rows(
        messages, max(after, head or 0), Losses((prefix, *lost) for prefix, lost in zip(prefixes, losses, strict=True))
    )


def load_head(connection: "Connection[Any]") -> tuple[int, int]:
    """Position and time of the newest message ever stored."""
    [(position, time_us)] = connection.execute(_LOAD_HEAD, binary=True)
    return position, time_us


def load_ancestors(connection: "Connection[Any]") -> dict[str, int]:
    """Epochs that the log had before it was restored, with the last position that it shares with each."""
    return dict(connection.execute("SELECT epoch, head FROM ancestor", binary=True))


def load_topics(connection: "Connection[Any]", number: int) -> list[tuple[str, int]]:
    """Topic and position of each of the newest messages, which are at most this many, in order."""
    return connection.execute(_LOAD_TOPICS, (number,), binary=True).fetchall()


def position_before(connection: "Connection[Any]", *, time_us: int) -> tuple[int, Losses]:
    """Position after which all messages still kept were stored at `time_us` or later, and what is lost then."""
    with one_trip(connection):
        connection.execute(_BEGIN)
        found = connection.execute(_POSITION_BEFORE, (time_us,), binary=True)
        lost = query_lost(connection)
        connection.execute("COMMIT")
    [(position,)] = found
    return int(position), lost_of(lost)


def load_now(connection: "Connection[Any]") -> int:
    """Time of the server's clock, in microseconds since 1970."""
    [(now_us,)] = connection.execute(_LOAD_NOW, binary=True)
    return int(now_us)


def load_cursors(connection: "Connection[Any]", prefix: str) -> list[SavedCursor]:
    """Saved cursors whose names begin with `prefix`, sorted by name."""
    return [SavedCursor(*row) for row in connection.execute(_LOAD_CURSORS, {"prefix": prefix}, binary=True)]


def load_keys(connection: "Connection[Any]", after: bytes, limit: int) -> dict[bytes, FirstUse]:
    """The first uses of keys whose digests come after `after`, in order, at most `limit`."""
    return {key: FirstUse(*use) for key, *use in connection.execute(_LOAD_KEYS, (after, limit), binary=True)}


def first_use(connection: "Connection[Any]", *, once: Once) -> FirstUse | None:
    """First use of a key, if it is stored."""
    found = connection.execute(FIND_KEYS, ([digest(once)],), binary=True).fetchall()
    return FirstUse(*found[0][1:]) if found else None


def probe(connection: "Connection[Any]") -> None:
    """Write what a message needs, and undo it, so that a full or failing disk raises an error."""
    with one_trip(connection):
        connection.execute("BEGIN")
        connection.execute(_PROBE, (PROBE_POSITION,))
        connection.execute("ROLLBACK")


def _messages(epoch: str, rows: Iterable[Sequence[Any]]) -> list[Message]:
    return [
        StoredMessage.of(topic, body, (epoch, position, time_us, size, meta))
        for position, time_us, size, meta, topic, body, _ in rows
    ]
