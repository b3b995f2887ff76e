"""HTTP/1.1 connections of the fast path: order, ends, limits, time, and what untrusted clients send instead."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from hookbot.broker.writer import Done
from hookbot.errors import Unavailable
from hookbot.log.memory import MemoryLog
from hookbot.protocol.message import Draft, Message
from hookbot.protocol.request import Request
from hookbot.web.fastpath.http_connection import MAX_BUFFERED
from hookbot.web.fastpath.nonblocking import RECEIVE_BYTES
from support.clients import chunks, handshake, post
from support.fast_path import CHUNKED, PATH, SMALL, open_fast_path, settled
from support.stubborn_log import StubbornLog

pytestmark = pytest.mark.usefixtures("plain_and_encrypted")


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
            await wait_all_tasks_blocked()
            await client.send(sent[split:])
            assert (await client.answer()).status == 200

        assert hub.stored() == [("topic", b"hello world")] * len(sent)


@pytest.mark.parametrize("sent", [b"GET /status HTTP/1.1\r\nHost: hub\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\n"])
async def test_a_request_for_the_app_is_handed_over_and_so_is_what_follows_it(sent: bytes) -> None:
    async with open_fast_path() as hub:
        client = await hub.connect()
        await client.send(post(PATH) + sent + post(PATH))

        assert [(await client.answer()).status for _ in range(2)] == [200, 299]
        assert hub.handed_over == [sent + post(PATH)]
        assert not hub.connections


async def test_a_request_that_fails_in_the_log_is_answered_and_the_next_one_is_read() -> None:
    log = StubbornLog()
    log.error = Unavailable("the disk is full")
    async with open_fast_path(log=log) as hub:
        client = await hub.connect()
        await client.send(post(PATH))
        refused = await client.answer()
        log.error = None
        await client.send(post(PATH))

        assert (refused.status, refused.body) == (503, b"the disk is full\n")
        assert (await client.answer()).status == 200


async def test_outcomes_that_come_at_once_answer_all_requests_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_fast_path() as hub:

        def submit_at_once(drafts: Sequence[Draft], done: Done, **_: Any) -> None:
            if drafts[0].body == b"refused":
                done(Unavailable("the log is full"))
            else:
                done([Message(draft.topic, id=draft.body.decode()) for draft in drafts])

        monkeypatch.setattr(hub.broker, "submit", submit_at_once)
        client = await hub.connect()
        await client.send(b"".join(post(PATH, b"%d" % number) for number in range(2000)))
        await client.send(post(PATH, b"refused") + post(PATH, b"last", "Connection: close"))

        answers = [await client.answer() for _ in range(2002)]

        assert [answer.headers.get("hookbot-message-id") for answer in answers[:2000]] == [str(n) for n in range(2000)]
        assert [answer.status for answer in answers[2000:]] == [503, 200]
        assert await client.rest() == b""


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
        pytest.param(handshake(token="bm8="), True, id="refused handshake"),
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


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        pytest.param(post(PATH, token="bm8="), ("POST", PATH, "topic", 401), id="a publish"),
        pytest.param(handshake("/sub/topic?since=nothing"), ("GET", "/sub/topic", "topic", 400), id="a handshake"),
        pytest.param(b"POST /pub/topic HTTP/1.1\r\n\r\n", ("", "", None, 400), id="malformed"),
        pytest.param(post(PATH)[:-1], ("POST", PATH, "topic", 400), id="half a body"),
    ],
)
async def test_whatever_is_refused_is_noted(sent: bytes, told: tuple[str, str, str | None, int]) -> None:
    async with open_fast_path() as hub:
        answer = await hub.ask(sent)

        [refusal] = hub.access.refusals.newest()
        assert (refusal.method, refusal.path, refusal.topic, refusal.status) == told
        assert (refusal.client, refusal.count) == ("127.0.0.1", 1)
        assert refusal.reason in answer.decode()


@pytest.mark.parametrize("sent", [b"", b"PO", post(PATH)[:-1], post(PATH)[:40], post(PATH) + b"POST"])
async def test_half_a_request_of_a_client_that_has_ended_its_side_is_answered_by_400(sent: bytes) -> None:
    async with open_fast_path() as hub:
        answers = await hub.ask(sent)

        assert answers.count(b"HTTP/1.1 200 OK\r\n") == len(hub.stored()) == sent.startswith(post(PATH))
        assert answers.count(b"HTTP/1.1 400 Bad Request\r\n") == bool(sent)
        assert len(hub.fast_path) == 0
        assert hub.bodies.held_bytes == 0


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
        await settled(lambda: not (len(hub.fast_path) or len(hub.fanout) or hub.bodies.held_bytes))

        assert (await hub.ask(post(PATH))).startswith(b"HTTP/1.1 200 ")


async def test_the_answer_reaches_a_client_that_goes_on_sending_a_refused_body() -> None:
    async with open_fast_path(max_body_bytes=1000) as hub:
        client = await hub.connect()
        await client.send(post(PATH, None, "Content-Length: 9000000") + bytes(9_000_000))

        assert (await client.answer()).status == 413
        await client.closed()


async def test_a_client_that_never_stops_sending_is_cut_off() -> None:
    async with open_fast_path(max_drained_bytes=1 << 20) as hub:
        client = await hub.connect()
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012 - until the hub has had enough
            await client.send(post(PATH, None, "Content-Length: 9000000"))
            while True:
                await client.send(bytes(100_000))


async def test_answers_that_are_not_read_are_not_made() -> None:
    async with open_fast_path(send_buffer=SMALL) as hub:
        client = await hub.connect(receive_buffer=SMALL)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, post("/pub/..", b"") * 3_000)
            await wait_all_tasks_blocked()
            [unread] = hub.connections
            assert 0 < len(unread._buffer) <= RECEIVE_BYTES

            for _ in range(3_000):
                assert (await client.answer()).status == 400


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "many"),
    [
        pytest.param(b"", post("/no//topic", b"") * 100, id="requests"),
        pytest.param(post(PATH, None, CHUNKED), b"1\r\na\r\n" * 2000, id="chunks"),
    ],
)
async def test_a_client_that_sends_much_at_once_is_served_in_turn_with_others(
    first: bytes, many: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hookbot.web.fastpath.http_connection.TURN_S", 0)
    # Otherwise the clients, which are tasks too, might see the first answer only after the last request.
    monkeypatch.setattr("hookbot.web.fastpath.epoll.ROUND_S", 0)
    async with open_fast_path() as hub:
        client, other = await hub.connect(), await hub.connect()
        await client.send(first)
        await wait_all_tasks_blocked()
        await client.send(many)
        await other.send(post(PATH, b"hello"))
        assert (await other.answer()).status == 200

        assert max(len(one._buffer) for one in hub.connections) > 1000


async def test_empty_lines_before_a_request_are_skipped_however_many() -> None:
    async with open_fast_path() as hub:
        client = await hub.connect()
        await client.send(b"\r\n" * 10_000 + post(PATH, b"hello"))

        assert (await client.answer()).status == 200


async def test_while_the_log_has_a_request_only_so_much_is_read_behind_it() -> None:
    log = StubbornLog()
    log.may_store = trio.Event()
    async with open_fast_path(log=log) as hub:
        client = await hub.connect()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, post(PATH) * 3_000)
            await settled(lambda: any(connection._buffer for connection in hub.connections))
            [waiting] = hub.connections
            await settled(lambda: not waiting._events)
            assert len(waiting._buffer) <= MAX_BUFFERED + RECEIVE_BYTES
            log.may_store.set()

            for _ in range(3_000):
                assert (await client.answer()).status == 200


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
        await wait_all_tasks_blocked()
        await client.send(b"1\r\na\r\n")

        assert (await client.answer()).status == 413
        await client.closed()
        assert hub.stored() == []
        assert hub.bodies.held_bytes == 0


async def test_a_body_of_exactly_the_limit_is_taken() -> None:
    async with open_fast_path(max_body_bytes=100_000) as hub:
        assert b" 200 OK" in await hub.ask(post(PATH, bytes(100_000)))
        assert b" 200 OK" in await hub.ask(post(PATH, None, CHUNKED) + chunks(bytes(60_000), bytes(40_000)))


async def test_more_than_the_hub_can_receive_at_once_is_answered_by_503_and_welcome_later() -> None:
    async with open_fast_path(max_body_bytes=1000, max_receiving_bytes=0) as hub:
        one, two, three, first, second = [await hub.connect() for _ in range(5)]
        for full in (one, two, three):
            await full.send(post(PATH, None, "Content-Length: 1000") + bytes(999))
        await first.send(post(PATH, None, "Content-Length: 900") + bytes(800))
        await settled(lambda: hub.bodies.held_bytes == 3797)

        await second.send(post(PATH, bytes(300)))

        answer = await second.answer()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        await first.send(bytes(100))
        assert (await first.answer()).status == 200
        assert hub.bodies.held_bytes == 2997
        await second.send(post(PATH, bytes(300)))
        assert (await second.answer()).status == 200


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
async def test_a_sender_who_stops_in_the_middle_is_answered_by_408(sent: bytes, mock_clock: MockClock) -> None:
    async with open_fast_path(slow_s=10) as hub:
        client = await hub.connect()
        await client.send(sent)
        if b"Expect" in sent:
            await client.until(b"100 Continue\r\n\r\n")
        await wait_all_tasks_blocked()

        mock_clock.jump(11)
        answer = await client.answer()

        assert (answer.status, answer.headers["connection"]) == (408, "close")
        await client.closed()
        assert hub.stored() == []
        assert hub.bodies.held_bytes == 0


async def test_a_head_that_comes_byte_by_byte_has_to_be_whole_in_time(mock_clock: MockClock) -> None:
    async with open_fast_path(slow_s=10) as hub:
        client = await hub.connect()
        await client.send(b"POST /pub")

        for _ in range(11):
            await wait_all_tasks_blocked()
            mock_clock.jump(1)
            await client.send(b"x")

        assert (await client.answer()).status == 408


async def test_a_body_may_take_its_time_as_long_as_it_goes_on(mock_clock: MockClock) -> None:
    async with open_fast_path(slow_s=1, min_body_bytes=2) as hub:
        client = await hub.connect()
        await client.send(post(PATH, None, "Content-Length: 30"))

        for _ in range(15):
            await wait_all_tasks_blocked()
            mock_clock.jump(0.9)
            await wait_all_tasks_blocked()
            await client.send(b"xx")

        assert (await client.answer()).status == 200


@pytest.mark.parametrize("path", [PATH, "/unsafe/pub/topic"])
@pytest.mark.parametrize("piece", [b"1\r\nx\r\n", b"1;" + b"e" * 1000 + b"\r\nx\r\n"])
async def test_a_body_that_comes_byte_by_byte_is_answered_by_408(
    path: str, piece: bytes, mock_clock: MockClock
) -> None:
    async with open_fast_path(slow_s=10) as hub:
        client = await hub.connect()
        await client.send(post(path, None, CHUNKED) + piece)

        for _ in range(11):
            await wait_all_tasks_blocked()
            mock_clock.jump(1)
            await client.send(piece)

        assert (await client.answer()).status == 408
        assert hub.bodies.held_bytes == 0
        assert hub.bodies.refused["slow"] == 1


async def test_a_body_has_a_time_for_the_whole(mock_clock: MockClock) -> None:
    async with open_fast_path(slow_s=10, body_s=30, min_body_bytes=1) as hub:
        client = await hub.connect()
        await client.send(post(PATH, None, "Content-Length: 100"))

        for _ in range(31):
            await wait_all_tasks_blocked()
            mock_clock.jump(1)
            await client.send(b"x")

        assert (await client.answer()).status == 408


async def test_who_does_not_read_the_answer_is_cut_off_in_time(mock_clock: MockClock) -> None:
    async with open_fast_path(slow_s=10, send_buffer=SMALL) as hub, trio.open_nursery() as nursery:
        client = await hub.connect(receive_buffer=SMALL)

        async def send_without_reading() -> None:
            with pytest.raises(trio.BrokenResourceError):
                await client.send(post("/pub/..", b"") * 30_000)

        nursery.start_soon(send_without_reading)
        await wait_all_tasks_blocked()
        assert not any(connection.idle for connection in hub.connections)

        mock_clock.jump(11)
        await settled(lambda: not len(hub.fast_path))


async def test_an_idle_connection_is_closed_after_a_while(mock_clock: MockClock) -> None:
    async with open_fast_path(slow_s=1, keep_alive_s=20) as hub:
        silent, idle = await hub.connect(), await hub.connect()
        await idle.send(post(PATH))
        assert (await idle.answer()).status == 200
        await settled(lambda: len(hub.connections) == 2)
        mock_clock.jump(19)
        await wait_all_tasks_blocked()
        assert len(hub.connections) == 2

        mock_clock.jump(2)
        await silent.closed()
        await idle.closed()


async def test_who_stays_after_the_last_answer_is_not_waited_for(mock_clock: MockClock) -> None:
    async with open_fast_path(linger_s=2) as hub:
        client = await hub.connect()
        await client.send(post(PATH, b"", "Connection: close"))
        await client.answer()
        assert len(hub.fast_path) == 1

        mock_clock.jump(3)
        await settled(lambda: not len(hub.fast_path))


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


async def test_a_bug_while_a_subscription_resumes_is_answered_by_500_and_ends_only_that_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class BuggyLog(MemoryLog):
        """A log whose times cannot be looked up."""

        async def position_before(self, time_us: int) -> int:
            raise RuntimeError("a bug")

    async with open_fast_path(log=BuggyLog()) as hub:
        client = await hub.connect()
        await client.send(handshake("/sub/topic?since=1h"))
        assert (await client.answer()).status == 500
        await client.closed()

        await (other := await hub.connect()).send(post(PATH))
        assert (await other.answer()).status == 200
    assert "a bug" in caplog.text


async def test_a_bug_that_a_client_finds_is_answered_by_500_and_ends_only_that_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_fast_path() as hub:

        def fail(request: Request) -> None:
            raise RuntimeError("a bug")

        other = await hub.connect()
        await other.send(post(PATH)[:-1])
        await wait_all_tasks_blocked()
        with monkeypatch.context() as patched:
            patched.setattr(hub.access, "admit_publish", fail)
            client = await hub.connect()
            await client.send(post(PATH) * 2)
            answer = await client.answer()
            await client.closed()

        assert (answer.status, answer.body) == (500, b"the hub failed\n")
        assert "RuntimeError: a bug" in caplog.text
        caplog.clear()
        await other.send(b"o")
        assert (await other.answer()).status == 200


async def test_a_request_for_the_app_waits_with_all_its_bytes_until_there_is_one() -> None:
    made = trio.Event()
    async with open_fast_path(app_made=made) as hub:
        waiting, gone = await hub.connect(), await hub.connect()
        await waiting.send(b"GET /status HTTP/1.1\r\nHost: x\r\n")
        await waiting.send(b"\r\nPOST /next")
        await gone.send(b"PUT /")
        await wait_all_tasks_blocked()
        assert len(hub.fast_path) == 2
        assert not hub.handed_over

        await gone.reset()
        await settled(lambda: len(hub.fast_path) == 1)
        made.set()
        assert (await waiting.answer()).status == 299

    assert hub.handed_over == [b"GET /status HTTP/1.1\r\nHost: x\r\n\r\nPOST /next"]
