"""Requests on the fast path: publishes, handshakes, and what is handed over to the app."""

import json
import logging
import socket
import struct
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from hookbot.access.authorizer import Authorizer
from hookbot.access.client_address import TrustedProxies
from hookbot.access.control import AccessControl
from hookbot.access.rate_limits import Rate
from hookbot.access.senders import Standing
from hookbot.access.sources import Source, Sources
from hookbot.access.verifier import VERIFYING_THREADS
from hookbot.errors import Unavailable
from hookbot.log.memory import MemoryLog
from hookbot.protocol.envelope import LARGE_BODY
from hookbot.protocol.http1 import MAX_HEAD_BYTES
from hookbot.protocol.message import wall_clock_us
from hookbot.signatures import SignedRequest, load_provider
from hookbot.web.asgi.transport import stream_over
from hookbot.web.limits import ConnectionLimits
from support import KEY, SECRET
from support.clients import handshake, post
from support.fast_path import CHUNKED, PATH, open_fast_path, settled
from support.stubborn_log import StubbornLog

pytestmark = pytest.mark.usefixtures("plain_and_encrypted")

# Of a body that has to make progress.
LARGE = 2 * ConnectionLimits().min_body_bytes

# --- publishing


async def test_a_publish_is_answered_when_it_is_stored() -> None:
    async with open_fast_path() as hub:
        client = await hub.connect()
        await client.send(post(PATH, b"hello"))

        answer = await client.answer()

        assert (answer.status, answer.body) == (200, b"OK\n")
        assert answer.headers["hookbot-message-id"].endswith("-000000000000001")
        assert hub.stored() == [("topic", b"hello")]


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
    handed_over: list[tuple[socket.socket, bytes]] = []
    async with open_fast_path(hand_over=lambda *taken: handed_over.append(taken)) as hub:
        client = await hub.connect()
        await client.send(sent, bytewise=bytewise)
        await client.send_eof()
        await settled(lambda: handed_over)
        [(sock, read)] = handed_over

        async with stream_over(sock) as rest:
            assert read + b"".join([data async for data in rest]) == sent
        assert len(hub.fast_path) == 0


@pytest.mark.parametrize("field", ["X: short", "X: " + "long" * 1000])
async def test_a_head_that_is_repeated_publishes_each_time(field: str) -> None:
    async with open_fast_path() as hub:
        client = await hub.connect()
        for body in (b"one", b"two"):
            await client.send(post(PATH, body, field))
            assert (await client.answer()).status == 200

        assert hub.stored() == [("topic", b"one"), ("topic", b"two")]


@pytest.mark.parametrize("bytewise", [False, True])
async def test_a_head_that_is_repeated_may_come_in_parts_and_with_any_body(bytewise: bool) -> None:
    bodies = [b"one", b"", b"two", b"x" * LARGE, b"three"]
    async with open_fast_path() as hub:
        client = await hub.connect()
        for body in bodies:
            await client.send(post(PATH, body)[:200], bytewise=bytewise)
            await client.send(post(PATH, body)[200:])
            assert (await client.answer()).status == 200
        await client.send(b"".join(post(PATH, body) for body in bodies))
        assert [(await client.answer()).status for _ in bodies] == [200] * len(bodies)

        assert hub.stored() == [("topic", body) for body in bodies] * 2
        assert hub.bodies.held_bytes == 0


@pytest.mark.parametrize("sent", [b"", b"hel"])
async def test_a_head_that_is_repeated_is_refused_if_its_body_does_not_come_in_time(
    sent: bytes, mock_clock: MockClock
) -> None:
    async with open_fast_path(slow_s=10) as hub:
        client = await hub.connect()
        await client.send(post(PATH))
        await client.answer()
        mock_clock.jump(20)
        head = post(PATH, None, "Content-Length: 5")

        for part, then_s in ((head[:-1], 9), (head[-1:], 9), (sent, 2)):
            await client.send(part)
            await wait_all_tasks_blocked()
            assert not hub.services.broker.counts.refused
            mock_clock.jump(then_s)

        assert (await client.answer()).status == 408


@pytest.mark.parametrize(("value_bytes", "status"), [(MAX_HEAD_BYTES - 1000, 200), (MAX_HEAD_BYTES, 431)])
async def test_a_head_that_is_repeated_with_a_longer_value_is_refused_if_it_is_too_long(
    value_bytes: int, status: int
) -> None:
    async with open_fast_path() as hub:
        client = await hub.connect()
        await client.send(post(PATH, b"hello", "X: y"))
        assert (await client.answer()).status == 200
        sent = post(PATH, b"hello", "X: " + "y" * value_bytes)
        # What comes first may still become a head that is short enough.
        for part in (sent[:MAX_HEAD_BYTES], sent[MAX_HEAD_BYTES:]):
            await client.send(part)
            await wait_all_tasks_blocked()

        assert (await client.answer()).status == status


@pytest.mark.parametrize("publishes_before", [0, 1])
async def test_who_sends_a_head_alone_is_told_in_the_same_way_whether_it_is_repeated(
    publishes_before: int, mock_clock: MockClock
) -> None:
    async with open_fast_path(slow_s=10) as hub:
        client = await hub.connect()
        for _ in range(publishes_before):
            await client.send(post(PATH, b"hello", "Accept: application/json"))
            await client.answer()
        await client.send(post(PATH, b"hello", "Accept: application/json")[:-5])
        await settled(lambda: any(not connection.idle for connection in hub.connections))
        mock_clock.jump(11)

        answer = await client.answer()
        assert (answer.status, answer.headers["content-type"]) == (408, "application/problem+json")
        assert hub.bodies.refused["slow"] == 1


@pytest.mark.parametrize("publishes_before", [0, 1])
async def test_a_body_has_the_same_time_whether_its_head_is_repeated(
    publishes_before: int, mock_clock: MockClock
) -> None:
    body = b"x" * (12 << 10)
    async with open_fast_path(slow_s=10) as hub:
        client = await hub.connect()
        for _ in range(publishes_before):
            await client.send(post(PATH))
            await client.answer()
        request = post(PATH, body)
        for part in (request[:20], request[20 : -len(body)], body[: 11 << 10], body[11 << 10 :]):
            await client.send(part)
            await wait_all_tasks_blocked()
            mock_clock.jump(6)

        assert (await client.answer()).status == 200


async def test_a_large_body_behind_a_head_that_is_repeated_is_counted_while_it_comes() -> None:
    async with open_fast_path() as hub:
        client = await hub.connect()
        await client.send(post(PATH))
        await client.answer()

        await client.send(post(PATH, None, f"Content-Length: {LARGE}") + b"x")

        await settled(lambda: hub.bodies.held_bytes == 1)


async def test_a_head_that_is_repeated_counts_for_its_client_also_when_a_proxy_is_trusted_later() -> None:
    async with open_fast_path() as hub:
        sent = post(PATH, b"hello", "X-Forwarded-For: 192.0.2.1")
        clients = [await hub.connect() for _ in range(2)]
        for client in clients:
            await client.send(sent)
            assert (await client.answer()).status == 200

        options: dict[str, Any] = {"proxies": TrustedProxies(count=1), "publishes": Rate(2, 3600)}
        hub.access.adopt(AccessControl(Authorizer([KEY]), clock_us=wall_clock_us, **options))
        statuses = []
        # The first of them gets the permit that both need.
        for client in (*clients, *clients[1:]):
            await client.send(sent)
            statuses.append((await client.answer()).status)
        await client.send(sent.replace(b"192.0.2.1", b"192.0.2.2"))
        statuses.append((await client.answer()).status)

        assert statuses == [200, 200, 429, 200]


async def test_a_head_whose_token_is_revoked_before_its_body_comes_is_refused() -> None:
    async with open_fast_path() as hub:
        client = await hub.connect()
        await client.send(post(PATH))
        assert (await client.answer()).status == 200
        await client.send(post(PATH, None, "Content-Length: 5"))
        await wait_all_tasks_blocked()

        hub.access.adopt(AccessControl(Authorizer(["another key"]), clock_us=wall_clock_us))
        await client.send(b"hello")

        assert (await client.answer()).status == 401
        assert len(hub.stored()) == 1


async def test_a_publish_to_another_topic_is_stored_there_also_if_its_body_comes_later() -> None:
    async with open_fast_path() as hub:
        client = await hub.connect()
        sent = [("/pub/a", b"1"), ("/pub/b", b"2"), ("/pub/b", b"33"), ("/pub/a", b"4"), ("/pub/b", b"5")]
        for path, body in sent:
            await client.send(post(path, body))
            assert (await client.answer()).status == 200
        for path, body in sent:
            data = post(path, body)
            await client.send(data[: -len(body)])
            await wait_all_tasks_blocked()
            await client.send(data[-len(body) :])
            assert (await client.answer()).status == 200

        assert hub.stored() == [(path.removeprefix("/pub/"), body) for path, body in sent] * 2


async def test_a_head_that_is_repeated_is_answered_in_json_if_its_client_accepts_it() -> None:
    async with open_fast_path() as hub:
        client = await hub.connect()
        for _ in range(2):
            await client.send(post(PATH, b"hello", "Accept: application/json"))
            answer = await client.answer()
            assert json.loads(answer.body) == {"id": answer.headers["hookbot-message-id"]}


async def test_a_head_with_the_same_key_publishes_once() -> None:
    async with open_fast_path() as hub:
        client = await hub.connect()
        answers = []
        for body in (b"one", b"one", b"two"):
            await client.send(post(PATH, body, "Idempotency-Key: k"))
            answers.append(await client.answer())

        assert [answer.status for answer in answers] == [200, 200, 422]
        assert answers[1].headers["hookbot-duplicate"] == "true"
        assert hub.stored() == [("topic", b"one")]


async def test_a_head_that_is_repeated_is_refused_beyond_the_rate_and_the_connection_goes_on() -> None:
    async with open_fast_path(access={"publishes": Rate(2, 3600)}) as hub:
        client = await hub.connect()
        statuses = []
        for _ in range(4):
            await client.send(post(PATH))
            statuses.append((await client.answer()).status)

        assert statuses == [200, 200, 429, 429]
        assert len(hub.stored()) == 2
        assert hub.bodies.held_bytes == 0


async def test_a_head_that_is_repeated_is_refused_while_the_log_fails_and_the_connection_goes_on() -> None:
    log = StubbornLog()
    async with open_fast_path(log=log) as hub:
        client = await hub.connect()
        statuses = []
        for log.error in (None, Unavailable("the disk is full"), None):
            await client.send(post(PATH))
            statuses.append((await client.answer()).status)

        assert statuses == [200, 503, 200]
        assert hub.bodies.held_bytes == 0


async def test_a_head_that_is_repeated_is_refused_while_there_is_no_memory_for_its_body() -> None:
    async with open_fast_path(max_body_bytes=10, max_receiving_bytes=40) as hub:
        client = await hub.connect()
        statuses = []
        for others in (0, 36, 0):
            hub.bodies.hold(others, Standing.TOKEN, "")
            await client.send(post(PATH))
            statuses.append((await client.answer()).status)
            hub.bodies.release(others, Standing.TOKEN, "")

        assert statuses == [200, 503, 200]
        assert hub.bodies.held_bytes == 0


async def test_a_head_that_is_repeated_is_refused_if_its_client_closes_before_its_body_came() -> None:
    async with open_fast_path() as hub:
        client = await hub.connect()
        await client.send(post(PATH))
        await client.answer()
        await client.send(post(PATH, None, "Content-Length: 5"))
        await client.send_eof()

        assert (await client.answer()).status == 400


async def test_a_head_that_is_repeated_after_the_last_response_publishes_nothing() -> None:
    async with open_fast_path() as hub:
        client = await hub.connect()
        await client.send(post(PATH))
        await client.answer()
        await client.send(b"POST nothing\r\n\r\n")
        assert (await client.answer()).status == 400

        await client.send(post(PATH))
        await client.send_eof()
        await client.closed()

        assert len(hub.stored()) == 1


async def test_a_part_of_a_body_that_reads_like_a_usual_head_is_body() -> None:
    async with open_fast_path() as hub:
        client = await hub.connect()
        await client.send(post(PATH))
        await client.answer()
        body = b"x" * LARGE + post(PATH)

        for part in (post(PATH, body)[: -len(post(PATH))], post(PATH)):
            await client.send(part)
            await wait_all_tasks_blocked()

        assert (await client.answer()).status == 200
        assert hub.stored() == [("topic", b"hello"), ("topic", body)]


async def test_a_head_that_is_repeated_waits_until_the_one_before_is_stored() -> None:
    log = StubbornLog()
    async with open_fast_path(log=log) as hub:
        client = await hub.connect()
        await client.send(post(PATH, b"0"))
        await client.answer()

        log.may_store = trio.Event()
        for body in (b"1", b"2"):
            await client.send(post(PATH, body))
            await wait_all_tasks_blocked()
        log.may_store.set()

        assert [(await client.answer()).status for _ in range(2)] == [200, 200]
        assert hub.stored() == [("topic", b"0"), ("topic", b"1"), ("topic", b"2")]


async def test_a_bug_in_recognising_a_head_is_answered_by_500_and_ends_only_that_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    async with open_fast_path() as hub:
        client, other = await hub.connect(), await hub.connect()
        for one in (client, other):
            await one.send(post(PATH))
            assert (await one.answer()).status == 200
        with monkeypatch.context() as patched:
            patched.setattr(hub.access, "find_permit", fail)
            await client.send(post(PATH))
            assert (await client.answer()).status == 500
            await client.closed()

        await other.send(post(PATH))
        assert (await other.answer()).status == 200


async def test_a_head_that_is_repeated_is_refused_once_its_token_is_revoked() -> None:
    async with open_fast_path() as hub:
        client = await hub.connect()
        await client.send(post(PATH))
        assert (await client.answer()).status == 200

        hub.access.adopt(AccessControl(Authorizer(["another key"]), clock_us=wall_clock_us))
        await client.send(post(PATH))

        assert (await client.answer()).status == 401
        assert len(hub.stored()) == 1


@pytest.mark.parametrize(("secret", "status"), [(SECRET, 200), ("a guess", 401)])
async def test_a_signed_publish_is_verified_before_it_is_stored(secret: str, status: int) -> None:
    github = load_provider("github")
    sources = Sources([Source("/unsafe/acme", github, [SECRET])])
    signed = github.sign(SignedRequest(b"{}"), secret, now=0)
    fields = [f"{name}: {value}" for name, value in signed.headers]
    async with open_fast_path(access={"sources": sources}) as hub:
        client = await hub.connect()
        await client.send(post("/unsafe/pub/acme", b"{}", *fields))

        assert (await client.answer()).status == status
        assert len(hub.stored()) == (status == 200)


@pytest.mark.parametrize("reset", [True, False])
async def test_a_large_body_that_waits_for_a_thread_is_dropped_when_its_client_is_gone(reset: bool) -> None:
    github = load_provider("github")
    body = b"x" * (LARGE_BODY + 1)
    fields = [f"{name}: {value}" for name, value in github.sign(SignedRequest(body), SECRET, now=0).headers]
    sources = Sources([Source("/unsafe/acme", github, [SECRET])])
    async with open_fast_path(access={"sources": sources}) as hub:
        threads = hub.access.verifier.hashing
        for number in range(VERIFYING_THREADS):
            threads.acquire_on_behalf_of_nowait(number)
        client = await hub.connect()
        await client.send(post("/unsafe/pub/acme", body, *fields))
        await settled(lambda: threads.statistics().tasks_waiting)

        if reset:
            client.transport.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await client.stream.aclose()
        await settled(lambda: not threads.statistics().tasks_waiting)
        await settled(lambda: not hub.bodies.held_bytes)

        assert hub.connections == []
        assert hub.stored() == []


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


async def test_a_refused_publish_is_not_logged_with_the_trace_of_one_before_that_was_like_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "hookbot.access")
    async with open_fast_path(access={"publishes": Rate(1, 60)}) as hub:
        client = await hub.connect()
        for number, status in ((1, 200), (2, 429)):
            await client.send(post(PATH, b"hello", f"traceparent: 00-{number:032x}-{number:016x}-01"))
            assert (await client.answer()).status == status

    [record] = caplog.records
    # Its own one if the first is still under way here when it comes, so that it is not compared with that.
    assert record.__dict__["trace_id"] in ("", f"{2:032x}")


# --- handshakes


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


@pytest.mark.parametrize("more", [("Content-Length: 5",), (CHUNKED,)])
async def test_a_handshake_with_a_body_is_answered_by_400(more: tuple[str]) -> None:
    async with open_fast_path() as hub:
        client = await hub.connect()
        await client.send(handshake("/sub/topic", *more))
        answer = await client.answer()

        assert (answer.status, answer.body) == (400, b"a websocket handshake has no body\n")


async def test_a_subscription_begins_now_or_with_what_is_stored() -> None:
    async with open_fast_path() as hub:
        await hub.publish("topic", b"old")
        live, resumed = await hub.listen(), await hub.listen("/sub/topic?since=all")
        await hub.publish("topic", b"new")

        assert await live.payload() == b"new"
        assert await resumed.payloads(2) == [b"old", b"new"]


class HeldLog(MemoryLog):
    """A log that is asked for a position, and answers when it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.released = trio.Event(), trio.Event()

    async def position_before(self, time_us: int) -> int:
        self.asked.set()
        await self.released.wait()
        return await super().position_before(time_us)


async def test_a_client_that_leaves_while_the_log_is_asked_becomes_no_subscriber() -> None:
    log = HeldLog()
    async with open_fast_path(log=log) as hub:
        client = await hub.connect()
        await client.send(handshake("/sub/topic?since=1h"))
        await log.asked.wait()
        await client.reset()
        await settled(lambda: not hub.connections)

        log.released.set()
        await trio.testing.wait_all_tasks_blocked()

        assert len(hub.fanout) == len(hub.active) == 0


async def test_a_subscription_that_finds_no_room_after_the_log_was_read_is_refused() -> None:
    log = HeldLog()
    async with open_fast_path(log=log, access={"max_subscribers": 1}) as hub:
        client = await hub.connect()
        await client.send(handshake("/sub/topic?since=1h"))
        await log.asked.wait()
        await hub.listen()

        log.released.set()

        assert (await client.answer()).status == 429


# --- the log


async def test_a_publish_that_cannot_be_stored_is_answered_by_503_and_the_connection_goes_on() -> None:
    log = StubbornLog()
    log.error = Unavailable("the disk is full")
    async with open_fast_path(log=log) as hub:
        client = await hub.connect()
        await client.send(post(PATH))
        assert (await client.answer()).status == 503

        log.error = None
        await client.send(post(PATH))
        assert (await client.answer()).status == 200


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_body_counts_until_it_is_stored_also_if_its_sender_has_gone(leaves: bool) -> None:
    log = StubbornLog()
    log.may_store = trio.Event()
    async with open_fast_path(log=log) as hub:
        client = await hub.connect()
        await client.send(post(PATH))
        await settled(lambda: hub.bodies.held_bytes == 5)
        if leaves:
            await client.reset()
            await settled(lambda: not len(hub.fast_path))
        assert hub.bodies.held_bytes == 5

        log.may_store.set()

        await settled(lambda: hub.bodies.held_bytes == 0)
        assert hub.stored() == [("topic", b"hello")]


async def test_unknown_senders_leave_room_for_a_token_and_one_network_for_others() -> None:
    async with open_fast_path(max_body_bytes=1000, max_receiving_bytes=0) as hub:
        senders = [await hub.connect() for _ in range(3)]
        for sender in senders:
            await sender.send(post("/unsafe/pub/topic", None, "Content-Length: 1000") + bytes(600))

        answers = [await sender.answer() for sender in senders[1:]]
        assert [(answer.status, answer.headers["retry-after"]) for answer in answers] == [(429, "5"), (429, "5")]
        assert (await hub.ask(post(PATH, bytes(1000)))).startswith(b"HTTP/1.1 200 ")
        await senders[0].send(bytes(400))
        assert (await senders[0].answer()).status == 200
        assert hub.bodies.held_bytes == 0
