"""Connections that are kept: one that the server has closed costs a request nothing, and no request is sent twice."""

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from functools import partial
from math import inf
from pathlib import Path

import httpx
import pytest
import trio
import trustme
from trio.testing import MockClock, wait_all_tasks_blocked

from hookbot.client.address import Address
from hookbot.client.http import RequestBody
from hookbot.client.transport import Transport
from support import GUARD_S

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Ending = Callable[[trio.abc.Stream], Awaitable[object]]


class Server:
    """A server that answers the first request of each connection, and ends the next one."""

    def __init__(
        self, listener: trio.SocketListener, end: Ending, answered: int = 1, tls: ssl.SSLContext | None = None
    ):
        self.listener = listener
        self.connections = 0
        self.requests = 0
        self._end = end
        self._answered = answered
        self._tls = tls

    async def serve(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        if self._tls:
            stream = trio.SSLStream(stream, self._tls, server_side=True, https_compatible=True)
        with suppress(trio.BrokenResourceError):
            for _ in range(self._answered):
                await read_request(stream)
                self.requests += 1
                await stream.send_all(OK)
            await self._end(stream)
        await trio.aclose_forcefully(stream)


async def read_request(stream: trio.abc.Stream) -> None:
    data = b""
    while not data.endswith(b"the body"):
        more = await stream.receive_some()
        if not more:
            raise trio.BrokenResourceError
        data += more


async def fin(stream: trio.abc.Stream) -> None:
    await stream.receive_some()


async def rst(stream: trio.abc.Stream) -> None:
    await stream.receive_some()
    raw = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    assert isinstance(raw, trio.SocketStream)
    raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.socket.close()


async def one_byte(stream: trio.abc.Stream) -> None:
    await stream.receive_some()
    await stream.send_all(b"H")


async def more_than_an_answer(stream: trio.abc.Stream) -> None:
    await stream.receive_some()
    await stream.send_all(OK + OK.replace(b"200", b"500"))
    await stream.receive_some()


async def continuing(stream: trio.abc.Stream) -> None:
    await stream.receive_some()
    await stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")


async def unframed(stream: trio.abc.Stream) -> None:
    """End the answer with the end of TLS, but not the connection."""
    await read_request(stream)
    await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\nok")
    assert isinstance(stream, trio.SSLStream)
    await stream.unwrap()


async def idle_for_too_long(stream: trio.abc.Stream) -> None:
    await stream.receive_some()
    await stream.send_all(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")


async def at_once(stream: trio.abc.Stream) -> None:
    """End before the next request."""


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[Server]:
    with trio.fail_after(GUARD_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, server.serve, [server.listener])
            yield server
            nursery.cancel_scope.cancel()


async def tcp() -> trio.SocketListener:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    return listener


@pytest.fixture
async def unix(tmp_path: Path) -> trio.SocketListener:
    sock = trio.socket.socket(trio.socket.AF_UNIX)
    await sock.bind(str(tmp_path / "app.sock"))
    sock.listen()
    return trio.SocketListener(sock)


def client_of(server: Server, scheme: str = "http", tls: ssl.SSLContext | None = None) -> httpx.AsyncClient:
    address = server.listener.socket.getsockname()

    async def open(server: Address, timeout_s: float) -> trio.abc.Stream:
        if isinstance(address, str):
            return await trio.open_unix_socket(address)
        assert server.host == "127.0.0.1"
        return await trio.open_tcp_stream(server.host, address[1])

    transport = Transport(open, tls or ssl.create_default_context())
    return httpx.AsyncClient(transport=transport, base_url=f"{scheme}://127.0.0.1", trust_env=False)


async def post(client: httpx.AsyncClient, before: bytes = b"", deadline: float = inf) -> int:
    body = before + b"the body"
    headers = {"Host": "x", "Content-Length": str(len(body))}
    url = client.base_url.copy_with(path="/")
    extensions = {"deadline": deadline}
    request = httpx.Request("POST", url, headers=headers, stream=RequestBody(body), extensions=extensions)
    response = await client.send(request)
    return response.status_code


@pytest.mark.parametrize("end", [fin, rst, at_once, idle_for_too_long])
async def test_a_kept_connection_that_has_ended_is_replaced_at_once(end: Ending) -> None:
    async with serving(Server(await tcp(), end)) as server, client_of(server) as client:
        assert [await post(client) for _ in range(20)] == [200] * 20
    assert (server.requests, server.connections) == (20, 20)


async def test_one_that_ends_while_a_large_request_is_written_is_replaced_too() -> None:
    async with serving(Server(await tcp(), rst)) as server, client_of(server) as client:
        assert [await post(client, b"x" * (8 << 20)) for _ in range(3)] == [200] * 3
    assert (server.requests, server.connections) == (3, 3)


async def redirecting(stream: trio.abc.Stream) -> None:
    await stream.send_all(
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://[::1/\r\n"
        b"Set-Cookie: a=b\r\nSet-Cookie: c=d\r\n\r\n"
    )
    await stream.receive_some()


async def test_a_redirection_to_nowhere_has_a_status_and_cookies_are_not_kept() -> None:
    async with serving(Server(await tcp(), redirecting, answered=0)) as server, client_of(server) as client:
        assert await post(client) == 302
        assert not client.cookies
    assert server.connections == 1


@pytest.mark.parametrize("end", [fin, rst])
async def test_a_unix_socket_is_no_exception(end: Ending, unix: trio.SocketListener) -> None:
    async with serving(Server(unix, end)) as server, client_of(server) as client:
        assert [await post(client) for _ in range(5)] == [200] * 5
    assert server.connections == 5


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """That of a server, and one that trusts it."""
    authority = trustme.CA()
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(theirs)
    ours = ssl.create_default_context()
    authority.configure_trust(ours)
    return theirs, ours


@pytest.mark.parametrize(("end", "answered"), [(fin, 1), (rst, 1), (idle_for_too_long, 1), (unframed, 0)])
async def test_tls_is_no_exception(end: Ending, answered: int, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    theirs, ours = contexts
    async with (
        serving(Server(await tcp(), end, answered, theirs)) as server,
        client_of(server, "https", ours) as client,
    ):
        assert [await post(client) for _ in range(5)] == [200] * 5
    assert server.connections == 5


async def test_a_new_connection_whose_answer_is_408_fails() -> None:
    async with serving(Server(await tcp(), idle_for_too_long, answered=0)) as server, client_of(server) as client:
        assert await post(client) == 408
    assert server.connections == 1


@pytest.mark.parametrize("end", [one_byte, continuing])
async def test_a_request_of_whose_answer_a_byte_has_come_is_not_sent_again(end: Ending) -> None:
    async with serving(Server(await tcp(), end)) as server, client_of(server) as client:
        assert await post(client) == 200
        with pytest.raises(httpx.TransportError):
            await post(client)
    assert (server.requests, server.connections) == (1, 1)


@pytest.mark.parametrize("end", [fin, rst])
async def test_a_new_connection_that_ends_without_an_answer_is_an_error(end: Ending) -> None:
    async with serving(Server(await tcp(), end, answered=0)) as server, client_of(server) as client:
        with pytest.raises(httpx.TransportError):
            await post(client)
    assert server.connections == 1


async def test_several_connections_that_have_ended_are_all_replaced() -> None:
    async with serving(Server(await tcp(), fin)) as server, client_of(server) as client:
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(partial(post, client))
    assert server.requests == 10


async def test_a_connection_with_more_than_an_answer_is_not_used_again() -> None:
    async with serving(Server(await tcp(), more_than_an_answer, answered=0)) as server, client_of(server) as client:
        assert [await post(client) for _ in range(3)] == [200] * 3
    assert server.connections == 3


OF_500 = [
    b"HTTP/1.1 500 \r\nbad line\r\n\r\n",
    b"HTTP/1.1 500 \r\nContent-Length: x\r\n\r\n",
    b"HTTP/1.1 500 \r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    b"HTTP/1.1 500 \r\n" + b"X: y\r\n" * (1 << 16),
    b"HTTP/1.1 500 \r\nX-A: 1",
    b"\r\nHTTP/1.1 103 Early Hints\r\nX: y\r\n\r\nHTTP/1.1 500\r\nbad line\r\n\r\n",
]
OF_NOTHING = [
    b"HTTP/1.1 20",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"HTTP/1.1 099 OK\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"HTTP/2 200\r\n\r\n",
    b"SSH-2.0-OpenSSH\r\n",
    b"\x15\x03\x01\0\x02\x02\x50",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 2000,
]


def saying(answer: bytes) -> Ending:
    async def say(stream: trio.abc.Stream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)

    return say


@pytest.mark.parametrize("answer", OF_500, ids=range(len(OF_500)))
async def test_a_status_is_known_whatever_stands_behind_it(answer: bytes) -> None:
    async with serving(Server(await tcp(), saying(answer), answered=0)) as server, client_of(server) as client:
        assert [await post(client) for _ in range(2)] == [500, 500]


def early(answer: bytes, then: Callable[[], Awaitable[object]]) -> Ending:
    async def answer_before_the_body(stream: trio.abc.Stream) -> None:
        await stream.receive_some(100)
        await stream.send_all(answer)
        await then()

    return answer_before_the_body


REFUSAL = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"
# More than the buffers of any connection take, so that the rest is known to be missing.
LARGE = b"x" * (32 << 20)


@pytest.mark.parametrize("answered", [0, 1])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("answer", "then", "status"),
    [(REFUSAL, trio.sleep_forever, 413), (REFUSAL, trio.lowlevel.checkpoint, 413), (OK, trio.lowlevel.checkpoint, 200)],
)
async def test_an_answer_is_known_that_comes_before_the_body_is_sent(
    answer: bytes,
    then: Callable[[], Awaitable[object]],
    status: int,
    scheme: str,
    answered: int,
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    theirs, ours = contexts
    server = Server(await tcp(), early(answer, then), answered, theirs if scheme == "https" else None)
    async with serving(server), client_of(server, scheme, ours) as client:
        assert [await post(client) for _ in range(answered)] == [200] * answered
        assert await post(client, LARGE) == status
        # Not over a connection that waits for the rest.
        assert await post(client, b"" if answered else LARGE) == (200 if answered else status)
    assert server.connections == 2


async def test_a_body_is_sent_to_its_end_to_a_server_that_succeeds_before() -> None:
    async def succeed(stream: trio.abc.Stream) -> None:
        await stream.receive_some(100)
        await stream.send_all(OK)
        await read_request(stream)
        whole.set()

    whole = trio.Event()
    async with serving(Server(await tcp(), succeed, answered=0)) as server, client_of(server) as client:
        assert await post(client, b"x" * (1 << 20)) == 200
        await whole.wait()


@pytest.mark.parametrize(
    ("answer", "status"),
    [(OK, 200), (b"HTTP/1.1 202 Accepted\r\nX-A: ", 202), (b"HTTP/1.1 500 \r\n", 500), (b"HTTP/1.1 20", None)],
)
async def test_at_the_deadline_a_status_is_known_that_has_come(
    answer: bytes, status: int | None, unix: trio.SocketListener, mock_clock: MockClock
) -> None:
    async def time_runs_out() -> None:
        await wait_all_tasks_blocked()
        mock_clock.jump(10)
        await trio.sleep_forever()

    async with (
        serving(Server(unix, early(answer, time_runs_out), answered=0)) as server,
        client_of(server) as client,
    ):
        with pytest.raises(httpx.ReadTimeout) if status is None else nullcontext():
            assert await post(client, LARGE, deadline=10) == status


@pytest.mark.parametrize("answer", OF_NOTHING, ids=range(len(OF_NOTHING)))
async def test_what_has_no_status_is_told_in_words(answer: bytes) -> None:
    async with serving(Server(await tcp(), saying(answer), answered=0)) as server, client_of(server) as client:
        with pytest.raises(httpx.TransportError, match="the response is not whole, or not valid HTTP"):
            await post(client)
