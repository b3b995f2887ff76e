"""Sockets in the epoll loop, on socket pairs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from socket import SO_LINGER, SOL_SOCKET, create_connection, create_server, socket, socketpair
from struct import pack

import trio

from hookbot.web.fastpath.epoll import READ, WRITE, EpollLoop
from hookbot.web.fastpath.nonblocking import NonblockingSocket
from support.fast_path import running_epoll, settled


class Connection(NonblockingSocket):
    """A socket that records its calls."""

    def __init__(self, sock: socket, epoll: EpollLoop) -> None:
        super().__init__(sock, epoll)
        self.events: list[object] = []

    def received(self, data: bytes) -> None:
        self.events.append(data)
        if not data:
            self.end("closed by the client")

    def taken(self) -> None:
        self.events.append("taken")
        self.watch(READ)

    def gone(self, reason: str) -> None:
        self.events.append(reason)


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Connection, socket]]:
    """A connection in an epoll loop, and the client's end of it."""
    async with running_epoll() as epoll:
        ours, theirs = socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        with theirs:
            connection = Connection(ours, epoll)
            try:
                yield connection, theirs
            finally:
                connection.end("over")


async def test_a_connection_hears_what_the_client_sends_and_that_it_has_closed() -> None:
    async with connected() as (connection, client):
        client.send(b"hello")
        await settled(lambda: connection.events)
        client.close()
        await settled(lambda: not connection.open)

        assert connection.events == [b"hello", b"", "closed by the client"]


async def test_what_the_socket_does_not_take_is_sent_when_the_client_reads() -> None:
    async with connected() as (connection, client):
        connection.transmit(bytes(1 << 20))
        assert connection.stalled
        connection.watch(WRITE)

        taken = 0
        while taken < 1 << 20:
            with suppress(BlockingIOError):
                taken += len(client.recv(1 << 16))
            await trio.lowlevel.checkpoint()
        await settled(lambda: connection.events)

        assert connection.events == ["taken"]
        assert not connection.stalled


async def test_nothing_is_sent_at_first_to_a_client_whose_buffers_are_full() -> None:
    async with connected() as (connection, _client):
        connection.transmit(bytes(1 << 20))
        stuck = connection._unsent
        assert stuck

        connection.transmit(stuck)

        assert connection.open
        assert len(connection._unsent or b"") == len(stuck)


async def test_sending_to_a_client_that_has_gone_ends_the_connection() -> None:
    async with connected() as (connection, client):
        client.close()
        connection.transmit(b"hello")

        assert not connection.open
        assert str(connection.events[-1]).startswith("sending failed: ")


async def test_a_client_that_resets_the_connection_ends_it() -> None:
    async with running_epoll() as epoll:
        with create_server(("127.0.0.1", 0)) as server:
            client = create_connection(server.getsockname())
            sock, _ = server.accept()
        connection = Connection(sock, epoll)
        client.setsockopt(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))

        client.close()
        await settled(lambda: not connection.open)

        [reason] = connection.events
        assert str(reason).startswith("connection lost: ")


async def test_a_connection_that_cannot_be_half_closed_is_ended() -> None:
    async with running_epoll() as epoll:
        connection = Connection(socket(), epoll)
        connection.half_close()

        assert not connection.open
        assert str(connection.events[-1]).startswith("connection lost: ")


async def test_after_half_closing_the_client_is_still_heard() -> None:
    async with connected() as (connection, client):
        connection.half_close()
        assert client.recv(1) == b""
        client.send(b"hello")
        await settled(lambda: connection.events)

        assert connection.events == [b"hello"]


async def test_a_connection_ends_once() -> None:
    async with connected() as (connection, _):
        connection.end("first")
        connection.end("second")

        assert connection.events == ["first"]


async def test_a_connection_that_is_released_is_no_longer_watched_and_its_socket_stays_open() -> None:
    async with connected() as (connection, client):
        sock = connection.release()
        client.send(b"hello")
        await trio.testing.wait_all_tasks_blocked()

        assert connection.events == []
        assert sock.recv(5) == b"hello"
        sock.close()


async def test_a_connection_that_is_told_to_be_ready_and_is_not_goes_on() -> None:
    async with connected() as (connection, _):
        connection.ready(READ)

        assert connection.open
        assert connection.events == []


async def test_watching_for_the_same_events_again_changes_nothing() -> None:
    async with connected() as (connection, client):
        connection.watch(READ)
        client.send(b"hello")
        await settled(lambda: connection.events)

        assert connection.events == [b"hello"]
