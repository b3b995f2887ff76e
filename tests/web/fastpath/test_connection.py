"""The fast path, on real sockets: publishes, handshakes, and what untrusted clients send instead."""

import errno
import logging
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import trio

from hookbot.access.rate_limits import Rate
from hookbot.errors import Unavailable
from hookbot.log.memory import MemoryLog
from hookbot.protocol.message import Draft, Message
from hookbot.protocol.request import Request
from hookbot.web.fastpath import http_connection, listener
from hookbot.web.fastpath.epoll import RECEIVE_BYTES
from support import GUARD_S
from support.clients import WebSocket, handshake, post
from support.fast_path import open_fast_path

PATH = "/pub/topic"
CHUNKED = "Transfer-Encoding: chunked"


@pytest.fixture(autouse=True)
def quick_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "SWEEP_S", 0.01)


@pytest.fixture(autouse=True)
def nothing_unexpected(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def chunks(*parts: Any, trailer: bytes = b"") -> bytes:
    sent = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return sent + b"0\r\n" + trailer + b"\r\n"


# --- publishing


async def test_a_publish_is_answered_when_it_is_stored() -> None:
    async with open_fast_path() as hub:
        client = await hub.connect()
        await client.send(post(PATH, b"hello"))

        answer = await client.answer()

        assert (answer.status, answer.body) == (200, b"OK\n")
        assert answer.headers["hookbot-message-id"].endswith("-000000000000001")
        assert hub.stored() == [("topic", b"hello")]


@pytest.mark.parametrize("bytewise", [False, True])
async def test_requests_on_one_connection_are_answered_in_order(bytewise: bool) -> None:
    async with open_fast_path() as hub:
        client = await hub.connect()
        await client.send(
            post(PATH, b"one")
            + b"\r\n"
            + post(PATH, None, CHUNKED)
            + chunks(b"t", b"wo", trailer=b"X: y\r\n")
            + post("/pub/topic/../no", b"")
            + post(PATH, b"")
            + post("/unsafe/pub/four", b"4")
            + post("/three", b"3"),
            bytewise=bytewise,
        )

        answers = [await client.answer() for _ in range(6)]

        assert [answer.status for answer in answers] == [200, 200, 400, 200, 200, 200]
        stored = [("topic", b"one"), ("topic", b"two"), ("topic", b""), ("/unsafe/four", b"4"), ("three", b"3")]
        assert hub.stored() == stored


async def test_a_chunked_body_may_be_split_at_every_byte() -> None:
    sent = post(PATH, None, CHUNKED) + chunks(b"hello", b" ", b"world", trailer=b"X-Trailer: yes\r\n")
    async with open_fast_path() as hub:
        client = await hub.connect()
        for split in range(len(sent)):
            await client.send(sent[:split])
            await trio.testing.wait_all_tasks_blocked()
            await client.send(sent[split:])
            assert (await client.answer()).status == 200

        assert hub.stored() == [("topic", b"hello world")] * len(sent)


async def test_a_request_for_the_app_in_the_middle_takes_what_is_behind_it_along() -> None:
    async with open_fast_path() as hub:
        client = await hub.connect()
        status = b"GET /status HTTP/1.1\r\nHost: hub\r\n\r\n"
        await client.send(post(PATH, b"one") + status + post(PATH, b"two"))

        assert (await client.answer()).status == 200
        assert (await client.answer()).status == 299
        assert hub.handed_over == [status + post(PATH, b"two")]
        assert hub.stored() == [("topic", b"one")]
        assert len(hub.fast_path) == 0


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"GET /status HTTP/1.1\r\nHost: hub\r\n\r\n", id="its own path"),
        pytest.param(b"GET /sub/topic HTTP/1.1\r\nHost: hub\r\nAccept: text/event-stream\r\n\r\n", id="a stream"),
        pytest.param(b"PUT /pub/topic HTTP/1.1\r\n", id="another method"),
        pytest.param(b"POST /hookbot/v1/cursors HTTP/1.1\r\nHost: hub\r\n\r\n", id="the hub's own"),
        pytest.param(b"POST /%70ub/topic HTTP/1.1\r\nHost: hub\r\n\r\n", id="a path that is not plain to see"),
        pytest.param(b"POST /pub/a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", id="h2c"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS"),
        pytest.param(handshake("/sub/topic?cursor=a", "Sec-WebSocket-Protocol: hookbot.v1"), id="a cursor"),
        pytest.param(handshake("/sub/topic?limit=1"), id="a limited subscription"),
    ],
)
@pytest.mark.parametrize("bytewise", [False, True])
async def test_whatever_else_is_handed_over_to_the_app_with_all_its_bytes(sent: bytes, bytewise: bool) -> None:
    handed_over = []
    async with open_fast_path(hand_over=lambda *taken: handed_over.append(taken)) as hub:
        client = await hub.connect()
        await client.send(sent, bytewise=bytewise)
        await client.stream.send_eof()
        while not handed_over:
            await trio.sleep(0.001)
        [(sock, read)] = handed_over

        async with trio.SocketStream(trio.socket.from_stdlib_socket(sock)) as rest:
            assert read + b"".join([data async for data in rest]) == sent
        assert len(hub.fast_path) == 0


# --- how connections end


@pytest.mark.parametrize(
    ("sent", "closes"),
    [
        pytest.param(post(PATH), False, id="HTTP/1.1"),
        pytest.param(post(PATH, b"hello", "Connection: close"), True, id="Connection: close"),
        pytest.param(post(PATH, version="1.0"), True, id="HTTP/1.0"),
        pytest.param(post(PATH, b"hello", "Connection: keep-alive", version="1.0"), False, id="HTTP/1.0, kept"),
        pytest.param(post(PATH, token="bm8="), False, id="401 with the whole body"),
        pytest.param(post(PATH, None, "Content-Length: 9", token="bm8="), True, id="401 before the body"),
        pytest.param(post(PATH, None, CHUNKED, token="bm8=") + chunks(b"hello"), False, id="401 with all chunks"),
        pytest.param(post(PATH, None, CHUNKED, token="bm8=") + b"5\r\n", True, id="401 with half a chunk"),
        pytest.param(handshake(token="bm8="), False, id="refused handshake"),
    ],
)
async def test_a_connection_is_kept_or_closed_as_the_answer_says(sent: bytes, closes: bool) -> None:
    async with open_fast_path() as hub:
        client = await hub.connect()
        await client.send(sent)
        answer = await client.answer()

        assert (answer.headers.get("connection") == "close") is closes
        if closes:
            await client.closed()
        else:
            await client.send(post(PATH))
            assert (await client.answer()).status == 200


async def test_a_client_of_1_0_is_told_that_the_connection_is_kept() -> None:
    async with open_fast_path() as hub:
        client = await hub.connect()
        await client.send(post(PATH, b"hello", "Connection: keep-alive", version="1.0"))

        assert (await client.answer()).headers["connection"] == "keep-alive"


@pytest.mark.parametrize("count", [1, 3])
async def test_a_client_that_ends_its_side_still_gets_every_answer(count: int) -> None:
    async with open_fast_path() as hub:
        answers = await hub.ask(post(PATH) * count)

        assert answers.count(b"HTTP/1.1 200 OK\r\n") == count
        assert hub.stored() == [("topic", b"hello")] * count


@pytest.mark.parametrize("sent", [b"", b"PO", post(PATH)[:-1], post(PATH)[:40], post(PATH) + b"POST"])
async def test_half_a_request_of_a_client_that_has_ended_its_side_is_nothing(sent: bytes) -> None:
    async with open_fast_path() as hub:
        answers = await hub.ask(sent)

        assert answers.count(b"HTTP/1.1 ") == len(hub.stored()) == (1 if sent.startswith(post(PATH)) else 0)
        assert len(hub.fast_path) == 0
        assert hub.bodies.receiving_bytes == 0


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"POST", id="half a head"),
        pytest.param(post(PATH)[:-2], id="half a body"),
        pytest.param(post(PATH), id="a publish"),
        pytest.param(post(PATH, None, "Expect: 100-continue", "Content-Length: 5"), id="waits for 100"),
        pytest.param(post(PATH, token="bm8="), id="refused"),
        pytest.param(handshake(), id="handshake"),
        pytest.param(handshake("/sub/topic?since=all"), id="handshake with history"),
    ],
)
async def test_a_client_that_vanishes_leaves_nothing_behind(sent: bytes) -> None:
    async with open_fast_path() as hub:
        for _ in range(20):
            client = await hub.connect()
            await client.send(sent)
            await client.reset()
        while len(hub.fast_path) or len(hub.fanout) or hub.bodies.receiving_bytes:
            await trio.sleep(0.001)

        assert (await hub.ask(post(PATH))).startswith(b"HTTP/1.1 200 ")


async def test_the_answer_reaches_a_client_that_goes_on_sending_a_refused_body() -> None:
    async with open_fast_path(max_body_bytes=1000) as hub:
        client = await hub.connect()
        await client.send(post(PATH, None, "Content-Length: 9000000") + bytes(9_000_000))

        assert (await client.answer()).status == 413
        await client.closed()


async def test_a_client_that_never_stops_sending_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "MAX_DRAINED", 1 << 20)
    async with open_fast_path() as hub:
        client = await hub.connect()
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012 - until the hub has had enough
            await client.send(post(PATH, None, "Content-Length: 9000000"))
            while True:
                await client.send(bytes(100_000))


async def test_answers_that_are_not_read_are_not_made() -> None:
    async with open_fast_path(send_buffer=4096) as hub:
        client = await hub.connect(receive_buffer=4096)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, post("/pub/..", b"") * 3_000)
            while not any(connection.stalled for connection in hub.fast_path._context.connections):
                await trio.sleep(0.001)
            [stalled] = hub.fast_path._context.connections
            assert len(stalled._buffer) <= RECEIVE_BYTES

            for _ in range(3_000):
                assert (await client.answer()).status == 400


# --- Expect: 100-continue


async def test_a_body_is_invited_when_its_sender_was_admitted() -> None:
    async with open_fast_path() as hub:
        client = await hub.connect()
        await client.send(post(PATH, None, "Expect: 100-continue", "Content-Length: 5"))
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"

        await client.send(b"hello")

        assert (await client.answer()).status == 200
        assert hub.stored() == [("topic", b"hello")]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(post(PATH, None, "Expect: 100-continue", "Content-Length: 5", token="bm8="), 401, id="no token"),
        pytest.param(post(PATH, None, "Expect: 100-continue", "Content-Length: 9000000"), 413, id="too large"),
        pytest.param(post(PATH, b"", "Expect: 100-continue"), 200, id="no body"),
        pytest.param(post(PATH, b"hello", "Expect: 100-continue"), 200, id="body already there"),
        pytest.param(post(PATH, b"hello", "Expect: 100-continue", version="1.0"), 200, id="HTTP/1.0"),
    ],
)
async def test_a_body_is_not_invited_otherwise(sent: bytes, status: int) -> None:
    async with open_fast_path() as hub:
        client = await hub.connect()
        await client.send(sent)

        assert (await client.answer()).status == status


# --- limits


@pytest.mark.parametrize("size", [40_000, 200_000])
async def test_a_head_that_is_too_long_is_answered_by_431(size: int) -> None:
    async with open_fast_path() as hub:
        client = await hub.connect()
        await client.send(post(PATH, None, "X: " + "x" * size))

        assert (await client.answer()).status == 431
        await client.closed()


async def test_a_body_that_is_too_large_is_refused_by_its_declared_length_alone() -> None:
    async with open_fast_path(max_body_bytes=1000) as hub:
        client = await hub.connect()
        await client.send(post(PATH, None, "Content-Length: 1001"))

        assert (await client.answer()).status == 413
        await client.closed()


async def test_chunks_that_are_too_much_together_are_refused_when_they_are() -> None:
    async with open_fast_path(max_body_bytes=1000) as hub:
        client = await hub.connect()
        await client.send(post(PATH, None, CHUNKED) + b"3e8\r\n" + bytes(1000) + b"\r\n")
        await trio.testing.wait_all_tasks_blocked()
        await client.send(b"1\r\na\r\n")

        assert (await client.answer()).status == 413
        await client.closed()
        assert hub.stored() == []
        assert hub.bodies.receiving_bytes == 0


async def test_a_body_of_exactly_the_limit_is_taken() -> None:
    async with open_fast_path(max_body_bytes=100_000) as hub:
        assert b" 200 OK" in await hub.ask(post(PATH, bytes(100_000)))
        assert b" 200 OK" in await hub.ask(post(PATH, None, CHUNKED) + chunks(bytes(60_000), bytes(40_000)))


async def test_more_than_the_hub_can_receive_at_once_is_answered_by_503_and_welcome_later() -> None:
    async with open_fast_path(max_receiving_bytes=1000) as hub:
        first, second = await hub.connect(), await hub.connect()
        await first.send(post(PATH, None, "Content-Length: 900") + bytes(800))
        while hub.bodies.receiving_bytes < 800:
            await trio.sleep(0.001)

        await second.send(post(PATH, bytes(300)))

        answer = await second.answer()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        await first.send(bytes(100))
        assert (await first.answer()).status == 200
        assert hub.bodies.receiving_bytes == 0
        await second.send(post(PATH, bytes(300)))
        assert (await second.answer()).status == 200


async def test_whoever_publishes_too_often_is_told_so_and_the_connection_goes_on() -> None:
    async with open_fast_path(access={"publishes": Rate(2, 60)}) as hub:
        client = await hub.connect()
        for _ in range(4):
            await client.send(post(PATH, b"hello", "Accept: application/json"))

        answers = [await client.answer() for _ in range(4)]

        assert [answer.status for answer in answers] == [200, 200, 429, 429]
        assert answers[2].headers["content-type"] == "application/problem+json"
        assert "connection" not in answers[3].headers
        assert len(hub.stored()) == 2


# --- time


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"POST /pub", id="half a head"),
        pytest.param(post(PATH)[:-1], id="half a body"),
        pytest.param(post(PATH, None, CHUNKED) + b"5\r\nhel", id="half a chunk"),
        pytest.param(post(PATH, None, "Content-Length: 5", "Expect: 100-continue"), id="invited"),
    ],
)
async def test_a_sender_who_stops_in_the_middle_is_answered_by_408(sent: bytes) -> None:
    async with open_fast_path(slow_s=0.05) as hub:
        client = await hub.connect()
        await client.send(sent)
        if b"Expect" in sent:
            await client.until(b"100 Continue\r\n\r\n")

        answer = await client.answer()

        assert (answer.status, answer.headers["connection"]) == (408, "close")
        await client.closed()
        assert hub.stored() == []
        assert hub.bodies.receiving_bytes == 0


async def test_a_head_that_comes_byte_by_byte_has_to_be_whole_in_time() -> None:
    async with open_fast_path(slow_s=0.1) as hub:
        client = await hub.connect()

        async def drip() -> None:
            await client.send(b"POST /pub")
            while True:
                await trio.sleep(0.01)
                await client.send(b"x")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            assert (await client.answer()).status == 408
            nursery.cancel_scope.cancel()


async def test_a_body_may_take_its_time_as_long_as_it_goes_on() -> None:
    async with open_fast_path(slow_s=1) as hub:
        client = await hub.connect()
        await client.send(post(PATH, None, "Content-Length: 15"))
        for _ in range(15):
            await trio.sleep(0.1)
            await client.send(b"x")

        assert (await client.answer()).status == 200


async def test_who_does_not_read_the_answer_is_cut_off_in_time() -> None:
    async with open_fast_path(slow_s=0.05, send_buffer=4096) as hub:
        client = await hub.connect(receive_buffer=4096)
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012 - until the hub has had enough
            while True:
                await client.send(post("/pub/..", b"") * 100)
        while len(hub.fast_path):
            await trio.sleep(0.001)


async def test_an_idle_connection_is_closed_after_a_while() -> None:
    async with open_fast_path(slow_s=GUARD_S, keep_alive_s=0.05) as hub:
        silent, idle = await hub.connect(), await hub.connect()
        await idle.send(post(PATH))
        assert (await idle.answer()).status == 200

        await silent.closed()
        await idle.closed()


async def test_who_stays_after_the_last_answer_is_not_waited_for() -> None:
    async with open_fast_path(linger_s=0.05) as hub:
        client = await hub.connect()
        await client.send(post(PATH, b"", "Connection: close"))
        await client.answer()
        while len(hub.fast_path):
            await trio.sleep(0.001)


# --- malformed requests


MALFORMED = [
    pytest.param(b"POST /pub/topic HTTP/1.1\r\n\r\n", id="no Host"),
    pytest.param(post(PATH, b"", "Host: hub"), id="second Host"),
    pytest.param(post(PATH, b"", "X: a\r\n b"), id="obs-fold"),
    pytest.param(post(PATH, b"").replace(b"\r\n", b"\n"), id="bare LF"),
    pytest.param(post(PATH, b"", "X: a\nY: b"), id="one bare LF"),
    pytest.param(post(PATH, b"", "X: a\rY: b"), id="bare CR"),
    pytest.param(post(PATH, b"", "X: \0"), id="NUL"),
    pytest.param(post(PATH, b"", "Content-Length: 0"), id="repeated Content-Length"),
    pytest.param(post(PATH, b"hello", "Content-Length: 4"), id="conflicting Content-Length"),
    pytest.param(post(PATH, None, "Content-Length: 1, 1") + b"a", id="list of lengths"),
    pytest.param(post(PATH, None, "Content-Length: -1"), id="negative length"),
    pytest.param(post(PATH, b"hello", CHUNKED), id="length and coding"),
    pytest.param(post(PATH, None, "Transfer-Encoding: gzip, chunked") + chunks(b"a"), id="unknown coding"),
    pytest.param(post(PATH, None, "Transfer-Encoding: identity"), id="identity coding"),
    pytest.param(post(PATH, None, CHUNKED, version="1.0") + chunks(b"a"), id="coding in HTTP/1.0"),
    pytest.param(post(PATH, None, CHUNKED) + b"5\r\nhelloworld\r\n0\r\n\r\n", id="chunk longer than it says"),
    pytest.param(post(PATH, None, CHUNKED) + b"0x5\r\nhello\r\n0\r\n\r\n", id="hexadecimal prefix"),
    pytest.param(post(PATH, None, CHUNKED) + b"5\nhello\n0\n\n", id="chunks with bare LF"),
    pytest.param(post(PATH, version="1.2"), id="unknown version"),
    pytest.param(post(PATH, version="2.0"), id="HTTP/2"),
    pytest.param(b"POST /pub/topic\r\n\r\n", id="no version"),
    pytest.param(b"POST  /pub/topic HTTP/1.1\r\nHost: a\r\n\r\n", id="two spaces"),
    pytest.param(post("pub/topic"), id="no path"),
    pytest.param(handshake("/sub/topic", "Content-Length: 5") + b"hello", id="handshake with a body"),
    pytest.param(handshake("/sub/topic", CHUNKED) + chunks(b"hello"), id="handshake with chunks"),
]


@pytest.mark.parametrize("sent", MALFORMED)
@pytest.mark.parametrize("bytewise", [False, True])
async def test_a_malformed_request_is_answered_by_400_and_the_connection_ends(sent: bytes, bytewise: bool) -> None:
    async with open_fast_path() as hub:
        client = await hub.connect()
        with suppress(trio.BrokenResourceError):  # the hub may have gone away by now
            await client.send(sent + post(PATH, b"smuggled"), bytewise=bytewise)

        answer = await client.answer()

        assert (answer.status, answer.headers["connection"]) == (400, "close")
        await client.closed()
        assert hub.stored() == []
        assert hub.handed_over == []


async def test_a_malformed_request_behind_a_good_one_takes_only_itself_down() -> None:
    async with open_fast_path() as hub:
        client = await hub.connect()
        await client.send(post(PATH) + post(PATH, b"", "Host: again") + post(PATH, b"never"))

        assert [(await client.answer()).status for _ in range(2)] == [200, 400]
        await client.closed()
        assert hub.stored() == [("topic", b"hello")]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Sec-WebSocket-Version", "12"),
        ("Sec-WebSocket-Key", "c2hvcnQ="),
        ("Sec-WebSocket-Key", "this is no base 64 text!"),
    ],
)
async def test_a_malformed_handshake_is_answered_by_400(field: str, value: str) -> None:
    sent = [line for line in handshake().split(b"\r\n") if not line.startswith(field.encode())]
    sent.insert(1, f"{field}: {value}".encode())
    async with open_fast_path() as hub:
        client = await hub.connect()
        await client.send(b"\r\n".join(sent))

        assert (await client.answer()).status == 400
        assert len(hub.fanout) == 0


async def test_a_refused_handshake_is_answered_once() -> None:
    async with open_fast_path() as hub:
        assert (await hub.ask(handshake(token="bm8="))).count(b"HTTP/1.1 ") == 1


async def test_a_bug_that_a_client_finds_is_answered_by_500_and_ends_only_that_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_fast_path() as hub:

        def fail(request: Request) -> None:
            raise RuntimeError("a bug")

        other = await hub.connect()
        await other.send(post(PATH)[:-1])
        await trio.testing.wait_all_tasks_blocked()
        with monkeypatch.context() as patched:
            patched.setattr(hub.access, "admit_publish", fail)
            client = await hub.connect()
            await client.send(post(PATH) * 2)
            answer = await client.answer()
            await client.closed()

        assert (answer.status, answer.body) == (500, b"the hub failed\n")
        assert "RuntimeError('a bug')" in caplog.text
        caplog.clear()
        await other.send(b"o")
        assert (await other.answer()).status == 200


# --- the log


async def test_a_publish_that_cannot_be_stored_is_answered_by_503_and_the_connection_goes_on() -> None:
    class FullLog(MemoryLog):
        full = True

        async def append(self, drafts: list[Draft], **cursors: Any) -> list[Message]:
            if self.full:
                raise Unavailable("the disk is full")
            return await super().append(drafts, **cursors)

    log = FullLog()
    async with open_fast_path(log=log) as hub:
        client = await hub.connect()
        await client.send(post(PATH))
        assert (await client.answer()).status == 503

        log.full = False
        await client.send(post(PATH))
        assert (await client.answer()).status == 200


async def test_while_the_log_has_a_request_only_so_much_is_read_behind_it() -> None:
    stored = trio.Event()

    class SlowLog(MemoryLog):
        async def append(self, drafts: list[Draft], **cursors: Any) -> list[Message]:
            await stored.wait()
            return await super().append(drafts, **cursors)

    async with open_fast_path(log=SlowLog()) as hub:
        client = await hub.connect()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, post(PATH) * 3_000)
            while not any(connection._buffer for connection in hub.fast_path._context.connections):
                await trio.sleep(0.001)
            [waiting] = hub.fast_path._context.connections
            while waiting._events:
                await trio.sleep(0.001)
            assert len(waiting._buffer) <= http_connection.MAX_BUFFERED + RECEIVE_BYTES
            stored.set()

            for _ in range(3_000):
                assert (await client.answer()).status == 200


# --- accepting, and the end


async def test_running_out_of_files_is_waited_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listener, "OUT_OF_FILES_PAUSE_S", 0.01)
    accept = socket.socket.accept
    full = OSError(errno.EMFILE, "too many open files")
    errors = [full, full, OSError(errno.ECONNABORTED, "gone")]

    def fail_first(self: socket.socket) -> tuple[socket.socket, tuple[str, int]]:
        if errors:
            raise errors.pop(0)
        return accept(self)

    async with open_fast_path() as hub:
        monkeypatch.setattr(socket.socket, "accept", fail_first)
        assert b" 200 OK" in await hub.ask(post(PATH))
        assert caplog.text.count("no connection can be accepted for now: too many open files") == 1
        assert not errors


async def test_a_thousand_clients_at_once_are_all_admitted() -> None:
    async with open_fast_path() as hub, trio.open_nursery() as nursery:

        async def come() -> None:
            assert isinstance(await hub.listen(), WebSocket)

        for _ in range(1000):
            nursery.start_soon(come)
        while len(hub.fanout) < 1000:
            await trio.sleep(0.01)


async def test_at_the_end_the_idle_are_closed_and_what_is_under_way_is_answered() -> None:
    async with open_fast_path(linger_s=0.05) as hub:
        idle, busy = await hub.connect(), await hub.connect()
        await busy.send(post(PATH)[:-1])
        while hub.bodies.receiving_bytes < 4:
            await trio.sleep(0.001)

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
        while hub.bodies.receiving_bytes < 4:
            await trio.sleep(0.001)

        await hub.fast_path.close(trio.current_time() + 0.05)

        await client.closed()
        assert len(hub.fast_path) == 0
