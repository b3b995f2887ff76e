"""The server of an app: accepting, running out of files, and shutting down."""

import errno
from typing import Any

import pytest
import trio
from quart import request
from trio.testing import MockClock, wait_all_tasks_blocked

from hookbot.web.asgi import Server, note_authentication, plain_request
from hookbot.web.asgi.connection import BODY_COPIES, CONNECTION_BYTES, REQUEST_BYTES
from hookbot.web.limits import ConnectionLimits
from hookbot.web.unauthenticated import UnauthenticatedConnection, UnauthenticatedConnections
from support import GUARD_S
from support.apps import ObservedApp, endless_app, open_app
from support.clients import Client, connect

GET = b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n"
POST = b"POST /pub HTTP/1.1\r\nHost: hub\r\n"


# --- accepting


class Exhausted(trio.abc.Listener[trio.SocketStream]):
    """A listener of a process that has no file descriptor left, once."""

    def __init__(self, listener: trio.SocketListener, code: int) -> None:
        self.listener = listener
        self.errors = [OSError(code, "no more")]

    async def accept(self) -> trio.SocketStream:
        if self.errors:
            raise self.errors.pop()
        return await self.listener.accept()

    async def aclose(self) -> None:
        await self.listener.aclose()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
async def test_running_out_of_file_descriptors_is_waited_out(app: ObservedApp, code: int) -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    server = Server(app)
    with trio.fail_after(GUARD_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve_listeners, [Exhausted(listener, code)])
            async with Client(await trio.testing.open_stream_to_socket_listener(listener)) as client:
                await client.send(GET)
                await client.until(b"hello")
            server.shut_down()


# --- unauthenticated connections


@pytest.fixture
def authenticating_app(app: ObservedApp) -> ObservedApp:
    """The app with a route that accepts any token."""

    @app.get("/authenticated")
    async def authenticated() -> str:
        plain_request(request).authenticated = True
        note_authentication(request)
        return "hello"

    @app.post("/slow")
    async def slow() -> str:
        await request.get_data()
        app.begun.set()
        await app.go_on.wait()
        return "done"

    return app


async def test_one_address_beyond_its_limit_is_answered_by_429(app: ObservedApp) -> None:
    unauthenticated = UnauthenticatedConnections(1)
    async with open_app(app, unauthenticated=unauthenticated) as hub, await hub.connect() as first:
        await first.send(GET)
        await first.until(b"hello")
        assert (await hub.ask(b"")).startswith(b"HTTP/1.1 429 ")
        await first.send(GET)
        await first.until(b"hello")
    assert unauthenticated.refused == 1


async def test_with_tls_it_is_closed_without_a_handshake(app: ObservedApp, certificate: str) -> None:
    unauthenticated = UnauthenticatedConnections(1)
    async with (
        open_app(app, certificate=certificate, unauthenticated=unauthenticated) as hub,
        await hub.connect(),
        await connect(hub.port) as second,
    ):
        assert await second.rest() == b""
    assert unauthenticated.refused == 1


@pytest.mark.parametrize("tls", [False, True])
async def test_who_has_shown_a_token_is_not_counted(
    authenticating_app: ObservedApp, certificate: str, tls: bool
) -> None:
    unauthenticated = UnauthenticatedConnections(1)
    async with open_app(
        authenticating_app, certificate=certificate if tls else None, unauthenticated=unauthenticated
    ) as hub:
        for _ in range(3):
            client = await hub.connect()
            await client.send(GET.replace(b"/ ", b"/authenticated "))
            await client.until(b"hello")
            await client.send(GET)
            await client.until(b"hello")
            assert unauthenticated.count == 0
    assert unauthenticated.refused == 0


async def test_the_longest_idle_connection_goes_and_none_for_whom_the_hub_works(
    authenticating_app: ObservedApp, mock_clock: MockClock
) -> None:
    unauthenticated = UnauthenticatedConnections(max_files=3)
    async with open_app(authenticating_app, unauthenticated=unauthenticated) as hub:
        authenticated = await hub.connect()
        await authenticated.send(GET.replace(b"/ ", b"/authenticated "))
        await authenticated.until(b"hello")
        busy, first, second = [await hub.connect() for _ in range(3)]
        await busy.send(POST.replace(b"/pub", b"/slow") + b"Content-Length: 0\r\n\r\n")
        await authenticating_app.begun.wait()
        await first.send(GET)
        await first.until(b"hello")
        mock_clock.jump(2)
        await second.send(GET)
        await second.until(b"hello")
        mock_clock.jump(2)

        async with await hub.connect() as late:
            await late.send(GET)
            await late.until(b"hello")

        assert unauthenticated.evicted == 1
        await first.closed()
        await second.send(GET)
        await second.until(b"hello")
        authenticating_app.go_on.set()
        await busy.until(b"done")


async def test_each_unauthenticated_request_counts_with_its_memory(app: ObservedApp, certificate: str) -> None:
    unauthenticated = UnauthenticatedConnections()
    async with open_app(app, certificate=certificate, unauthenticated=unauthenticated) as hub:
        client = await hub.connect()
        await client.send(POST + b"Content-Length: 1\r\n\r\n")
        while unauthenticated._bytes != CONNECTION_BYTES + REQUEST_BYTES:
            await trio.lowlevel.checkpoint()
        await client.send(b"x")
        await client.until(b"1 bytes")
        while unauthenticated._bytes != CONNECTION_BYTES:
            await trio.lowlevel.checkpoint()
    assert unauthenticated.count == 0


async def test_a_response_counts_until_the_client_takes_it(app: ObservedApp, certificate: str) -> None:
    # More than the kernel takes.
    body = bytes(16 << 20)
    unauthenticated = UnauthenticatedConnections()

    @app.get("/large")
    async def large() -> bytes:
        return body

    async with open_app(app, certificate=certificate, unauthenticated=unauthenticated) as hub:
        client = await hub.connect()
        await client.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        while unauthenticated._bytes != CONNECTION_BYTES + REQUEST_BYTES + BODY_COPIES * len(body):
            await trio.lowlevel.checkpoint()
        await client.until(body)
        while unauthenticated._bytes != CONNECTION_BYTES:
            await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("authenticated", [False, True])
async def test_unauthenticated_requests_begin_one_after_the_other(
    authenticating_app: ObservedApp, authenticated: bool
) -> None:
    running, most = 0, 0

    @authenticating_app.get("/work")
    async def work() -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.lowlevel.checkpoint()
        running -= 1
        return "done"

    async with open_app(authenticating_app) as hub, trio.open_nursery() as nursery:
        clients = [await hub.connect() for _ in range(20)]
        for client in clients if authenticated else ():
            await client.send(GET.replace(b"/ ", b"/authenticated "))
            await client.until(b"hello")
        for client in clients:
            nursery.start_soon(client.send, GET.replace(b"/ ", b"/work "))
        for client in clients:
            await client.until(b"done")

    assert (most > 2) is authenticated


async def test_out_of_files_an_idle_connection_goes_at_once(
    app: ObservedApp, mock_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    unauthenticated = UnauthenticatedConnections()
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    async with open_app(app, unauthenticated=unauthenticated) as hub, trio.open_nursery() as nursery:
        idle = await hub.connect()
        while not unauthenticated.count:
            await trio.lowlevel.checkpoint()
        mock_clock.jump(2)
        await nursery.start(hub.server.serve_listeners, [Exhausted(listener, errno.EMFILE)])

        async with Client(await trio.testing.open_stream_to_socket_listener(listener)) as client:
            await client.send(GET)
            await client.until(b"hello")
        await idle.closed()
        hub.server.shut_down()
    assert "no connection can be accepted" not in caplog.text


# --- shutting down


async def test_a_shutdown_closes_what_is_idle_and_lets_answers_finish() -> None:
    app = ObservedApp()
    begun, go_on = trio.Event(), trio.Event()

    @app.get("/")
    async def slow() -> str:
        begun.set()
        await go_on.wait()
        return "hello"

    async with open_app(app, grace_s=GUARD_S) as hub, await hub.connect() as idle, await hub.connect() as busy:
        await busy.send(GET)
        await begun.wait()
        hub.server.shut_down()

        assert await idle.rest() == b""
        go_on.set()
        answer = await busy.rest()
        assert b"\r\nconnection: close\r\n" in answer.lower()
        assert answer.endswith(b"hello")
        with pytest.raises(OSError, match="connect"):
            await hub.connect()


async def test_a_shutdown_answers_the_next_request_of_what_was_in_use_a_moment_ago(app: ObservedApp) -> None:
    async with open_app(app, settle_s=GUARD_S) as hub, await hub.connect() as client:
        await client.send(GET)
        await client.answer()
        await wait_all_tasks_blocked()

        hub.server.shut_down()
        await client.send(GET)
        answer = await client.answer()

        assert (answer.status, answer.headers["connection"]) == (200, "close")
        await client.closed()


async def test_a_shutdown_cuts_what_does_not_end_also_when_its_reader_takes_nothing() -> None:
    app = endless_app()
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    server = Server(app, ConnectionLimits(grace_s=0.05, stall_s=1000))
    with trio.fail_after(GUARD_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve_listeners, listeners)
            stalled = Client(await trio.testing.open_stream_to_socket_listener(listeners[0]))
            await stalled.send(GET.replace(b"/ ", b"/flood "))
            await stalled.stream.receive_some(1)
            server.shut_down()
        assert app.ended.is_set()
        await trio.aclose_forcefully(stalled.stream)


class Held(UnauthenticatedConnections):
    """Unauthenticated connections that have to wait for the test before more of what they sent is handled."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting, self.go_on = trio.Event(), trio.Event()

    async def wait_to_handle(self, connection: UnauthenticatedConnection) -> None:
        self.waiting.set()
        await self.go_on.wait()


async def test_what_unauthenticated_clients_send_is_handled_in_turn(authenticating_app: ObservedApp) -> None:
    app, unauthenticated = authenticating_app, Held()
    async with open_app(app, unauthenticated=unauthenticated) as hub, await hub.connect() as client:
        await client.send(b"POST /slow HTTP/1.1\r\nHost: hub\r\nContent-Length: 5\r\n\r\nhello")
        await unauthenticated.waiting.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert not app.begun.is_set()

        unauthenticated.go_on.set()
        await app.begun.wait()


async def test_a_shutdown_cuts_unauthenticated_connections_first(autojump_clock: MockClock) -> None:
    ended = []
    begun = trio.Semaphore(0)
    app = ObservedApp()

    @app.get("/<who>")
    async def endless(who: str) -> str:
        plain_request(request).authenticated = who == "authenticated"
        note_authentication(request)
        begun.release()
        try:
            await trio.sleep_forever()
        finally:
            ended.append(who)

    async with open_app(app, grace_s=10) as hub, await hub.connect() as known, await hub.connect() as unknown:
        await known.send(GET.replace(b"/ ", b"/authenticated "))
        await unknown.send(GET.replace(b"/ ", b"/unauthenticated "))
        for _ in range(2):
            await begun.acquire()
        hub.server.shut_down()
        await known.rest()

    assert ended == ["unauthenticated", "authenticated"]


async def test_a_shutdown_waits_for_none_of_very_many_unauthenticated_connections(app: ObservedApp) -> None:
    full = UnauthenticatedConnections(max_files=1)
    patient: dict[str, Any] = {"grace_s": GUARD_S * 3, "slow_s": GUARD_S * 3}
    async with open_app(app, unauthenticated=full, **patient) as hub, await hub.connect() as client:
        await client.send(b"POST /pub HTTP/1.1\r\nHost: hub\r\nContent-Length: 100\r\n\r\nhalf")
        await trio.testing.wait_all_tasks_blocked()
        hub.server.shut_down()

        await client.rest()
