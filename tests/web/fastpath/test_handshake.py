"""TLS handshakes of the fast path, with clients that do them well and badly."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from hookbot.broker import time_slices
from hookbot.web.fastpath.handshake import Handshake, HandshakeLine
from hookbot.web.tls import Tls
from hookbot.web.unauthenticated import UnauthenticatedConnections
from support.clients import Client, connect, post
from support.fast_path import PATH, FastPathHub, open_fast_path, settled
from support.tls import client_context, hub_context

pytestmark = pytest.mark.usefixtures("encrypted")


@dataclass
class Bytewise(trio.abc.Stream):
    """A stream that sends one byte at a time."""

    stream: trio.SocketStream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        for n in range(len(data)):
            await self.stream.send_all(bytes(data[n : n + 1]))

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self.stream.receive_some(max_bytes))

    async def aclose(self) -> None:
        await self.stream.aclose()


async def unencrypted(hub: FastPathHub) -> Client:
    """A connection without a handshake."""
    client = await connect(hub.port)
    hub.clients.append(client)
    return client


async def test_a_connection_counts_from_the_beginning_of_its_handshake() -> None:
    unauthenticated = UnauthenticatedConnections()
    async with open_fast_path(unauthenticated=unauthenticated) as hub:
        await unencrypted(hub)
        await settled(lambda: unauthenticated.count == 1)

        client = await hub.connect()
        await settled(lambda: unauthenticated.count == 2)
        await client.send(post(PATH))
        assert (await client.answer()).status == 200
        assert unauthenticated.count == 1


async def test_one_address_beyond_its_limit_is_closed_without_a_handshake() -> None:
    unauthenticated = UnauthenticatedConnections(1)
    async with open_fast_path(unauthenticated=unauthenticated) as hub:
        await unencrypted(hub)
        await settled(lambda: unauthenticated.count == 1)

        await (await unencrypted(hub)).closed()
        assert unauthenticated.refused == 1


@pytest.mark.parametrize(
    "sent", [post(PATH), b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x00\x04\xff\x00\x00\x00", bytes(100), b"\x80" * 9000]
)
async def test_what_is_no_handshake_is_closed_without_a_response(sent: bytes) -> None:
    async with open_fast_path() as hub:
        client = await unencrypted(hub)
        await client.send(sent)

        # OpenSSL may send an alert.
        assert b"HTTP" not in await client.rest()
        assert len(hub.fast_path) == 0


async def test_a_client_that_does_not_trust_the_hub_leaves_nothing_behind() -> None:
    async with open_fast_path() as hub:
        client = await unencrypted(hub)
        stream = trio.SSLStream(client.transport, ssl.create_default_context(), server_hostname="hub")
        with pytest.raises(trio.BrokenResourceError):
            await stream.do_handshake()
        await trio.aclose_forcefully(stream)
        await settled(lambda: not len(hub.fast_path))


async def test_a_client_that_resets_its_handshake_leaves_nothing_behind() -> None:
    async with open_fast_path() as hub:
        client = await unencrypted(hub)
        await client.send(b"\x16\x03\x01")
        await wait_all_tasks_blocked()
        await client.reset()
        await settled(lambda: not len(hub.fast_path))


async def test_a_handshake_that_stops_is_ended_in_time(mock_clock: MockClock) -> None:
    async with open_fast_path(slow_s=10) as hub:
        client = await unencrypted(hub)
        for _ in range(2):
            await client.send(b"\x16\x03\x01"[:1])
            await wait_all_tasks_blocked()
            mock_clock.jump(6)
        await client.closed()
        assert len(hub.fast_path) == 0


async def test_a_handshake_is_ended_by_a_shutdown() -> None:
    async with open_fast_path() as hub:
        client = await unencrypted(hub)
        await settled(lambda: len(hub.fast_path))
        await hub.fast_path.close(trio.current_time() + 1000)
        await client.closed()


@pytest.mark.parametrize("sent", [b"", post(PATH)])
async def test_a_client_that_chooses_http_2_is_the_apps_whatever_it_sends(sent: bytes) -> None:
    app_made = trio.Event()
    async with (
        open_fast_path(app_made=app_made) as hub,
        await connect(hub.port, tls=client_context(alpn="h2")) as client,
    ):
        await client.send(sent)
        await wait_all_tasks_blocked()
        assert hub.handed_over == []
        app_made.set()
        await settled(lambda: hub.handed_over)
        assert hub.handed_over == [sent]
        assert hub.stored() == []


async def test_records_may_come_byte_by_byte() -> None:
    async with open_fast_path() as hub:
        transport = await trio.open_tcp_stream("127.0.0.1", hub.port)
        stream = trio.SSLStream(Bytewise(transport), client_context(), server_hostname="hub", https_compatible=True)
        async with Client(stream) as client:  # type: ignore[arg-type]
            for _ in range(2):
                await client.send(post(PATH))
                assert (await client.answer()).status == 200


async def test_a_certificate_larger_than_the_buffers_is_sent_as_the_client_takes_it() -> None:
    tls = Tls(hub_context(*(f"host-{n}.example" for n in range(3000))))
    async with open_fast_path(send_buffer=4096, tls=tls) as hub:
        client = await hub.connect(receive_buffer=4096)
        await client.send(post(PATH))
        assert (await client.answer()).status == 200


@contextmanager
def held_line(hub: FastPathHub) -> Iterator[HandshakeLine]:
    """The line of handshakes, in which no one moves until the block ends."""
    [listener] = hub.fast_path._listeners
    line = listener._handshakes
    line._running = True
    yield line
    hub.fast_path._context.start_soon(line._run)


async def in_line(hub: FastPathHub, line: HandshakeLine, count: int = 1) -> list[Client]:
    """Clients that have sent the first bytes of a handshake, which stands in line."""
    clients = [await unencrypted(hub) for _ in range(count)]
    for client in clients:
        await client.send(b"\x16\x03\x01")
    await settled(lambda: len(line._waiting) == count)
    return clients


async def test_one_that_is_ended_while_it_stands_in_line_does_nothing_more() -> None:
    async with open_fast_path() as hub:
        with held_line(hub) as line:
            await in_line(hub, line)
            [handshake] = hub.fast_path._context.connections
            handshake.end("enough")
            handshake.end("twice")
            assert not line._waiting
        await wait_all_tasks_blocked()
        assert len(hub.fast_path) == 0


async def test_a_client_that_resets_while_it_stands_in_line_leaves_it_at_once() -> None:
    async with open_fast_path() as hub:
        with held_line(hub) as line:
            [client] = await in_line(hub, line)
            await client.reset()
            await settled(lambda: not len(hub.fast_path))
            assert not line._waiting


async def test_a_client_that_stands_in_line_is_neither_timed_out_nor_ended_for_others(
    mock_clock: MockClock,
) -> None:
    unauthenticated = UnauthenticatedConnections(1)
    async with open_fast_path(unauthenticated=unauthenticated, slow_s=1) as hub:
        with held_line(hub) as line:
            [client] = await in_line(hub, line)
            mock_clock.jump(5)
            await (await unencrypted(hub)).closed()
            assert (unauthenticated.refused, unauthenticated.evicted) == (1, 0)
        await settled(lambda: not line._waiting)
        mock_clock.jump(0.9)
        await wait_all_tasks_blocked()
        assert len(hub.fast_path) == 1
        mock_clock.jump(0.2)
        await client.closed()


async def test_all_others_have_a_turn_after_each_time_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_slices, "TIME_SLICE_S", -1)
    turns: list[str] = []
    step = Handshake.step

    def record(handshake: Handshake) -> None:
        turns.append("handshake")
        step(handshake)

    monkeypatch.setattr(Handshake, "step", record)
    async with open_fast_path() as hub:
        with held_line(hub) as line:
            await in_line(hub, line, 5)
            turns.clear()
        while turns.count("handshake") < 5:
            turns.append("other")
            await trio.lowlevel.checkpoint()

        first, last = turns.index("handshake"), len(turns) - turns[::-1].index("handshake")
        # Within a step of Trio's loop, the order of tasks is random.
        assert turns[first:last].count("other") >= 3
