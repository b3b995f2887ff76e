"""Connections of the app: failures that end one of them, clients that are stalled or gone, and TLS."""

import copy
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from quart import request
from trio.testing import MockClock

from hookbot.access.senders import Standing
from hookbot.web.asgi import Server, note_authentication, plain_request
from hookbot.web.asgi.strict_h11 import StrictConnection
from hookbot.web.asgi.transport import PrefixedStream
from hookbot.web.limits import ConnectionLimits
from hookbot.web.turns import Turns
from support import GUARD_S
from support.apps import ObservedApp, endless_app, open_app, self_signed
from support.clients import Client

GET = b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n"
POST = b"POST /pub HTTP/1.1\r\nHost: hub\r\n"


# --- failures


async def test_a_bug_in_a_library_that_a_client_finds_ends_only_its_connection(
    app: ObservedApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    next_event = StrictConnection.next_event

    def fail_on_boom(self: StrictConnection) -> Any:
        if b"boom" in self.trailing_data[0]:
            raise RuntimeError("a bug")
        return next_event(self)

    monkeypatch.setattr(StrictConnection, "next_event", fail_on_boom)
    async with open_app(app) as hub, await hub.connect() as other:
        assert await hub.ask(GET.replace(b"/ ", b"/boom ")) == b""

        await other.send(GET)
        assert b"200" in await other.until(b"hello")
    assert "RuntimeError: a bug" in caplog.text


async def test_an_app_that_fails_beneath_the_framework_is_answered_by_500_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        raise KeyError("a bug")

    async with open_app(app) as hub:
        assert (await hub.ask(GET)).startswith(b"HTTP/1.1 500 ")
    assert "KeyError: 'a bug'" in caplog.text


# --- connections end


async def test_a_response_whose_reader_takes_nothing_is_cut_off() -> None:
    app = endless_app()
    ours, theirs = (trio.SocketStream(end) for end in trio.socket.socketpair())  # which has no TCP_USER_TIMEOUT
    with trio.fail_after(GUARD_S):
        async with theirs:
            await theirs.send_all(GET.replace(b"/ ", b"/flood "))
            await Server(app, ConnectionLimits(stall_s=0.05)).serve_connection(ours)

    assert app.ended.is_set()


async def test_a_client_may_have_a_thousand_years_to_read(app: ObservedApp) -> None:
    async with open_app(app, stall_s=1e12) as hub, await hub.connect() as client:
        await client.send(GET)

        assert b" 200 " in await client.until(b"hello")


@pytest.mark.parametrize("path", [b"/", b"/flood"])
async def test_a_response_ends_when_its_reader_has_reset_the_connection(path: bytes) -> None:
    app = endless_app()
    async with open_app(app) as hub, await hub.connect() as client:
        await client.send(GET.replace(b"/ ", path + b" "))
        await client.until(b"200")
        await trio.testing.wait_all_tasks_blocked()

        await client.reset()

        await app.ended.wait()


@pytest.mark.slow
async def test_a_response_that_outlasts_a_client_that_has_ended_its_side_is_cut_off() -> None:
    app = endless_app()
    async with open_app(app) as hub, await hub.connect() as client:
        await client.send(GET.replace(b"/ ", b"/flood "))
        await client.stream.send_eof()

        while await client.stream.receive_some(1 << 20):
            assert not app.ended.is_set()
        await app.ended.wait()


async def test_a_client_that_ends_its_side_after_the_request_still_gets_the_answer(app: ObservedApp) -> None:
    async with open_app(app) as hub, await hub.connect() as client:
        await client.send(POST + b"Content-Length: 3\r\n\r\nabc")
        await client.stream.send_eof()

        assert (await client.rest()).endswith(b"3 bytes")


# --- middleware


async def test_a_middleware_may_copy_the_scope_deeply(app: ObservedApp) -> None:
    async def copying(scope: Any, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        await app(copy.deepcopy(scope), receive, send)

    async with open_app(copying) as hub:
        sent = POST + b"Connection: close\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n"
        assert (await hub.ask(sent)).endswith(b"0 bytes")


async def test_nothing_is_written_to_the_log_for_a_request(
    app: ObservedApp, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    async with open_app(app) as hub:
        await hub.ask(b"GET /secret?token=secret HTTP/1.0\r\n\r\n")
    assert "secret" not in caplog.text + "".join(capfd.readouterr())


# --- accepting, handing over, shutting down


async def test_a_connection_of_which_something_was_read_already_is_served(app: ObservedApp) -> None:
    async with open_app(app) as hub:
        listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
        stream = await trio.testing.open_stream_to_socket_listener(listener)
        async with Client(stream) as client, trio.open_nursery() as nursery:
            rest = PrefixedStream(POST + b"Content-Length: 6\r\n\r\nab", await listener.accept())
            nursery.start_soon(hub.server.serve_connection, rest)
            await client.send(b"cdef" + GET)

            await client.until(b"6 bytes")
            await client.until(b"hello")
            await client.stream.send_eof()
        await listener.aclose()


# --- TLS


@pytest.mark.parametrize("sent", [b"", b"\x16", b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n"])
async def test_a_handshake_that_does_not_come_is_not_waited_for(
    app: ObservedApp, certificate: str, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_app(app, certificate=certificate, slow_s=0.05) as hub:
        stream = await trio.open_tcp_stream("127.0.0.1", hub.port)
        await stream.send_all(sent)
        async with stream:
            assert b"HTTP" not in b"".join([data async for data in stream])
    assert caplog.text == ""


async def test_a_response_that_ends_with_the_connection_is_ended_for_tls_as_well(
    app: ObservedApp, certificate: str
) -> None:
    async with open_app(app, certificate=certificate) as hub:
        assert (await hub.ask(b"GET / HTTP/1.0\r\n\r\n")).endswith(b"hello")
    assert app.seen[0].secure


async def test_a_client_that_sends_more_than_it_may_can_read_why(app: ObservedApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate) as hub, await hub.connect() as client:
        await client.send(b"POST /pub HTTP/1.1\r\nHost: hub\r\nContent-Length: 2000000\r\n\r\n" + bytes(100000))

        assert (await client.until(b"\r\n")).startswith(b"HTTP/1.1 413 ")


async def test_a_handler_sees_the_certificate_of_a_client_that_has_one(
    app: ObservedApp, certificate: str, tmp_path: Path
) -> None:
    path, der = self_signed(tmp_path / "client.pem", "client")
    async with open_app(app, certificate=certificate, clients=path) as hub:
        for shown in (None, path):
            client = await hub.connect(certificate=shown)
            await client.send(b"GET / HTTP/1.0\r\n\r\n")
            await client.rest()

    assert [plain.certificate for plain in app.seen] == [None, der]


async def test_a_websocket_hears_of_a_shutdown_also_through_tls(app: ObservedApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate) as hub:
        socket = await (await hub.websocket()).accepted()
        hub.server.shut_down()

        assert await socket.closed() == 1001


async def test_a_shutdown_does_not_wait_for_a_handshake(app: ObservedApp, certificate: str) -> None:
    limits: dict[str, Any] = {"slow_s": GUARD_S * 2, "grace_s": GUARD_S * 2}
    async with (
        open_app(app, certificate=certificate, **limits) as hub,
        Client(await trio.open_tcp_stream("127.0.0.1", hub.port)) as client,
    ):
        await trio.testing.wait_all_tasks_blocked()
        hub.server.shut_down()

        await client.closed()


# --- streams that were read from


async def test_a_prefixed_stream_returns_what_was_read_before_the_rest_and_is_the_stream_otherwise() -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    async with listener, await trio.testing.open_stream_to_socket_listener(listener) as client:
        stream = PrefixedStream(b"hello", await listener.accept())
        async with stream:
            await client.send_all(b"!")
            received = [await stream.receive_some(2), await stream.receive_some(), await stream.receive_some(9)]
            await stream.wait_send_all_might_not_block()
            await stream.send_all(b"bye")
            await stream.send_eof()

            assert received == [b"he", b"llo", b"!"]
            assert b"".join([data async for data in client]) == b"bye"


# --- time


@pytest.mark.parametrize("sent", [b"", b"GET", POST + b"Content-Length: 9\r\n\r\nabc"])
async def test_a_client_that_exceeds_its_deadline_is_answered_if_it_has_asked_and_cut_off(
    app: ObservedApp, sent: bytes, mock_clock: MockClock
) -> None:
    async with open_app(app, slow_s=10, linger_s=1) as hub, await hub.connect() as client:
        await client.send(sent)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(11)

        answer = await client.until(b"in time\n") if sent else b""
        assert answer.startswith(b"HTTP/1.1 408 " if sent else b"")
        await client.closed()


async def test_what_a_client_still_sends_after_the_last_response_is_discarded(app: ObservedApp) -> None:
    async with open_app(app) as hub, await hub.connect() as client:
        await client.send(b"POST /locked HTTP/1.1\r\nHost: hub\r\nContent-Length: 9000000\r\n\r\n" + bytes(100_000))
        await client.until(b"401 Unauthorized")

        await client.send(bytes(100_000))
        await client.stream.send_eof()
        await client.closed()


@pytest.mark.parametrize("sent", [b"no request\r\n\r\n", POST + b"Content-Length: 9000000\r\n\r\n"])
@pytest.mark.parametrize("authenticated", [False, True])
async def test_what_is_discarded_takes_turns_whoever_sends_it(
    app: ObservedApp, sent: bytes, authenticated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = 0

    class CountedTurns(Turns):
        async def wait(self, standing: Standing, last_turn_at: float) -> None:
            nonlocal waits
            waits += 1
            await super().wait(standing, last_turn_at)

    @app.post("/refused")
    async def refused() -> tuple[str, int]:
        plain_request(request).authenticated = authenticated
        note_authentication(request)
        return "403 Forbidden", 403

    monkeypatch.setattr("hookbot.web.asgi.server.Turns", CountedTurns)
    async with open_app(app) as hub, await hub.connect() as client:
        await client.send(sent.replace(b"/pub", b"/refused"))
        await client.until(b"\r\n\r\n")
        for _ in range(3):
            await client.send(bytes(1000))
            await trio.testing.wait_all_tasks_blocked()

    assert waits >= 3


@pytest.mark.parametrize("alpn", ["h2", "http/1.1"])
async def test_what_a_client_sends_without_end_after_the_last_response_waits_with_it(
    app: ObservedApp, certificate: str, alpn: str
) -> None:
    sent = 0

    async def send() -> None:
        nonlocal sent
        while True:
            await client.send(b"x" * 65536)
            sent += 65536

    async with (
        open_app(app, certificate=certificate, linger_s=GUARD_S, max_drained_bytes=100_000) as hub,
        await hub.connect(alpn=alpn) as client,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(send)
        before = -1
        while before < sent < 64 << 20:
            before = sent
            await trio.testing.wait_all_tasks_blocked(0.05)

        # What the kernel holds for both sides, and no more.
        assert sent < 64 << 20
        nursery.cancel_scope.cancel()
