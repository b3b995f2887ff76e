"""Catching up: subscribers that are behind what is in memory, over real sockets."""

import json
from typing import Any

import pytest
import trio

from hookbot.broker.channels import Entry
from hookbot.broker.limits import BrokerLimits
from hookbot.errors import Unavailable
from hookbot.log.contract import Page
from hookbot.log.memory import MemoryLog
from hookbot.log.retention import Retention
from hookbot.protocol.envelope import LARGE_BODY
from hookbot.protocol.frames import HookbotV1
from hookbot.protocol.message import Draft
from hookbot.protocol.topics import TopicFilter
from hookbot.protocol.websocket import BINARY, frame
from hookbot.web.fastpath.audience import Audience, Send
from support.clients import WebSocket
from support.fast_path import BIG, SMALL, FastPathHub, open_fast_path, settled

pytestmark = pytest.mark.usefixtures("plain_and_encrypted")

UNSAFE = {"X-Hookbot-Unsafe-Is-Ok": "I understand the security implications"}.items()


async def test_a_subscriber_that_falls_behind_the_window_reads_the_log_and_comes_back() -> None:
    limits = BrokerLimits(window_messages=10)
    async with open_fast_path(send_buffer=SMALL, broker_limits=limits) as hub:
        listener = await hub.listen(subprotocol="hookbot.v1", receive_buffer=SMALL)
        sent = [b"%d" % n * 1000 for n in range(300)]
        for body in sent:
            await hub.publish("topic", body)
        subscriber = hub.subscriber
        assert subscriber.position < next(iter(hub.fanout._audiences._audiences.values())).channel.floor

        objects = [json.loads(payload) for payload in await listener.payloads(301)]
        assert [one.get("body", "").encode() for one in objects[1:]] == sent
        await settled(lambda: not subscriber.busy)
        await hub.publish("topic", b"live again")
        assert json.loads(await listener.payload())["body"] == "live again"


@pytest.mark.parametrize("window", [10, 10_000], ids=["from the log", "from memory"])
async def test_a_slow_subscriber_is_not_sent_what_was_deleted_meanwhile_and_told_of_no_gap(window: int) -> None:
    limits = BrokerLimits(window_messages=window)
    async with open_fast_path(send_buffer=SMALL, broker_limits=limits) as hub:
        listener = await hub.listen(subprotocol="hookbot.v1", receive_buffer=SMALL)
        messages = [await hub.publish("topic", bytes(3000)) for _ in range(300)]

        await hub.broker.delete([message.position for message in messages[200:299]])

        objects = [json.loads(payload) for payload in await listener.payloads(202)]
        left = [message.id for message in (*messages[:200], messages[299])]
        assert [one["id"] for one in objects[1:]] == left


class DeletingLog(MemoryLog):
    """Somebody deletes what is told while the log is read."""

    deletes = True

    async def read(self, *args: TopicFilter, **limits: Any) -> Page:
        page = await super().read(*args, **limits)
        if self.deletes:
            self.deletes = False
            await self.delete([2])
        return page


async def test_what_is_deleted_while_it_is_read_is_not_sent() -> None:
    async with open_fast_path(log=DeletingLog()) as hub:
        messages = [await hub.publish() for _ in range(3)]
        listener = await hub.listen("/sub/topic?since=all", subprotocol="hookbot.v1")

        objects = [json.loads(payload) for payload in await listener.payloads(3)]

        assert [one["id"] for one in objects[1:]] == [messages[0].id, messages[2].id]


async def fall_behind_retention(hub: FastPathHub, listener: WebSocket) -> list[str]:
    """Leave a listener behind more than the log keeps; returns the ids that were published."""
    messages = [await hub.publish("topic", b"%d" % n * 10_000) for n in range(100)]
    while await hub.broker.log.trim(Retention(max_count=5), now_us=0):
        pass
    return [message.id for message in messages]


async def test_a_v1_subscriber_that_retention_overtook_is_told_of_the_gap() -> None:
    limits = BrokerLimits(window_messages=3)
    async with open_fast_path(send_buffer=SMALL, retention=Retention(max_count=None), broker_limits=limits) as hub:
        listener = await hub.listen(subprotocol="hookbot.v1", receive_buffer=SMALL)
        ids = await fall_behind_retention(hub, listener)
        await hub.publish("topic", b"last")

        told = [json.loads(await listener.payload())]
        while told[-1].get("body") != "last":
            told.append(json.loads(await listener.payload()))

        kinds = [one["type"] for one in told]
        gap = told[kinds.index("gap")]
        before = told[kinds.index("gap") - 1]["id"]
        after = told[kinds.index("gap") + 1]["id"]
        assert kinds.count("gap") == 1
        assert (gap["reason"], gap["after"], gap["before"]) == ("retention", before, after)
        assert [one["id"] for one in told[1 : kinds.index("gap")]] == ids[: ids.index(before) + 1]
        assert [one["id"] for one in told[kinds.index("gap") + 1 : -1]] == ids[-5:]


async def test_who_stalls_while_the_last_message_is_encoded_is_sent_it_later(monkeypatch: pytest.MonkeyPatch) -> None:
    noise, large, prepare = bytes(1 << 20), bytes(LARGE_BODY + 1), Audience.prepare
    stalled = trio.Event()

    async def stall(audience: Audience, entry: Entry) -> Send:
        if not stalled.is_set():
            stalled.set()
            hub.subscriber.send(audience.frame(noise))
            assert not hub.subscriber.takes
        return await prepare(audience, entry)

    monkeypatch.setattr(Audience, "prepare", stall)
    async with open_fast_path(send_buffer=SMALL) as hub:
        await hub.publish("topic", large)
        listener = await hub.listen("/sub/topic?since=all", receive_buffer=SMALL)
        await settled(lambda: stalled.is_set() and not hub.subscriber.catching_up)

        assert await listener.payloads(2) == [noise, large]


class TrimmedLog(MemoryLog):
    """Retention takes all but five messages while the log is read for the first time."""

    async def read(self, *args: TopicFilter, **limits: Any) -> Page:
        page = await super().read(*args, **limits)
        while await self.trim(Retention(max_count=5), now_us=0):
            pass
        return page


async def test_what_retention_takes_while_it_is_read_is_not_told_behind_the_gap() -> None:
    async with open_fast_path(log=TrimmedLog()) as hub:
        await hub.broker.commit([Draft("topic", b"hello")] * 995)
        ids = [(await hub.publish()).id for _ in range(5)]
        listener = await hub.listen("/sub/topic?since=all", subprotocol="hookbot.v1")

        _, gap, *told = [json.loads(payload) for payload in await listener.payloads(7)]

        assert (gap["type"], gap["before"]) == ("gap", ids[0])
        assert [one["id"] for one in told] == ids


async def test_a_gap_is_told_once_even_to_who_is_slow_to_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    gap = HookbotV1.gap
    monkeypatch.setattr(HookbotV1, "gap", lambda self, lost: gap(self, lost) + b" " * BIG)
    async with open_fast_path(log=TrimmedLog(), send_buffer=SMALL) as hub:
        await hub.broker.commit([Draft("topic", b"hello")] * 100)
        listener = await hub.listen("/sub/topic?since=all", subprotocol="hookbot.v1", receive_buffer=SMALL)
        await settled(lambda: hub.subscriber.stalled)

        told = [json.loads(payload)["type"] for payload in await listener.payloads(7)]

        assert told == ["hello", "gap"] + ["message"] * 5


async def test_a_gap_is_told_to_who_stalls_while_it_is_noticed() -> None:
    class StallingLog(TrimmedLog):
        reads = 0

        async def read(self, *args: TopicFilter, **limits: Any) -> Page:
            self.reads += 1
            if self.reads == 1:
                audience = next(iter(hub.fanout._subscribers.values()))
                hub.subscriber.send(audience.frame(b" " * BIG))
                assert not hub.subscriber.takes
            return await super().read(*args, **limits)

    async with open_fast_path(log=StallingLog(), send_buffer=SMALL) as hub:
        await hub.broker.commit([Draft("topic", b"hello")] * 100)
        listener = await hub.listen("/sub/topic?since=all", subprotocol="hookbot.v1", receive_buffer=SMALL)
        await settled(lambda: hub.subscriber.stalled)

        _, _, *told = await listener.payloads(8)

        assert [json.loads(payload)["type"] for payload in told] == ["gap"] + ["message"] * 5


@pytest.mark.parametrize("subprotocol", [None, "hookbot.raw"])
async def test_a_raw_subscriber_that_retention_overtook_is_closed_with_1013(subprotocol: str | None) -> None:
    limits = BrokerLimits(window_messages=3)
    async with open_fast_path(send_buffer=SMALL, retention=Retention(max_count=None), broker_limits=limits) as hub:
        listener = await hub.listen(subprotocol=subprotocol, receive_buffer=SMALL)
        await fall_behind_retention(hub, listener)

        assert await listener.closed() == 1013
        await settled(lambda: not len(hub.fanout))


class HeldLog(MemoryLog):
    """A log that is read only once it is released, and counts the pages."""

    def __init__(self) -> None:
        super().__init__()
        self.released = trio.Event()
        self.pages = 0

    async def read(self, wanted: TopicFilter, *, after: int, limit: int, max_bytes: int, newest: bool = False) -> Page:
        await self.released.wait()
        self.pages += 1
        return await super().read(wanted, after=after, limit=limit, max_bytes=max_bytes, newest=newest)


@pytest.mark.slow
async def test_two_hundred_that_resume_at_once_all_get_everything_and_the_log_is_read_once_for_all() -> None:
    log = HeldLog()
    async with open_fast_path(log=log) as hub:
        bodies = [b"%d" % n for n in range(2_000)]
        await hub.broker.commit([Draft("topic", body) for body in bodies])
        expected = b"".join(frame(BINARY, body) for body in bodies)
        complete = []

        async def resume() -> None:
            client = await hub.subscribe("/sub/topic?since=all")
            complete.append(await client.exactly(len(expected)) == expected)

        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(resume)
            await settled(lambda: len(hub.fanout._subscribers) == 200)
            log.released.set()
        assert complete == [True] * 200
        assert log.pages == -(-len(bodies) // hub.broker.limits.page_messages)


async def test_a_subscriber_that_cannot_be_read_for_is_closed_with_1013() -> None:
    class UnreadableLog(MemoryLog):
        async def read(self, *args: Any, **how: Any) -> Page:
            raise Unavailable("the disk has gone")

    async with open_fast_path(log=UnreadableLog()) as hub:
        await hub.publish()
        listener = await hub.listen("/sub/topic?since=all")

        assert await listener.closed() == 1013


class Bug(Exception):
    """An error that nobody expects."""


async def test_a_bug_while_the_log_is_read_ends_that_subscriber_alone(caplog: pytest.LogCaptureFixture) -> None:
    class BuggyLog(MemoryLog):
        async def read(self, *args: Any, **how: Any) -> Page:
            raise Bug

    async with open_fast_path(log=BuggyLog()) as hub:
        other = await hub.listen("/sub/other")
        await hub.publish("topic", b"1")
        listener = await hub.listen("/sub/topic?since=all")

        assert await listener.closed() == 1011
        await hub.publish("other", b"2")
        assert await other.payload() == b"2"
    assert [record.exc_info and record.exc_info[0] for record in caplog.records] == [Bug]
