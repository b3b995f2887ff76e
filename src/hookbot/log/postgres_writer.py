"""The writer of the PostgreSQL log: a connection and a thread of its own, which stores each batch once.

The connection may be lost while the server commits. Then nobody knows whether the batch is stored, so it is looked up,
by a token that was stored with it, before it is stored again.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import trio

from ..backoff import Backoff
from ..callbacks import Callback, T, result_of
from ..errors import Unavailable
from .batch import Batch
from .contract import Result, Unit
from .postgres_batch import begin_batch, find_token, finish_batch
from .postgres_connection import Broken, PostgresConnection
from .postgres_errors import is_lost
from .postgres_identity import LogIdentity
from .sealing import NO_KEYS, Sealing
from .writer_thread import WriterThread

# `require_psycopg` says what to install.
with suppress(ImportError):
    import psycopg

if TYPE_CHECKING:
    from psycopg import Connection

# Beside the time for the size of what is sent.
DEADLINE_S = 10.0
BYTES_PER_S = 1 << 20
# Longer than a failover takes; publishers wait as long, unless they give up before.
DOUBT_S = 60.0

StoredBatch = tuple[Batch, Sequence[Result]]


@dataclass(slots=True)
class _Attempt:
    """A batch on its way to the server."""

    units: Sequence[Unit]
    token: UUID = field(default_factory=uuid4)
    sent: StoredBatch | None = None
    """The batch, while it may be stored without an answer."""

    @property
    def deadline_s(self) -> float:
        """Time for one round of it."""
        return DEADLINE_S + sum(draft.size for unit in self.units for draft in unit.drafts) / BYTES_PER_S


class PostgresWriter:
    """The only one in this hub that writes messages. `hub` is its id; `clock_us` replaces the server's clock."""

    def __init__(
        self,
        connection: PostgresConnection,
        identity: LogIdentity,
        hub: str,
        clock_us: Callable[[], int] | None,
        sealing: Sealing = NO_KEYS,
    ) -> None:
        self._connection = connection
        self._identity = identity
        self._hub = hub
        self._clock_us = clock_us
        self._sealing = sealing
        self.begun: int | None = None
        """Position before a batch that others may read, until its publishers are answered; whoever does that resets it.
        """
        self._token: UUID | None = None
        """That of the last batch that was stored."""
        self._stopping = Event()
        self._thread = WriterThread(trio.lowlevel.current_trio_token())

    def store_soon(self, units: Sequence[Unit], done: Callback[StoredBatch]) -> None:
        """Store a batch after all that was asked for before, and call `done` with it."""
        self._thread.start(partial(self._store, units), done)

    async def do(self, work: "Callable[[Connection[Any]], T]") -> T:
        """Result of work on the connection, after all that was asked for before. Raises `Unavailable`."""
        do = partial(self._connection.do, work, deadline_s=DEADLINE_S)
        return await result_of(partial(self._thread.start, do))

    def stop(self) -> None:
        """End the thread after all that was asked for. To be called from another one."""
        self._stopping.set()
        self._thread.stop()

    def _store(self, units: Sequence[Unit]) -> StoredBatch:
        attempt = _Attempt(units)
        backoff, doubted_until, lost = Backoff(0.05, 2), monotonic() + DOUBT_S, False
        while True:
            try:
                stored, results = self._connection.do(partial(self._try, attempt), deadline_s=attempt.deadline_s)
            except Unavailable as error:
                # A connection that was idle may have been lost long before: a new one is worth a try.
                if attempt.sent is None and (lost or not isinstance(error, Broken)):
                    raise
                lost = True
                if attempt.sent and (monotonic() > doubted_until or self._stopping.wait(backoff.next_s())):
                    raise Unavailable(f"it is not known whether the message was stored: {error}") from error
            else:
                # Before anybody can be told of a failover in which it was lost.
                self._identity.tell(stored.head)
                if not stored.is_empty:
                    self._token = attempt.token
                return stored, results

    def _try(self, attempt: _Attempt, connection: "Connection[Any]") -> StoredBatch:
        key = self._identity.address.lock_key
        if attempt.sent and find_token(connection, key, attempt.token):
            return attempt.sent
        attempt.sent = None
        start = begin_batch(connection, key, attempt.units, self._hub, self._clock_us and self._clock_us())
        time_us = max(start.now_us, start.time_us)
        batch = Batch(self._identity.epoch, start.position, time_us, start.known, start.cursors, start.fences)
        results = [batch.add_unit(unit) for unit in attempt.units]
        attempt.sent = batch, results
        channel = self._identity.address.channel
        self.begun = batch.after
        try:
            finish_batch(
                connection, batch, self._hub, attempt.token, channel, replaces=self._token, sealing=self._sealing
            )
        except psycopg.Error as error:
            # The server's word that it failed leaves no doubt.
            if not is_lost(connection, error):
                attempt.sent = None
            raise
        return batch, results
