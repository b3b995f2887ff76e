"""Streams over TLS, with Trio's own TLS on the other side."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from socket import SO_LINGER, SOL_SOCKET
from struct import pack

import pytest
import trio
from trio.testing import open_stream_to_socket_listener, wait_all_tasks_blocked

from hookbot.web.tls import Tls
from hookbot.web.tls_stream import TlsListener, TlsStream
from support.tls import client_context, hub_context

BIG = bytes(5 << 20)

ClientStream = trio.SSLStream[trio.SocketStream]


@asynccontextmanager
async def accepted() -> AsyncIterator[tuple[TlsStream, ClientStream]]:
    """Our end and the client's, before the handshake."""
    [plain] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with (
        TlsListener(plain, Tls(hub_context())) as listener,
        await open_stream_to_socket_listener(plain) as stream,
        await listener.accept() as ours,
    ):
        yield ours, trio.SSLStream(stream, client_context(), server_hostname="hub")


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[TlsStream, ClientStream]]:
    """Our end and the client's, after the handshake."""
    async with accepted() as (ours, client):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.do_handshake)
            await client.do_handshake()
        yield ours, client


async def test_what_one_side_sends_the_other_receives() -> None:
    async with connected() as (ours, client):
        await client.send_all(b"hello")
        assert await ours.receive_some() == b"hello"
        await ours.send_all(b"hello yourself")
        assert await client.receive_some() == b"hello yourself"


async def test_no_more_is_received_than_wanted_and_nothing_is_lost() -> None:
    async with connected() as (ours, client):
        await client.send_all(b"hello")

        assert [await ours.receive_some(2), await ours.receive_some(2), await ours.receive_some(2)] == [
            b"he",
            b"ll",
            b"o",
        ]


async def test_what_the_socket_does_not_take_is_sent_when_the_client_reads() -> None:
    async with connected() as (ours, client), trio.open_nursery() as nursery:
        nursery.start_soon(ours.send_all, BIG)
        await wait_all_tasks_blocked()
        received = 0
        while received < len(BIG):
            received += len(await client.receive_some())


async def test_the_handshake_may_be_repeated() -> None:
    async with connected() as (ours, _):
        await ours.do_handshake()


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x04\xff\x00\x00\x00", bytes(100)])
async def test_what_is_no_handshake_breaks_the_connection(sent: bytes) -> None:
    async with accepted() as (ours, client):
        await client.transport_stream.send_all(sent)
        with pytest.raises(trio.BrokenResourceError):
            await ours.do_handshake()


async def test_a_client_that_ends_with_or_without_a_notification_is_at_its_end() -> None:
    async with connected() as (ours, client):
        await client.transport_stream.send_eof()
        assert await ours.receive_some() == b""
    async with connected() as (ours, client), trio.open_nursery() as nursery:
        nursery.start_soon(client.unwrap)
        assert await ours.receive_some() == b""
        await ours.send_eof()


async def test_a_half_close_notifies_the_client_which_can_go_on_sending() -> None:
    async with connected() as (ours, client):
        await ours.send_eof()
        # Trio raises `BrokenResourceError` for an end without a close_notify.
        assert await client.receive_some() == b""
        assert await client.transport_stream.receive_some() == b""

        await client.transport_stream.send_all(b"encrypted")
        await client.transport_stream.send_eof()
        assert await ours.receive_some() == b"encrypted"
        assert await ours.receive_some() == b""


async def test_closing_notifies_the_client_and_whoever_waits() -> None:
    async with connected() as (ours, client), trio.open_nursery() as nursery:

        async def receive() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await ours.receive_some()

        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        await ours.aclose()
        assert await client.receive_some() == b""


async def test_a_reset_breaks_the_connection() -> None:
    async with connected() as (ours, client):
        client.transport_stream.setsockopt(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))
        await trio.aclose_forcefully(client)
        with pytest.raises(trio.BrokenResourceError):
            await ours.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await ours.send_all(b"hello")


async def test_a_listener_accepts_before_the_handshake_and_the_next_context_is_for_the_next_connection() -> None:
    tls = Tls(hub_context())
    [plain] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    listener = TlsListener(plain, tls)
    async with listener, await open_stream_to_socket_listener(plain), await open_stream_to_socket_listener(plain):
        first = await listener.accept()
        tls.context = hub_context()
        second = await listener.accept()

        assert second.socket._tls.context is tls.context
        assert first.socket._tls.context is not tls.context
        for stream in (first, second):
            await stream.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()


async def test_a_client_that_has_gone_before_it_is_accepted_is_passed_over() -> None:
    [plain] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with TlsListener(plain, Tls(hub_context())) as listener:
        gone = await open_stream_to_socket_listener(plain)
        gone.setsockopt(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))
        await trio.aclose_forcefully(gone)
        async with await open_stream_to_socket_listener(plain) as client, await listener.accept() as stream:
            assert stream.socket.getpeername() == client.socket.getsockname()
