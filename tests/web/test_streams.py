"""One subscription as a stream of frames."""

import json
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from hookbot.access.active_subscriptions import ActiveSubscriptions
from hookbot.access.admitted import AdmittedSubscription
from hookbot.access.authorizer import Authorizer, Grant
from hookbot.broker.broker import Broker, open_broker
from hookbot.broker.consumers import open_consumers
from hookbot.broker.limits import BrokerLimits
from hookbot.broker.starts import Start
from hookbot.errors import Ended, HistoryLost, Unavailable
from hookbot.log.contract import Page
from hookbot.log.memory import MemoryLog
from hookbot.log.retention import Retention
from hookbot.protocol import frames as framing_module
from hookbot.protocol.envelope import LARGE_BODY
from hookbot.protocol.message import Draft, Gap, Message, format_id
from hookbot.protocol.since import AfterId, FromOldest
from hookbot.protocol.subscribe import SubscribeRequest
from hookbot.protocol.topics import TopicFilter
from hookbot.web.held_bytes import HeldBytes
from hookbot.web.streams import SHUTTING_DOWN, Stream, Streams

HEARTBEAT_S = 15
KEEP_ALL = Retention(max_age_s=None, max_bytes=None, max_unsafe_bytes=None)


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def limits() -> BrokerLimits:
    return BrokerLimits()


@pytest.fixture
async def broker(log: MemoryLog, limits: BrokerLimits) -> AsyncIterator[Broker]:
    async with open_broker(log, KEEP_ALL, limits=limits) as broker:
        yield broker


@pytest.fixture
def now_us() -> list[int]:
    return [99_000_000]


@pytest.fixture
def active(now_us: list[int]) -> ActiveSubscriptions:
    return ActiveSubscriptions(Authorizer([Grant().key, "key"]), clock_us=lambda: now_us[0])


@pytest.fixture
def streams(broker: Broker, active: ActiveSubscriptions) -> Streams:
    return Streams(broker, active, HEARTBEAT_S, HeldBytes(1 << 20))


@pytest.fixture
def aborted() -> trio.Event:
    """Set when the hub ends the connection of a stream in the middle of what is sent."""
    return trio.Event()


@pytest.fixture
def publish(broker: Broker) -> Callable[..., Any]:
    async def publish(count: int = 1, topic: str = "a", body: bytes = b"x") -> None:
        await broker.commit([Draft(topic, body) for _ in range(count)])

    return publish


@pytest.fixture
def listen(streams: Streams, aborted: trio.Event) -> Callable[..., Any]:
    """Opens the stream of a subscription to `a`, from a position."""

    def listen(start: int | Start = 0, format: Any = "jsonl", **asked: Any) -> AbstractContextManager[Stream]:
        request = SubscribeRequest(TopicFilter.parse("a"), "/sub/a", "a", format, **asked)
        begin = start if isinstance(start, Start) else Start(start)
        return streams.open(AdmittedSubscription(request, Grant()), begin, aborted.set)

    return listen


def read(frames: Sequence[bytes]) -> list[Any]:
    """Positions of messages, and whatever else there is as it is."""
    objects = [json.loads(frame) for frame in frames]
    return [int(each["id"][-15:]) if "topic" in each else each for each in objects]


async def take(stream: Stream, count: int) -> list[Any]:
    taken: list[Any] = []
    while len(taken) < count:
        taken += read(await stream.__anext__())
    return taken


async def rest(stream: Stream) -> list[Any]:
    return [item async for frames in stream for item in read(frames)]


def beat(log: MemoryLog, position: int) -> dict[str, str]:
    return {"type": "heartbeat", "id": format_id(log.epoch, position)}


async def test_frames_come_in_batches_history_first_and_then_what_is_new(
    broker: Broker, listen: Callable[..., Any], publish: Callable[..., Any]
) -> None:
    await publish(3)
    with listen() as stream:
        assert read(await anext(stream)) == [1, 2, 3]
        assert broker.counts.delivered == 3
        await publish(2)
        assert read(await anext(stream)) == [4, 5]


async def test_who_waited_for_a_message_is_counted_with_the_time_it_took(
    broker: Broker, listen: Callable[..., Any], publish: Callable[..., Any]
) -> None:
    taken: list[Any] = []
    await publish(3)
    with listen() as stream:
        taken += await take(stream, 3)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(anext, stream)
            await wait_all_tasks_blocked()
            await publish(2)
        await publish(1)
        frames = await anext(stream)

    assert broker.counts.tell_times.count == 2
    assert broker.counts.delivered_in["jsonl"].messages == 6
    assert broker.counts.delivered_in["jsonl"].bytes > 6 * len(frames[0]) - 6


@pytest.mark.parametrize(
    ("format", "frame"),
    [
        ("raw", b"x"),
        ("v1", b'{"type":"message"'),
        ("cloudevents", b'{"specversion"'),
        ("sse", b"id: "),
        ("jsonl", b'{"id"'),
    ],
)
async def test_any_format_can_be_streamed(
    listen: Callable[..., Any], publish: Callable[..., Any], format: str, frame: bytes
) -> None:
    await publish()
    with listen(format=format) as stream:
        assert (await anext(stream))[0].startswith(frame)


async def test_after_some_silence_there_is_a_heartbeat(
    listen: Callable[..., Any], publish: Callable[..., Any], log: MemoryLog, autojump_clock: MockClock
) -> None:
    with listen() as stream:
        await publish()
        assert await take(stream, 1) == [1]
        before = trio.current_time()
        assert await take(stream, 2) == [beat(log, 1), beat(log, 1)]
        assert trio.current_time() - before == 2 * HEARTBEAT_S


async def test_a_heartbeat_says_that_everything_up_to_it_was_sent(
    listen: Callable[..., Any], publish: Callable[..., Any], log: MemoryLog, autojump_clock: MockClock
) -> None:
    with listen() as stream:
        await publish(5, topic="b")
        assert await take(stream, 1) == [beat(log, 5)]
        await publish(1)
        await publish(1, topic="b")
        assert await take(stream, 2) == [6, beat(log, 7)]


async def test_who_resumes_from_a_heartbeat_is_told_of_no_gap(
    listen: Callable[..., Any], publish: Callable[..., Any], broker: Broker, log: MemoryLog, autojump_clock: MockClock
) -> None:
    with listen() as stream:
        await publish(50, topic="b")
        [heartbeat] = await take(stream, 1)
    await log.trim(Retention(max_count=10), now_us=0)
    epoch, _, position = heartbeat["id"].partition("-")
    start = await broker.starts.at(AfterId(epoch, int(position)), TopicFilter.parse("a"))
    assert start.gap is None


async def test_something_that_comes_puts_the_heartbeat_off(
    listen: Callable[..., Any], publish: Callable[..., Any], autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    async def publish_now_and_then() -> None:
        for _ in range(10):
            await trio.sleep(HEARTBEAT_S - 1)
            await publish()

    with listen() as stream:
        nursery.start_soon(publish_now_and_then)
        assert await take(stream, 10) == list(range(1, 11))


@pytest.mark.parametrize("format", ["raw", "cloudevents"])
async def test_a_format_without_heartbeats_is_silent(
    listen: Callable[..., Any],
    publish: Callable[..., Any],
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    format: str,
) -> None:
    async def publish_late() -> None:
        await trio.sleep(10 * HEARTBEAT_S)
        await publish()

    with listen(format=format) as stream:
        nursery.start_soon(publish_late)
        assert len(await anext(stream)) == 1


@pytest.mark.parametrize("limits", [BrokerLimits(window_messages=5, page_messages=10)])
async def test_no_heartbeat_runs_ahead_of_a_reader_who_is_behind(
    listen: Callable[..., Any],
    publish: Callable[..., Any],
    log: MemoryLog,
    autojump_clock: MockClock,
) -> None:
    await publish(100)
    slow = SlowLog(log)
    with listen() as stream:
        assert await take(stream, 10) == list(range(1, 11))
        slow.seconds = HEARTBEAT_S + 1
        assert await take(stream, 1) == [beat(log, 10)]
        slow.seconds = 0
        assert await take(stream, 10) == list(range(11, 21))


class SlowLog:
    """A log that is slow to read."""

    def __init__(self, log: MemoryLog) -> None:
        self.seconds = 0
        self.read = log.read
        log.read = self.read_slowly  # type: ignore[method-assign]

    async def read_slowly(self, wanted: TopicFilter, **how: Any) -> Page:
        await trio.sleep(self.seconds)
        return await self.read(wanted, **how)


async def test_a_limit_ends_the_stream(listen: Callable[..., Any], publish: Callable[..., Any]) -> None:
    await publish(10)
    with listen(limit=3) as stream:
        assert await rest(stream) == [1, 2, 3]
    with listen(limit=12) as stream:
        assert await take(stream, 10) == list(range(1, 11))
        await publish(5)
        assert await rest(stream) == [11, 12]


async def test_a_poll_is_what_there_is_and_where_to_go_on(
    listen: Callable[..., Any], publish: Callable[..., Any], log: MemoryLog
) -> None:
    await publish(3)
    await publish(1, topic="b")
    with listen(1, wait_s=30) as stream:
        assert await rest(stream) == [2, 3, beat(log, 3)]
    with listen(limit=2, wait_s=30) as stream:
        assert await rest(stream) == [1, 2, beat(log, 2)]


@pytest.mark.parametrize("limits", [BrokerLimits(window_messages=5, page_messages=10)])
async def test_a_poll_is_no_longer_than_a_page(
    listen: Callable[..., Any], publish: Callable[..., Any], log: MemoryLog
) -> None:
    await publish(30)
    with listen(limit=20, wait_s=30) as stream:
        assert await rest(stream) == [*range(1, 11), beat(log, 10)]


async def test_a_poll_waits_for_the_first_message(
    listen: Callable[..., Any],
    publish: Callable[..., Any],
    log: MemoryLog,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
) -> None:
    async def publish_late() -> None:
        await trio.sleep(2 * HEARTBEAT_S)
        await publish(2)

    with listen(wait_s=60) as stream:
        nursery.start_soon(publish_late)
        assert await rest(stream) == [1, 2, beat(log, 2)]
        assert trio.current_time() == 2 * HEARTBEAT_S


async def test_a_poll_that_waits_in_vain_says_up_to_where(
    listen: Callable[..., Any],
    publish: Callable[..., Any],
    log: MemoryLog,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
) -> None:
    async def publish_elsewhere() -> None:
        for _ in range(10):
            await trio.sleep(HEARTBEAT_S)
            await publish(1, topic="b")

    with listen(wait_s=40) as stream:
        nursery.start_soon(publish_elsewhere)
        assert await rest(stream) == [beat(log, 2)]
        assert trio.current_time() == 40


@pytest.mark.parametrize("limits", [BrokerLimits(window_messages=5, page_messages=10)])
async def test_a_poll_of_a_slow_log_ends_in_time_and_skips_nothing(
    listen: Callable[..., Any], publish: Callable[..., Any], log: MemoryLog, autojump_clock: MockClock
) -> None:
    await publish(100)
    SlowLog(log).seconds = 40
    with listen(7, wait_s=30) as stream:
        assert await rest(stream) == [beat(log, 7)]


async def test_a_poll_does_not_end_with_a_gap(
    listen: Callable[..., Any], publish: Callable[..., Any], broker: Broker, log: MemoryLog, autojump_clock: MockClock
) -> None:
    gap = {"type": "gap", "reason": "other-log", "after": None, "before": format_id(log.epoch, 1)}
    start = await broker.starts.at(AfterId("zzzzzzzz", 99), TopicFilter.parse("a"))
    with listen(start, wait_s=30) as stream:
        assert await rest(stream) == [gap, beat(log, 0)]
    await publish(1)
    with listen(start, wait_s=30) as stream:
        assert await rest(stream) == [gap, 1, beat(log, 1)]


@pytest.mark.parametrize(("since", "position"), [(None, 3), (FromOldest(), 3), (AfterId("zzzzzzzz", 99), None)])
async def test_a_poll_that_the_hub_ends_says_where_it_began(
    listen: Callable[..., Any],
    streams: Streams,
    publish: Callable[..., Any],
    log: MemoryLog,
    since: FromOldest | AfterId | None,
    position: int | None,
) -> None:
    await publish(3, topic="b")
    with listen(3, wait_s=30, since=since) as stream:
        await publish(1)
        streams.close()
        expected = beat(log, position) if position else {"type": "heartbeat", "id": "zzzzzzzz-000000000000099"}
        assert await rest(stream) == [expected]


async def test_a_poll_that_has_been_answered_ends_whatever_happens_meanwhile(
    listen: Callable[..., Any], streams: Streams, publish: Callable[..., Any], log: MemoryLog
) -> None:
    await publish(1)
    with listen(wait_s=30) as stream:
        assert read(await anext(stream)) == [1, beat(log, 1)]
        await publish(1)
        streams.close()
        assert await rest(stream) == []


async def test_a_gap_does_not_count_for_the_limit(
    listen: Callable[..., Any], publish: Callable[..., Any], log: MemoryLog
) -> None:
    await publish(10)
    await log.trim(Retention(max_count=5), now_us=0)
    gap = {"type": "gap", "reason": "retention", "after": format_id(log.epoch, 2), "before": format_id(log.epoch, 6)}
    with listen(2, limit=3) as stream:
        assert await rest(stream) == [gap, 6, 7, 8]


async def test_what_is_stored_ends_where_the_log_ended_when_it_was_asked_for(
    listen: Callable[..., Any], publish: Callable[..., Any]
) -> None:
    await publish(10)
    await publish(5, topic="b")
    with listen(3, follow=False) as stream:
        await publish(5)
        assert await rest(stream) == [4, 5, 6, 7, 8, 9, 10]


@pytest.mark.parametrize("limits", [BrokerLimits(page_messages=7)])
async def test_the_newest_come_first_on_request(listen: Callable[..., Any], publish: Callable[..., Any]) -> None:
    await publish(20)
    await publish(5, topic="b")
    with listen(follow=False, newest=True) as stream:
        await publish(5)
        assert await rest(stream) == list(range(20, 0, -1))
    with listen(12, follow=False, newest=True) as stream:
        assert await rest(stream) == [30, 29, 28, 27, 26, *range(20, 12, -1)]


async def test_backwards_a_heartbeat_does_not_claim_that_anything_is_complete(
    listen: Callable[..., Any], publish: Callable[..., Any], log: MemoryLog, autojump_clock: MockClock
) -> None:
    await publish(10)
    slow = SlowLog(log)
    slow.seconds = HEARTBEAT_S + 1
    with listen(3, follow=False, newest=True) as stream:
        assert await take(stream, 1) == [beat(log, 3)]


@pytest.mark.parametrize("follow", [True, False])
async def test_a_gap_comes_before_what_follows_it(
    listen: Callable[..., Any], publish: Callable[..., Any], broker: Broker, log: MemoryLog, follow: bool
) -> None:
    await publish(3)
    start = await broker.starts.at(AfterId("zzzzzzzz", 99), TopicFilter.parse("a"))
    gap = {"type": "gap", "reason": "other-log", "after": None, "before": format_id(log.epoch, 1)}
    with listen(start, follow=follow) as stream:
        assert await take(stream, 4) == [gap, 1, 2, 3]


@pytest.mark.parametrize("follow", [True, False])
async def test_a_gap_that_cannot_be_told_ends_the_stream(
    listen: Callable[..., Any], publish: Callable[..., Any], log: MemoryLog, follow: bool
) -> None:
    await publish(3)
    gap = Gap("retention", None, format_id(log.epoch, 2))
    with (
        listen(Start(1, gap), format="raw", follow=follow) as stream,
        pytest.raises(HistoryLost, match=f"before {gap.before} .*retention"),
    ):
        await anext(stream)


async def test_a_log_that_cannot_be_read_ends_the_stream(
    listen: Callable[..., Any], publish: Callable[..., Any], log: MemoryLog
) -> None:
    await publish(3)

    async def fail(wanted: TopicFilter, **how: Any) -> Page:
        raise Unavailable("no disk")

    log.read = fail  # type: ignore[method-assign]
    with listen() as stream, pytest.raises(Unavailable, match="no disk"):
        await anext(stream)


async def test_streams_end_when_the_hub_closes_wherever_they_are(
    listen: Callable[..., Any], streams: Streams, publish: Callable[..., Any], nursery: trio.Nursery
) -> None:
    ended = []

    async def listen_until_the_end() -> None:
        with listen() as stream:
            try:
                await rest(stream)
            except Ended as error:
                ended.append(error.code)

    with listen() as busy, listen(follow=False) as stored:
        for _ in range(3):
            nursery.start_soon(listen_until_the_end)
        await wait_all_tasks_blocked()
        await publish()
        streams.close()
        await wait_all_tasks_blocked()
        assert ended == [1001] * 3
        for stream in (busy, stored):
            with pytest.raises(Ended):
                await anext(stream)


async def test_a_stream_that_is_opened_while_the_hub_closes_ends_at_once(
    listen: Callable[..., Any], streams: Streams
) -> None:
    streams.close()
    with listen() as stream, pytest.raises(Ended) as caught:
        await anext(stream)
    assert caught.value.code == 1001


async def test_a_stream_ends_when_what_granted_it_does(
    streams: Streams, active: ActiveSubscriptions, now_us: list[int]
) -> None:
    grant = Grant(key="key", expires_s=100)
    asked = SubscribeRequest(TopicFilter.parse("a"), "/sub/a", "a", "jsonl")
    with streams.open(AdmittedSubscription(asked, grant), Start(0), lambda: None) as stream:
        assert len(list(active.sweep())) == 1
        assert len(active) == 1
        now_us[0] = 100_000_000
        assert len(list(active.sweep())) == 1
        with pytest.raises(Ended) as caught:
            await anext(stream)
        assert caught.value.code == 1008
    assert len(active) == 0


async def test_a_stream_that_is_over_is_not_remembered(
    listen: Callable[..., Any], streams: Streams, active: ActiveSubscriptions, broker: Broker
) -> None:
    with listen():
        assert len(active) == 1
    with listen(follow=False):
        assert len(active) == 1
    assert len(active) == 0
    streams.close()


async def test_cancelling_a_wait_loses_nothing(listen: Callable[..., Any], publish: Callable[..., Any]) -> None:
    with listen() as stream:
        with trio.CancelScope() as scope:
            scope.cancel()
            await anext(stream)
        await publish()
        assert await take(stream, 1) == [1]


async def test_a_stream_without_stored_messages_does_not_keep_others_from_reading_theirs(
    streams: Streams,
    listen: Callable[..., Any],
    publish: Callable[..., Any],
    autojump_clock: MockClock,
    nursery: trio.Nursery,
) -> None:
    await publish()
    empty = AdmittedSubscription(SubscribeRequest(TopicFilter.parse("b"), "/sub/b", "b", "jsonl"), Grant())
    with streams.open(empty, Start(0), pytest.fail) as waiting, listen() as stream:
        nursery.start_soon(anext, waiting)
        await wait_all_tasks_blocked()
        assert await take(stream, 1) == [1]
        assert trio.current_time() == 0
        nursery.cancel_scope.cancel()


async def test_large_messages_are_encoded_once_for_all_streams(
    listen: Callable[..., Any], publish: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    encodings: list[Message] = []
    encode = framing_module.JsonLines.message

    def count(self: framing_module.JsonLines, message: Message) -> bytes:
        encodings.append(message)
        return encode(self, message)

    monkeypatch.setattr(framing_module.JsonLines, "message", count)
    frames: list[bytes] = []

    async def listen_for_one() -> None:
        with listen(since=FromOldest()) as stream:
            frames.extend(await anext(stream))

    async with trio.open_nursery() as listeners:
        for _ in range(10):
            listeners.start_soon(listen_for_one)
        await wait_all_tasks_blocked()
        await publish(body=b"x" * (LARGE_BODY + 1))
    assert len(frames) == 10
    assert len(encodings) == 1
    assert all(frame is frames[0] for frame in frames)


# --- what waits for slow subscribers


@pytest.fixture
def other(streams: Streams) -> Callable[[int], None]:
    """Counts so many bytes for another slow subscriber, which is cut if that is too much and it holds most."""

    def hold(size: int) -> None:
        streams.held.hold("other", hold, size, what="other", cut=lambda: None)

    return hold


async def test_a_stream_that_holds_most_loses_its_connection_while_it_is_sent(
    listen: Callable[..., Any], publish: Callable[..., Any], other: Callable[[int], None], aborted: trio.Event
) -> None:
    await publish(body=b"x" * 600_000)
    with listen() as stream:
        assert len(await anext(stream)) == 1
        other(400_000)
        await wait_all_tasks_blocked()
        assert not aborted.is_set()

        other(500_000)
        await aborted.wait()
        with pytest.raises(Ended) as caught:
            await anext(stream)
    assert caught.value.code == 1013


async def test_a_stream_that_holds_most_before_it_is_sent_is_told(
    listen: Callable[..., Any],
    publish: Callable[..., Any],
    other: Callable[[int], None],
    aborted: trio.Event,
    broker: Broker,
) -> None:
    await publish(body=b"x" * 600_000)
    with listen() as stream:
        async with trio.open_nursery() as nursery:
            await broker.frames.encoding.acquire()
            nursery.start_soon(raises_ended, stream, 1013)
            await wait_all_tasks_blocked()
            other(500_000)
            broker.frames.encoding.release()
        await wait_all_tasks_blocked()
    assert not aborted.is_set()


async def test_a_connection_is_not_ended_within_the_call_that_counts_for_another(
    streams: Streams, publish: Callable[..., Any], other: Callable[[int], None]
) -> None:
    # A cancelled task refers to the stack that cancelled it, and so to what is in memory there.
    stack: list[str] = []
    ended = trio.Event()

    def abort() -> None:
        stack.extend(frame.name for frame in traceback.extract_stack())
        ended.set()

    await publish(body=b"x" * 600_000)
    request = SubscribeRequest(TopicFilter.parse("a"), "/sub/a", "a", "jsonl")
    with streams.open(AdmittedSubscription(request, Grant()), Start(0), abort) as stream:
        await anext(stream)
        other(500_000)
        await ended.wait()

    assert other.__name__ not in stack


async def test_what_a_stream_holds_is_counted_until_it_is_sent_or_the_stream_is_closed(
    streams: Streams, listen: Callable[..., Any], publish: Callable[..., Any]
) -> None:
    await publish(2, body=b"x" * 600_000)
    with listen() as stream:
        await anext(stream)
        assert streams.held.size > 600_000
        await anext(stream)
        assert 600_000 < streams.held.size < 1_200_000
    assert streams.held.size == 0


async def raises_ended(stream: Stream, code: int) -> None:
    with pytest.raises(Ended) as caught:
        await anext(stream)
    assert caught.value.code == code


async def test_the_reason_of_an_end_keeps_nothing_of_the_streams_that_it_ended(streams: Streams, listen: Any) -> None:
    with listen() as stream:
        streams.close()
        with pytest.raises(Ended):
            await anext(stream)

    assert SHUTTING_DOWN.__traceback__ is None


async def test_a_member_whose_message_is_acknowledged_by_another_does_not_wait_while_it_keeps_others_from_reading(
    streams: Streams, broker: Broker, publish: Callable[..., Any], autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    request = SubscribeRequest(TopicFilter.parse("a"), "/sub/a", "a", "jsonl", group="g", ack_timeout_s=5)
    async with (
        open_consumers(broker, clock_us=lambda: 99_000_000) as consumers,
        consumers.open(request) as late,
        consumers.open(request) as other,
    ):
        await publish()
        [entry] = await late.take() or ()
        with streams.open_from(other, AdmittedSubscription(request, Grant()), pytest.fail) as waiting:
            async with streams.reading:
                nursery.start_soon(anext, waiting)
                await trio.sleep(7)
                assert streams.reading.waiting == 1
                late.ack({"type": "ack", "ids": [format_id(broker.log.epoch, entry.position)]})
            await wait_all_tasks_blocked()
            with trio.fail_after(1):
                async with streams.reading:
                    pass
            nursery.cancel_scope.cancel()
