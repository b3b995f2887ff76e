"""The listener of the fast path: accepting, deadlines, and the end."""

import errno
import socket
from pathlib import Path
from socket import create_server

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from hookbot.web.fastpath.listener import open_fast_path as open_listening
from hookbot.web.limits import ConnectionLimits
from support import GUARD_S
from support.clients import Client, WebSocket, basic, connect, post
from support.fast_path import PATH, open_fast_path, settled

# --- accepting


class FailingSocket(socket.socket):
    """A listening socket whose `accept` fails a few times."""

    def __init__(self, *errors: OSError) -> None:
        super().__init__(fileno=create_server(("127.0.0.1", 0)).detach())
        self.errors = list(errors)

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        if self.errors:
            raise self.errors.pop(0)
        return super().accept()


FULL = OSError(errno.EMFILE, "too many open files")
GONE = OSError(errno.ECONNABORTED, "gone")


async def test_running_out_of_files_is_waited_out(caplog: pytest.LogCaptureFixture) -> None:
    sock = FailingSocket(FULL, FULL, GONE)
    async with open_fast_path() as hub:
        hub.fast_path.listen(sock, pause_s=0.01)

        async with await connect(sock.getsockname()[1]) as client:
            await client.send(post(PATH))
            answer = await client.answer()

        assert answer.status == 200
        assert caplog.text.count("no connection can be accepted for now: Too many open files") == 1
        assert not sock.errors


async def test_a_listener_that_is_closed_while_it_waits_for_files_stays_closed(mock_clock: MockClock) -> None:
    sock = FailingSocket(FULL)
    async with open_fast_path() as hub:
        hub.fast_path.listen(sock, pause_s=10)
        async with await connect(sock.getsockname()[1]):
            await settled(lambda: not sock.errors)
            await wait_all_tasks_blocked()

            await hub.fast_path.close(trio.current_time())
            mock_clock.jump(11)
            await wait_all_tasks_blocked()

        assert sock.fileno() == -1
        assert not hub.connections


async def test_a_connection_that_cannot_be_set_up_is_closed_and_the_next_is_accepted() -> None:
    class NeverReady(socket.socket):
        """A connection that has gone before it is watched."""

        def setblocking(self, flag: bool) -> None:
            raise OSError(errno.EINVAL, "gone")

    class OnceBroken(FailingSocket):
        broken: socket.socket | None = None

        def accept(self) -> tuple[socket.socket, tuple[str, int]]:
            sock, address = super().accept()
            if not self.broken:
                sock = self.broken = NeverReady(fileno=sock.detach())
            return sock, address

    sock = OnceBroken()
    async with open_fast_path() as hub:
        hub.fast_path.listen(sock)

        async with await connect(sock.getsockname()[1]) as broken:
            await broken.closed()
        async with await connect(sock.getsockname()[1]) as client:
            await client.send(post(PATH))
            assert (await client.answer()).status == 200
        assert sock.broken
        assert sock.broken.fileno() == -1


async def test_a_unix_socket_is_listened_on_as_well(tmp_path: Path) -> None:
    path = str(tmp_path / "hub.sock")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen()
        async with open_fast_path() as hub:
            hub.fast_path.listen(sock)

            async with Client(await trio.open_unix_socket(path)) as client:
                await client.send(post(PATH))
                assert (await client.answer()).status == 200


@pytest.mark.slow
async def test_a_thousand_clients_at_once_are_all_admitted() -> None:
    async with open_fast_path() as hub, trio.open_nursery() as nursery:

        async def come() -> None:
            assert isinstance(await hub.listen(), WebSocket)

        for _ in range(1000):
            nursery.start_soon(come)
        await settled(lambda: len(hub.fanout) == 1000)


# --- the end


async def test_at_the_end_the_idle_are_closed_and_what_is_under_way_is_answered() -> None:
    async with open_fast_path(linger_s=0.05) as hub:
        idle, busy = await hub.connect(), await hub.connect()
        await busy.send(post(PATH)[:-1])
        await settled(lambda: hub.bodies.held_bytes == 4)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hub.fast_path.close, trio.current_time() + GUARD_S)
            await idle.closed()
            await busy.send(b"o" + post(PATH))
            answer = await busy.answer()
            await busy.closed()
            with pytest.raises(OSError, match="refused"):
                await hub.connect()

        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert hub.stored() == [("topic", b"hello")]


async def test_at_the_end_nobody_is_waited_for_longer_than_the_deadline() -> None:
    async with open_fast_path() as hub:
        client = await hub.connect()
        await client.send(post(PATH)[:-1])
        await settled(lambda: hub.bodies.held_bytes == 4)

        await hub.fast_path.close(trio.current_time() + 0.05)

        await client.closed()
        assert len(hub.fast_path) == 0


async def test_a_fast_path_that_ends_closes_websockets_and_lets_requests_finish() -> None:
    async with open_fast_path() as hub:
        services = hub.fast_path._context.services
        sock = create_server(("127.0.0.1", 0))
        ended = trio.Event()

        async def serve() -> None:
            async with open_listening(services, ConnectionLimits(), sock, lambda *_: None, leave_s=GUARD_S):
                await ended.wait()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            listener = WebSocket(
                await connect(sock.getsockname()[1]),
                "/sub/topic",
                headers=[("Authorization", f"Basic {basic('/sub/topic')}")],
            )
            await listener.ask()
            await listener.accepted()
            ended.set()

            assert await listener.closed() == 1001
            await listener.client.stream.aclose()
