"""Batches of the PostgreSQL log: each is read for in one round trip, and stored in a second one. They run in threads.

The lock that the first trip takes is held until the commit, so positions become visible in their order. The sequences
`pos` and `clock` hold the position of the newest message and the time of the newest batch: they are read and set under
the lock only, and what a batch has set stays after a rollback, which leaves a hole in the positions. A row would be
slow beside a long transaction, since none of its versions could be removed.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ..errors import Unavailable
from .batch import Batch, moved_in
from .contract import Noted, Unit
from .deduplication import FirstUse, digest
from .sealing import NO_KEYS, Sealing

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.errors import Diagnostic

PLANNER = {"enable_seqscan": "off", "enable_bitmapscan": "off", "max_parallel_workers_per_gather": "0"}
"""Settings of each connection. Every statement finds its rows by an index, in the order of their positions; where the
planner has no statistics of a table that has just grown, it would read and sort all of it."""

# Whatever the server's default is: each statement has to see what others committed while this one waited for the lock.
BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
LOCK = "SELECT pg_advisory_xact_lock(%b::bigint)"
# Of everything but batches: longer than any of those takes, and shorter than the time that a new connection has, and a
# duty's holder to renew it.
LOCK_TIMEOUT = "2s"
NEWS = "news"
"""First word of the notification that something was stored, before the hub and the position of its newest message."""

APPLICATION = "hookbot"
"""First word of the name of each session of a hub."""
SILENT_S = 5.0
"""A hub that says nothing for so long amid a transaction is gone: none takes more than some milliseconds."""
_LOCK_NOT_AVAILABLE = "55P03"
_END_SILENT = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND usename = current_user AND application_name LIKE %b::text
      AND xact_start IS NOT NULL AND wait_event = 'ClientRead'
      AND state_change < clock_timestamp() - make_interval(secs => %b::float8)
    """

_LOAD_STATE = """
    SELECT pos.last_value, clock.last_value,
        coalesce(%b::bigint, floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
    FROM pos, clock
    """
FIND_KEYS = "SELECT key, position, time_us, unsafe, fingerprint FROM once WHERE key = ANY(%b::bytea[])"
_FIND_CURSORS = "SELECT name, position FROM cursor WHERE name = ANY(%b::text[])"
# After a failover that lost a claim, another hub may have the same fence.
_FIND_DUTIES = "SELECT name, fence FROM duty WHERE name = ANY(%b::text[]) AND hub = %b::text"
# One statement, since each costs as much as several messages; arrays instead of rows, for batches of every size. The
# token's row is a new one: beside a long transaction, each look-up would pass all versions of a row that is updated.
_STORE = """
    WITH new_log AS (
        INSERT INTO log (position, time_us, topic, size)
        SELECT position, %(time_us)b::bigint, topic, size
        FROM unnest(%(positions)b::bigint[], %(topics)b::text[], %(sizes)b::int[]) AS new (position, topic, size)
    ), new_body AS (
        INSERT INTO body (position, meta, body)
        SELECT * FROM unnest(%(positions)b::bigint[], %(metas)b::text[], %(bodies)b::bytea[])
    ), new_once AS (
        INSERT INTO once (key, position, time_us, unsafe, fingerprint)
        SELECT key, position, %(time_us)b::bigint, unsafe, fingerprint
        FROM unnest(%(keys)b::bytea[], %(key_positions)b::bigint[], %(unsafe)b::boolean[], %(fingerprints)b::bytea[])
        AS new (key, position, unsafe, fingerprint)
    ), old_token AS (
        DELETE FROM writer WHERE token = %(replaces)b::uuid
    ), new_token AS (
        INSERT INTO writer (token, time_us) VALUES (%(token)b::uuid, %(time_us)b::bigint)
    )
    SELECT setval('pos', %(head)b::bigint), setval('clock', %(time_us)b::bigint)
    """
_SAVE_CURSORS = """
    INSERT INTO cursor (name, position, updated_us, note)
    SELECT name, position, %b::bigint, note
    FROM unnest(%b::text[], %b::bigint[], %b::text[]) AS new (name, position, note)
    ON CONFLICT (name) DO UPDATE
    SET position = excluded.position, updated_us = excluded.updated_us, note = excluded.note
    """
_DELETE_CURSORS = "DELETE FROM cursor WHERE name = ANY(%b::text[])"
_FORGET_TOKENS = "DELETE FROM writer WHERE time_us < %b::bigint"
# Far longer than a batch can be in doubt.
_FORGOTTEN_AFTER_US = 86_400_000_000
_FIND_TOKEN = "UPDATE writer SET time_us = time_us WHERE token = %b::uuid"  # noqa: S105
# A commit that notifies holds a lock of the whole cluster until it is on the disk: this one does not wait for that.
_NOTIFY = "SELECT set_config('synchronous_commit', 'off', true), pg_notify(%b::text, %b::text)"


class NotReplicated(Unavailable):
    """A commit did not wait for the replica for which it has to wait: a failover may lose it."""


@dataclass(frozen=True, slots=True)
class BatchStart:
    """State of the log from which a batch is made, read under the lock."""

    position: int
    """Position and time of the newest message."""
    time_us: int
    now_us: int
    """Time of the server's clock, or of the one that replaces it. It may be set back."""
    known: dict[bytes, FirstUse]
    cursors: dict[str, int]
    """Positions of the cursors that were asked for and exist."""
    fences: dict[str, int]
    """Fences of the duties that were asked for and that the hub has."""


@contextmanager
def one_trip(connection: "Connection[Any]") -> Iterator[None]:
    """Round trip for all statements of the block; their results come at its end. If any fails, they are rolled back."""
    try:
        with connection.pipeline():
            yield
    except BaseException:
        # Else the error of a lost connection would be replaced by one that says nothing.
        if not connection.closed:
            connection.rollback()
        raise


@contextmanager
def replicated(connection: "Connection[Any]") -> Iterator[None]:
    """Raise `NotReplicated` at the end of the block if a commit in it was made to wait no longer for a replica.

    By a timeout, or by an operator: the server commits then, and only warns.
    """
    given_up = False

    def hear(notice: "Diagnostic") -> None:
        nonlocal given_up
        # Its text has a language, and its code says nothing.
        given_up |= notice.source_function == "SyncRepWaitForLSN"

    connection.add_notice_handler(hear)
    try:
        yield
    finally:
        connection.remove_notice_handler(hear)
        if given_up:
            raise NotReplicated("the message is not known to be on the replica that it has to be on")


@contextmanager
def waiting_for_locks(connection: "Connection[Any]") -> Iterator[None]:
    """Within the block, locks are waited for. If that takes too long, the sessions of hubs that fell silent are ended.

    Such a hub was stopped or cut off amid a transaction. `idle_in_transaction_session_timeout` is no help: it does not
    run while the server has a part of a round trip, nor after the flush with which psycopg ends one.
    """
    try:
        yield
    except Exception as error:
        if getattr(error, "sqlstate", None) == _LOCK_NOT_AVAILABLE and not connection.closed:
            connection.execute(_END_SILENT, (f"{APPLICATION} %", SILENT_S))
        raise


@contextmanager
def locked(connection: "Connection[Any]", lock_key: int) -> Iterator[None]:
    """Transaction around the block that has the lock, so that nobody stores a batch meanwhile."""
    with waiting_for_locks(connection), connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        connection.execute(LOCK, (lock_key,))
        yield


def begin_batch(
    connection: "Connection[Any]", lock_key: int, units: Sequence[Unit], hub: str, clock_us: int | None = None
) -> BatchStart:
    """Open a transaction, take the lock, and read what a batch of units needs, in one round trip.

    `clock_us` replaces the server's clock. `finish_batch` ends the transaction, or a rollback.
    """
    digests = {digest(once) for unit in units for draft in unit.drafts for once in draft.once}
    duties = {unit.duty.name for unit in units if unit.duty}
    wanted: list[tuple[str, Collection[Any], tuple[str, ...]]] = [
        (FIND_KEYS, digests, ()),
        (_FIND_CURSORS, moved_in(units), ()),
        (_FIND_DUTIES, duties, (hub,)),
    ]
    with waiting_for_locks(connection), one_trip(connection):
        connection.execute(BEGIN)
        connection.execute(LOCK, (lock_key,))
        state = connection.execute(_LOAD_STATE, (clock_us,), binary=True)
        found = [
            connection.execute(query, (list(names), *values), binary=True) if names else ()
            for query, names, values in wanted
        ]
    [(position, time_us, now_us)] = state
    uses, cursors, fences = found
    known = {key: FirstUse(*use) for key, *use in uses}
    return BatchStart(position, time_us, now_us, known, dict(cursors), dict(fences))


def finish_batch(
    connection: "Connection[Any]",
    batch: Batch,
    hub: str,
    token: UUID,
    channel: str,
    *,
    replaces: UUID | None = None,
    sealing: Sealing = NO_KEYS,
) -> None:
    """Store a batch, commit, and then notify those who listen on `channel` of its head.

    If the answer is lost, `find_token` knows whether it is stored. `replaces` is the token of the batch that this hub
    has stored before; without one, those are forgotten that hubs have left behind which have ended. Raises
    `NotReplicated`.
    """
    commit = None
    try:
        with replicated(connection), one_trip(connection):
            if not batch.is_empty:
                connection.execute(_STORE, {**_values(batch, sealing), "token": token, "replaces": replaces})
                _save_cursors(connection, batch.cursors, batch.time_us)
                if replaces is None:
                    connection.execute(_FORGET_TOKENS, (batch.time_us - _FORGOTTEN_AFTER_US,))
            commit = connection.execute("COMMIT")
            if batch.stored:
                connection.execute(_NOTIFY, (channel, f"{NEWS} {hub} {batch.head}"))
    except NotReplicated:
        raise
    except Exception:
        # It is stored, and those who listen read without a notification, too.
        if commit is None or commit.statusmessage != "COMMIT":
            raise


def find_token(connection: "Connection[Any]", lock_key: int, token: UUID) -> bool:
    """True if the last batch that a hub has stored had this token.

    The token is written again, so that this commit waits for the same replicas as the one whose answer was lost.
    Raises `NotReplicated`.
    """
    with waiting_for_locks(connection), replicated(connection), one_trip(connection):
        connection.execute(BEGIN)
        # That batch, if it is still under way, has the lock.
        connection.execute(LOCK, (lock_key,))
        found = connection.execute(_FIND_TOKEN, (token,))
        connection.execute("COMMIT")
    return found.rowcount == 1


def _values(batch: Batch, sealing: Sealing) -> dict[str, Any]:
    rows, messages, uses = [row for row, _ in batch.stored], batch.messages, batch.keys.values()
    sealed = [sealing.seal(row[0], message) for row, message in batch.stored]
    return {
        "head": batch.head,
        "time_us": batch.time_us,
        "positions": [row[0] for row in rows],
        "sizes": [row[2] for row in rows],
        "topics": [message.topic for message in messages],
        "metas": [meta for meta, _ in sealed],
        "bodies": [body for _, body in sealed],
        "keys": list(batch.keys),
        "key_positions": [use.position for use in uses],
        "unsafe": [use.unsafe for use in uses],
        "fingerprints": [use.fingerprint for use in uses],
    }


def _save_cursors(connection: "Connection[Any]", cursors: Mapping[str, Noted | None], now_us: int) -> None:
    saved = {name: noted for name, noted in cursors.items() if noted}
    if saved:
        positions, notes = [noted.position for noted in saved.values()], [noted.note for noted in saved.values()]
        connection.execute(_SAVE_CURSORS, (now_us, list(saved), positions, notes))
    if deleted := [name for name, noted in cursors.items() if noted is None]:
        connection.execute(_DELETE_CURSORS, (deleted,))
