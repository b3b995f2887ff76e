"""What the app's server reads from and writes to."""

from pathlib import Path

import pytest
import trio

from hookbot.web.asgi.transport import PrefixedStream, drop_when_unreachable, peer_of


async def test_what_was_read_already_is_read_first() -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with (
        listener,
        await trio.testing.open_stream_to_socket_listener(listener) as client,
        PrefixedStream(b"hello", await listener.accept()) as ours,
    ):
        await client.send_all(b", world")
        assert [await ours.receive_some(3), await ours.receive_some()] == [b"hel", b"lo"]
        assert await ours.receive_some() == b", world"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_peer_is_known_by_its_address(host: str) -> None:
    [listener] = await trio.open_tcp_listeners(0, host=host)
    async with (
        listener,
        await trio.testing.open_stream_to_socket_listener(listener) as client,
        await listener.accept() as ours,
    ):
        assert peer_of(ours) == peer_of(client) == host


@pytest.mark.skipif(not hasattr(trio.socket, "TCP_USER_TIMEOUT"), reason="the platform lacks the option")
@pytest.mark.parametrize(("after_s", "milliseconds"), [(90, 90_000), (1e12, 2**31 - 1)])
async def test_the_kernel_drops_an_unreachable_client(after_s: float, milliseconds: int) -> None:
    with trio.socket.socket() as sock:
        drop_when_unreachable(trio.SocketStream(sock), after_s)
        assert sock.getsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_USER_TIMEOUT) == milliseconds


async def test_a_unix_socket_reaches_its_client_always() -> None:
    ours, theirs = trio.socket.socketpair()
    with ours, theirs:
        drop_when_unreachable(trio.SocketStream(ours), 90)


async def test_a_peer_that_has_gone_or_has_no_address_has_none(tmp_path: Path) -> None:
    path = str(tmp_path / "hub.sock")
    with trio.socket.socket(trio.socket.AF_UNIX) as sock:
        await sock.bind(path)
        sock.listen()
        async with await trio.open_unix_socket(path) as client:
            assert peer_of(client) == ""
        assert peer_of(client) == ""
