"""The opening of a log: of each store, and of one that cannot be reached at first, when the hub answers anyway."""

import gc
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hookbot.errors import ConfigError, Unavailable
from hookbot.hub import hub as hubs
from hookbot.hub.app_server import AppServer
from hookbot.hub.config import Config, parse_store
from hookbot.hub.data_dir import NO_HOME
from hookbot.hub.hub import open_hub, run_hub
from hookbot.hub.opening import open_log, open_when_available
from hookbot.hub.shutdown_limit import ShutdownLimit
from hookbot.log.contract import Log
from hookbot.log.memory import MemoryLog
from hookbot.log.postgres_errors import Unreachable
from hookbot.log.sqlite import SqliteLog
from hookbot.protocol.message import wall_clock_us
from hookbot.web.limits import ConnectionLimits
from hookbot.web.listening import ListeningSocket
from hookbot.web.tls import Tls
from hookbot.web.unauthenticated import UnauthenticatedConnections
from support import GUARD_S
from support.api import open_api
from support.clients import Answer, basic, connect, post
from support.hubs import configured, no_groups
from support.ports import free_ports
from support.tls import client_context, hub_context

DOWN = Unavailable("the server at db:5432 cannot be reached")
SHARED = parse_store("postgresql://user:s3cret@db/hooks")


class Store:
    """A store that fails with these errors, one at each attempt, and then waits until it may be opened."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.up = trio.Event()
        self.tries = 0

    @asynccontextmanager
    async def open(self, *_: Any) -> AsyncIterator[Log]:
        self.tries += 1
        if self.errors:
            raise self.errors.pop(0)
        await self.up.wait()
        # As an engine with a task of its own.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            yield MemoryLog(clock_us=wall_clock_us)
            nursery.cancel_scope.cancel()


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


@pytest.fixture(autouse=True)
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], Sequence[str]]:
    """What was logged."""
    caplog.set_level(logging.INFO, "hookbot")
    return lambda: [record.getMessage() for record in caplog.records]


def starting() -> AppServer:
    return AppServer.of_starting_hub(ConnectionLimits(grace_s=GUARD_S), UnauthenticatedConnections())


def opening(
    store: Store, sock: socket.socket, tls: Tls | None = None, **options: Any
) -> AbstractAsyncContextManager[Log]:
    options = {"patience_s": 0, "longest_pause_s": 0, **options}
    return open_when_available(store.open, starting(), [ListeningSocket(sock, tls)], **options)


async def ask(port: int, request: bytes, **options: Any) -> Answer:
    async with await connect(port, **options) as client:
        await client.send(request)
        return await client.answer()


GET = b" HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(("store", "kind"), [("memory:", MemoryLog), ("sqlite:", SqliteLog)])
async def test_the_log_is_that_of_the_store(store: str, kind: type, tmp_path: Path) -> None:
    async with open_log(configured(tmp_path, store=store), wall_clock_us) as log:
        assert isinstance(log, kind)


async def test_with_a_key_at_rest_a_hub_reads_and_finds_what_nobody_can_read_on_the_disk(tmp_path: Path) -> None:
    options: dict[str, Any] = {"store": "sqlite:", "at_rest_keys": (bytes(32),)}
    async with open_api(tmp_path, **options) as hub:
        assert (await hub.post("/unsafe/pub/x?secret-query", b"secret body", [("X-Mark", "secret header")])).is_success
        assert all(b"secret" not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())

    async with open_api(tmp_path, **options) as hub:
        found = (await hub.http.get("/hookbot/v1/messages", params={"text": "secret body"})).json()["messages"]
        [message] = await hub.stored()

    assert [one["id"] for one in found] == [message.id]
    assert (message.body, message.query, message.header("X-Mark")) == (b"secret body", "secret-query", "secret header")


async def test_a_store_that_is_there_is_open_at_once(sock: socket.socket, told: Callable[[], Sequence[str]]) -> None:
    store = Store()
    store.up.set()
    async with opening(store, sock, patience_s=inf) as log:
        assert isinstance(log, MemoryLog)
    assert (store.tries, told()) == (1, [])


async def test_the_operator_is_told_why_a_server_cannot_be_reached(
    sock: socket.socket, told: Callable[[], Sequence[str]]
) -> None:
    store = Store(ExceptionGroup("", [Unreachable("db:5432 refuses connections")]))
    store.up.set()
    async with opening(store, sock, patience_s=inf):
        pass

    assert told()[0].startswith("the log cannot be opened: db:5432 refuses connections;")


async def test_a_store_is_tried_until_it_is_there_and_each_reason_is_told_once(
    sock: socket.socket, told: Callable[[], Sequence[str]]
) -> None:
    store = Store(DOWN, DOWN, ExceptionGroup("", [DOWN]), Unavailable("the server is starting"), DOWN)
    store.up.set()
    async with opening(store, sock, patience_s=inf):
        assert store.tries == 6

    reasons = [line.split(": ")[1].split(";")[0] for line in told()[:-1]]
    assert reasons == [str(DOWN), "the server is starting", str(DOWN)]
    assert told()[-1] == "the log is open"


@pytest.mark.parametrize("wrap", [lambda error: error, lambda error: ExceptionGroup("", [error])])
@pytest.mark.parametrize("error", [ConfigError("the log is of a newer version"), RuntimeError("a bug")])
async def test_any_other_error_ends_the_hub(
    error: Exception, wrap: Callable[[Exception], Exception], sock: socket.socket
) -> None:
    store = Store(DOWN, wrap(error))
    with pytest.raises(type(error), match=str(error)), no_groups():
        async with opening(store, sock):
            pass
    assert store.tries == 2


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_until_then_what_can_be_answered_without_a_log_is(secure: bool, sock: socket.socket) -> None:
    store, port = Store(DOWN), sock.getsockname()[1]
    tls = Tls(hub_context()) if secure else None
    options = {"tls": client_context()} if secure else {}
    with trio.fail_after(GUARD_S):
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                async with opening(store, sock, tls):
                    pass

            nursery.start_soon(run)
            health = await ask(port, b"GET /healthz" + GET, **options)
            publish = await ask(port, post("/pub/x", b"hello"), **options)
            store.up.set()

    assert (health.status, health.body) == (200, b"ok\n")
    assert (publish.status, publish.headers["retry-after"]) == (503, "1")


async def test_what_is_answered_meanwhile_leaves_no_garbage(sock: socket.socket) -> None:
    store = Store(DOWN)
    gc.disable()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(opening(store, sock).__aenter__)
            assert (await ask(sock.getsockname()[1], b"GET /healthz" + GET)).status == 200
            assert gc.isenabled()
            nursery.cancel_scope.cancel()
    finally:
        gc.enable()


async def test_whoever_is_connected_when_it_opens_connects_again_to_the_hub(sock: socket.socket) -> None:
    store, ended = Store(), trio.Event()

    async def run() -> None:
        async with opening(store, sock):
            await ended.wait()

    with trio.fail_after(GUARD_S):
        async with trio.open_nursery() as nursery, await connect(sock.getsockname()[1]) as client:
            nursery.start_soon(run)
            await client.send(b"GET /healthz" + GET)
            assert (await client.answer()).status == 200
            store.up.set()
            await client.closed()
            ended.set()


async def test_who_waits_in_the_backlog_is_left_to_the_hub(sock: socket.socket) -> None:
    store = Store(DOWN)
    store.up.set()
    async with await connect(sock.getsockname()[1]) as client:
        await client.send(b"first")
        async with opening(store, sock, patience_s=inf):
            accepted, _ = sock.accept()
            with accepted:
                assert accepted.recv(100) == b"first"


async def test_a_hub_whose_store_is_down_at_its_start_serves_when_it_is_there(
    tmp_path: Path, ways: dict[str, Any]
) -> None:
    store, [port] = Store(DOWN), free_ports(1)
    config = configured(tmp_path, store=SHARED, bind=(f"127.0.0.1:{port}",), data_dir=NO_HOME, **ways)
    authorization = f"Authorization: Basic {basic('/pub/x')}".encode()
    publish = b"POST /pub/x HTTP/1.1\r\nHost: x\r\n" + authorization + b"\r\nContent-Length: 5\r\n\r\nhello"
    opened, ended = trio.Event(), trio.Event()

    async def run() -> None:
        async with open_hub(config, open_log=store.open) as hub:
            assert hub.url == f"http://127.0.0.1:{port}"
            opened.set()
            await ended.wait()

    with trio.fail_after(GUARD_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await wait_all_tasks_blocked()
            before = await ask(port, publish)
            assert not opened.is_set()
            store.up.set()
            await opened.wait()
            after, ready = await ask(port, publish), await ask(port, b"GET /readyz" + GET)
            ended.set()

    assert (before.status, after.status, ready.status) == (503, 200, 200)
    with pytest.raises(OSError, match="refused"):
        await connect(port)


async def test_a_signal_ends_a_hub_that_waits_for_its_store(
    tmp_path: Path, told: Callable[[], Sequence[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, limit, [port] = Store(DOWN), ShutdownLimit(), free_ports(1)
    config = configured(tmp_path, store=SHARED, bind=(f"127.0.0.1:{port}",), grace_s=GUARD_S)
    monkeypatch.setattr(hubs, "open_hub", partial(open_hub, open_log=store.open))
    started: list[Any] = []
    try:
        with trio.fail_after(GUARD_S):
            async with trio.open_nursery() as nursery:

                def reread() -> Config:
                    return config

                nursery.start_soon(run_hub, config, started.append, reread, limit)
                await wait_all_tasks_blocked()
                assert (await ask(port, b"GET /healthz" + GET)).status == 200
                async with await connect(port) as idle:
                    await idle.send(b"GET /heal")
                    os.kill(os.getpid(), signal.SIGTERM)
                    await idle.rest()
    finally:
        limit.stop()

    assert started == []
    assert "s3cret" not in "".join(told())
