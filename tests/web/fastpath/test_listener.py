"""The listener of the fast path: accepting, deadlines, and the end."""

import errno
import os
import socket
from dataclasses import dataclass
from math import inf
from pathlib import Path
from socket import create_server
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from hookbot.web.fastpath import listener
from hookbot.web.fastpath.listener import open_fast_path as open_listening
from hookbot.web.limits import ConnectionLimits
from hookbot.web.listening import ListeningSocket
from hookbot.web.unauthenticated import UnauthenticatedConnections
from support import GUARD_S
from support.clients import Client, WebSocket, basic, connect, handshake, post
from support.fast_path import PATH, open_fast_path, settled

both = pytest.mark.usefixtures("plain_and_encrypted")

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


@both
async def test_the_last_files_are_left_to_the_import_of_the_app(
    monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    # As many as the process may open: each connection has one of the last files.
    monkeypatch.setattr(listener, "SPARED_FILES", os.sysconf("SC_OPEN_MAX"))
    app_made = trio.Event()
    sock = FailingSocket()
    async with open_fast_path(app_made=app_made) as hub:
        hub.fast_path.listen(sock, pause_s=10)
        async with await connect(sock.getsockname()[1]), await connect(sock.getsockname()[1]):
            await settled(lambda: len(hub.fast_path) > 0)
            await wait_all_tasks_blocked()
            mock_clock.jump(11)
            await wait_all_tasks_blocked()
            assert len(hub.fast_path) == 1

            app_made.set()
            await settled(lambda: len(hub.fast_path) == 2)


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


@pytest.mark.parametrize("name", ["{}/client", "\0hookbot-client-{}"])
async def test_a_client_that_has_bound_its_unix_socket_is_like_any_other(tmp_path: Path, name: str) -> None:
    path = str(tmp_path / "hub.sock")
    with socket.socket(socket.AF_UNIX) as sock, trio.socket.socket(socket.AF_UNIX) as bound:
        sock.bind(path)
        sock.listen()
        await bound.bind(name.format(tmp_path))
        async with open_fast_path() as hub:
            hub.fast_path.listen(sock)
            await bound.connect(path)

            async with Client(trio.SocketStream(bound)) as client:
                await client.send(post(PATH))
                assert (await client.answer()).status == 200
            await settled(lambda: not hub.connections)


# --- unauthenticated connections


async def test_one_address_beyond_its_limit_is_answered_by_429() -> None:
    unauthenticated = UnauthenticatedConnections(2)
    async with open_fast_path(unauthenticated=unauthenticated) as hub:
        first, second = await hub.connect(), await hub.connect()
        await settled(lambda: unauthenticated.count == 2)

        third = await hub.connect()

        answer = await third.answer()
        assert (answer.status, answer.headers["connection"]) == (429, "close")
        assert unauthenticated.refused == 1
        for client in (first, second):
            await client.send(post(PATH))
            assert (await client.answer()).status == 200


@both
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(post(PATH), id="a publish"),
        pytest.param(post(PATH, None, "Content-Length: 5"), id="a head with a token"),
        pytest.param(handshake(), id="a subscriber"),
        pytest.param(handshake("/sub/topic?since=all"), id="a subscriber with history"),
    ],
)
async def test_who_has_shown_a_token_is_not_counted(sent: bytes) -> None:
    unauthenticated = UnauthenticatedConnections(1)
    async with open_fast_path(unauthenticated=unauthenticated) as hub:
        for count in range(1, 4):
            client = await hub.connect()
            await client.send(sent)
            while unauthenticated.count or len(hub.connections) + len(hub.fanout) < count:
                await trio.lowlevel.checkpoint()
        assert unauthenticated.refused == 0


@both
@pytest.mark.parametrize(
    "sent", [b"", b"POST /pub", post("/unsafe/pub/topic"), post("/unsafe/pub/topic")[:-1], post(PATH, token="bm8=")]
)
async def test_the_longest_idle_connection_goes_when_there_is_no_room(sent: bytes, mock_clock: MockClock) -> None:
    unauthenticated = UnauthenticatedConnections(max_files=2)
    async with open_fast_path(unauthenticated=unauthenticated) as hub:
        good = await hub.connect()
        await good.send(post(PATH))
        assert (await good.answer()).status == 200
        for _ in range(2):
            client = await hub.connect()
            await client.send(sent)
            await wait_all_tasks_blocked()
        await settled(lambda: unauthenticated.count == 2)
        mock_clock.jump(2)

        late = await hub.connect()
        await late.send(post(PATH))

        assert (await late.answer()).status == 200
        assert unauthenticated.evicted == 1
        await good.send(post(PATH))
        assert (await good.answer()).status == 200


async def test_out_of_files_an_idle_connection_goes_at_once(
    caplog: pytest.LogCaptureFixture, mock_clock: MockClock
) -> None:
    unauthenticated = UnauthenticatedConnections()
    sock = FailingSocket(FULL)
    async with open_fast_path(unauthenticated=unauthenticated) as hub:
        idle = await hub.connect()
        await settled(lambda: unauthenticated.count == 1)
        mock_clock.jump(2)

        hub.fast_path.listen(sock)
        async with await connect(sock.getsockname()[1]) as client:
            await client.send(post(PATH))
            assert (await client.answer()).status == 200
        await idle.closed()
    assert "no connection can be accepted" not in caplog.text


@both
async def test_a_long_unfinished_head_counts_with_its_bytes() -> None:
    unauthenticated = UnauthenticatedConnections(max_bytes=20_000)
    async with open_fast_path(unauthenticated=unauthenticated) as hub:
        client = await hub.connect()
        await client.send(b"POST /pub HTTP/1.1\r\nX: " + b"x" * 20_000)
        await settled(lambda: unauthenticated.evicted)
        assert (unauthenticated.count, unauthenticated._bytes, len(hub.fast_path)) == (0, 0, 0)


@pytest.mark.slow
async def test_a_thousand_clients_at_once_are_all_admitted() -> None:
    async with open_fast_path() as hub, trio.open_nursery() as nursery:

        async def come() -> None:
            assert isinstance(await hub.listen(), WebSocket)

        for _ in range(1000):
            nursery.start_soon(come)
        await settled(lambda: len(hub.fanout) == 1000)


# --- the end


@dataclass(eq=False)
class Late:
    """A connection whose time is over."""

    done: list[str]
    deadline: float = -inf

    def time_out(self) -> None:
        self.deadline = inf
        self.done.append("timed out")


async def test_others_have_their_turn_between_two_connections_that_time_out(mock_clock: MockClock) -> None:
    async with open_fast_path() as hub, trio.open_nursery() as nursery:
        done: list[str] = []
        late: list[Any] = [Late(done) for _ in range(3)]
        hub.fast_path._context.connections.update(late)

        async def work() -> None:
            while True:
                done.append("work")
                await trio.lowlevel.checkpoint()

        mock_clock.jump(ConnectionLimits().sweep_s + 1)
        nursery.start_soon(work)
        await settled(lambda: done.count("timed out") == 3)
        nursery.cancel_scope.cancel()
        hub.fast_path._context.connections.difference_update(late)

    # Two may be neighbours: Trio runs the tasks that are ready in any order.
    assert "timed out timed out timed out" not in " ".join(done)


@both
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


@both
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
            async with open_listening(
                services, ConnectionLimits(), [ListeningSocket(sock)], lambda *_: None, trio.Event(), leave_s=GUARD_S
            ):
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


async def test_a_fast_path_that_fails_leaves_no_socket_open() -> None:
    async with open_fast_path() as hub:
        sock = create_server(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        with pytest.raises(ExceptionGroup, match="nursery"):  # noqa: PT012 - the block is what fails
            async with open_listening(
                hub.services,
                ConnectionLimits(),
                [ListeningSocket(sock)],
                lambda *_: None,
                trio.Event(),
                leave_s=GUARD_S,
            ):
                idle = await connect(port)
                hub.clients.append(idle)
                await idle.send(post(PATH))
                await idle.answer()
                listener = await connect(port)
                hub.clients.append(listener)
                await listener.send(handshake())
                await listener.until(b"\r\n\r\n")
                raise RuntimeError("the hub fails")

        assert sock.fileno() == -1
        await idle.closed()
        assert await listener.rest() == b""


@both
async def test_what_was_in_use_a_moment_ago_gets_an_answer_to_its_next_request_which_is_the_last() -> None:
    async with open_fast_path(linger_s=0.05, settle_s=GUARD_S) as hub, trio.open_nursery() as nursery:
        client = await hub.connect()
        await client.send(post(PATH))
        before = await client.answer()

        nursery.start_soon(hub.fast_path.close, trio.current_time() + GUARD_S)
        await settled(lambda: hub.fast_path._context.closing)
        await client.send(post(PATH))
        answer = await client.answer()
        await client.closed()

    assert "connection" not in before.headers
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert len(hub.stored()) == 2


async def test_a_request_that_has_come_is_read_before_an_idle_connection_is_closed() -> None:
    async with open_fast_path(linger_s=0.05, settle_s=0) as hub:
        client = await hub.connect()
        await client.send(post(PATH))
        await client.answer()

        # Neither of them lets the hub read in between.
        with socket.socket(fileno=os.dup(client.transport.socket.fileno())) as same:
            same.send(post(PATH))
        await hub.fast_path.close(trio.current_time() + GUARD_S)

        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")


@pytest.mark.parametrize("kept", [False, True])
async def test_who_waits_in_the_queue_at_the_end_is_answered_or_left_to_the_next_hub(kept: bool) -> None:
    sock = create_server(("127.0.0.1", 0), backlog=3 * listener.ACCEPTS_PER_ROUND)
    async with open_fast_path(linger_s=0.05, settle_s=GUARD_S) as hub:
        with sock.dup() as other:
            hub.fast_path.listen(sock, kept=kept)
            waiting = [socket.create_connection(sock.getsockname()) for _ in range(2 * listener.ACCEPTS_PER_ROUND)]
            for client in waiting:
                client.sendall(post(PATH))
            other.settimeout(GUARD_S if kept else 0)

            await hub.fast_path.close(trio.current_time() + GUARD_S)

            if not kept:
                assert [client.recv(12) for client in waiting] == [b"HTTP/1.1 200"] * len(waiting)
            else:
                for _ in waiting:
                    other.accept()[0].close()
            assert len(hub.stored()) == (0 if kept else len(waiting))
            for client in waiting:
                client.close()
