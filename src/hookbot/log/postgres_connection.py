"""A connection to PostgreSQL that replaces itself, and on which nothing hangs for ever.

A server that hangs, or a network that swallows what is sent, keeps a thread waiting without an end: the kernel at the
other side still acknowledges. So each work has a deadline, after which another thread shuts the socket down.
"""

import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from threading import Lock
from time import monotonic
from typing import Any

import trio

from ..callbacks import T
from ..errors import Unavailable
from ..threads import hub_threads
from .postgres_address import PostgresAddress
from .postgres_batch import PLANNER
from .postgres_errors import Unreachable, cannot_open, is_lost, reason, unavailable

# `require_psycopg` says what to install.
with suppress(ImportError):
    import psycopg

CONNECT_S = 5.0
"""Time for each of: connecting to one address of a host, and preparing that connection."""
WATCH_S = 0.5
"""Interval for comparing a thread's work with its deadline."""

# What is in the address goes before.
PARAMETERS = {
    "connect_timeout": f"{CONNECT_S:.0f}",
    "keepalives_idle": "10",
    "keepalives_interval": "3",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
# Not as parameters of the connection, which a pooling proxy refuses.
SETTINGS = {
    "client_encoding": "UTF8",
    # Before the deadline of the work: a lock that another holds is no reason to lose the connection.
    "lock_timeout": "8s",
    # After it: ends what was given up.
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "5s",
    "jit": "off",
    # As in `PARAMETERS`, for the server: a hub whose machine is gone amid what it sends would keep its locks for hours.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "3",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "20000",
} | PLANNER


class Broken(Unavailable):
    """The connection was lost during the work: whether what it has sent last was done is unknown."""


class PostgresConnection:
    """A connection to the host that can be written to, made when it is needed first and after it was lost.

    The host is the first of the address that will do, or the one with the number `host` if that is given. `check` sees
    each new connection: it raises `Unavailable` to refuse a host, and the next is tried. A connection for which it has
    returned another value than `current` does now is replaced. `do` and `close` belong in a thread; only one thread, or
    one task with `open` or `run`, uses it at a time.
    """

    def __init__(
        self,
        address: PostgresAddress,
        name: str,
        check: "Callable[[psycopg.Connection[Any]], object]" = lambda _: None,
        current: Callable[[], object] = lambda: None,
        *,
        host: int | None = None,
    ) -> None:
        self._address = address
        self._host = host
        self._check = check
        self._current = current
        self._checked: object = None
        self._settings = SETTINGS | {"application_name": name, "search_path": f'"{address.schema}", pg_temp'}
        self._connection: psycopg.Connection[Any] | None = None
        # Of `_socket` and `_deadline`, which another thread looks at.
        self._guard = Lock()
        # Its own: libpq may close that of the connection at any moment, and its number is soon another file's.
        self._socket: socket.socket | None = None
        self._deadline: float | None = None

    async def open(self) -> None:
        """Connect at the start of the hub. `ConfigError` if that needs somebody's help, else `Unavailable`."""
        try:
            await self._in_thread(self._ready)
        except (Unavailable, psycopg.Error) as error:
            raise cannot_open(self._address, error) from error

    def do(self, work: "Callable[[psycopg.Connection[Any]], T]", *, deadline_s: float = 10.0) -> T:
        """Result of work on the connection, in autocommit; a transaction that it leaves open is rolled back.

        Connecting, if need be, has a time of its own. `Unavailable` for an error that is temporary, `Broken` if the
        connection was lost; an error of another kind is raised as it is.
        """
        return self._do(self._ready(), work, deadline_s)

    async def run(self, work: "Callable[[psycopg.Connection[Any]], T]", *, deadline_s: float = 10.0) -> T:
        """Result of `do` in a thread, which ends at the deadline. Not cancellable."""
        return await self._in_thread(partial(self.do, work, deadline_s=deadline_s))

    def abort_if_overdue(self) -> None:
        """Shut the socket down if the present work has passed its deadline: it ends, `Broken`. For any thread."""
        with self._guard:
            if self._socket is not None and self._deadline is not None and monotonic() >= self._deadline:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
                self._socket.close()
                self._socket = None

    def close(self) -> None:
        """Close the connection; it is made again if it is needed again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        with self._guard:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        def attempt() -> T | Exception:
            try:
                return work()
            # Raised outside of the nursery, which would make a group of it.
            except Exception as error:  # noqa: BLE001
                return error

        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch)
                result = await trio.to_thread.run_sync(attempt, limiter=hub_threads())
                nursery.cancel_scope.cancel()
        if isinstance(result, Exception):
            raise result
        return result

    async def _watch(self) -> None:
        while True:
            await trio.sleep(WATCH_S)
            self.abort_if_overdue()

    def _ready(self) -> "psycopg.Connection[Any]":
        connection = self._connection
        if connection is not None and not connection.closed and self._socket and self._checked == self._current():
            return connection
        self.close()
        return self._connect()

    def _connect(self) -> "psycopg.Connection[Any]":
        reasons, hosts = [], self._address.hosts
        for parameters in hosts if self._host is None else [hosts[self._host]]:
            try:
                return self._connect_to(parameters)
            # OSError: the process has no file left.
            except (psycopg.OperationalError, OSError, Unavailable) as error:
                reasons.append(reason(error))
        # Not `Broken`: no work was begun.
        raise Unreachable("; ".join(reasons))

    def _connect_to(self, parameters: Mapping[str, str]) -> "psycopg.Connection[Any]":
        # Whatever goes wrong is told by an error.
        psycopg.logger.setLevel("ERROR")
        # A standby, and an old primary that was made read-only, is none of the hosts that are looked for.
        chosen = PARAMETERS | {**parameters, "target_session_attrs": "read-write"}
        connection = psycopg.connect(psycopg.conninfo.make_conninfo(**chosen), autocommit=True)
        self._connection = connection
        try:
            with self._guard:
                self._socket = socket.socket(fileno=os.dup(connection.fileno()))
            self._do(connection, self._prepare, CONNECT_S)
        except BaseException:
            self.close()
            raise
        return connection

    def _prepare(self, connection: "psycopg.Connection[Any]") -> None:
        connection.execute(
            "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS setting(name, value)",
            [[*self._settings], [*self._settings.values()]],
        )
        self._checked = self._check(connection)

    def _do(
        self, connection: "psycopg.Connection[Any]", work: "Callable[[psycopg.Connection[Any]], T]", deadline_s: float
    ) -> T:
        self._set_deadline(monotonic() + deadline_s)
        try:
            return work(connection)
        except psycopg.Error as error:
            if is_lost(connection, error):
                connection.close()
                raise Broken(f"the hub has lost the connection to its log: {reason(error)}") from error
            raise unavailable("use", error) from error
        finally:
            self._leave_transaction(connection)
            self._set_deadline(None)

    def _set_deadline(self, deadline: float | None) -> None:
        with self._guard:
            self._deadline = deadline

    def _leave_transaction(self, connection: "psycopg.Connection[Any]") -> None:
        idle = psycopg.pq.TransactionStatus.IDLE
        if connection.info.transaction_status != idle:
            with suppress(psycopg.Error):
                connection.rollback()
            if connection.info.transaction_status != idle:
                self.close()
