"""Audiences: frames that are encoded once, joined for a send, and prepared in a thread when they are large."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from hookbot.broker.channels import Channel, Entry
from hookbot.broker.frame_cache import FrameCache
from hookbot.protocol.envelope import LARGE_BODY
from hookbot.protocol.frames import HookbotV1, Raw
from hookbot.protocol.message import Message, format_id
from hookbot.protocol.topics import TopicFilter
from hookbot.protocol.websocket import BINARY, frame
from hookbot.web.fastpath.audience import SEND_BYTES, Audience, Send, runs
from support import GUARD_S
from support.fast_path import open_fast_path


async def test_a_message_is_encoded_once_for_all_who_listen_in_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = []
    for framing in (HookbotV1, Raw):

        def count(self: HookbotV1 | Raw, message: Message, original: Callable[..., Any] = framing.message) -> bytes:
            encoded.append(self.key)
            frame: bytes = original(self, message)
            return frame

        monkeypatch.setattr(framing, "message", count)
    async with open_fast_path() as hub:
        listeners = [await hub.listen() for _ in range(20)]
        listeners += [await hub.listen(subprotocol="hookbot.v1") for _ in range(20)]
        for listener in listeners[20:]:
            await listener.payload()
        await hub.publish()
        payloads = [await listener.payload() for listener in listeners]

        assert sorted(map(str, encoded)) == ["('raw', False)", "v1"]
        assert len(set(payloads)) == 2


def audience_of(channel: Channel, framing: Raw | HookbotV1 | None = None) -> tuple[Audience, list[object]]:
    """An audience without subscribers, and what it has asked for: to be served, or that a message is prepared."""
    asked: list[object] = []
    return Audience(
        channel, "raw", framing or Raw(False), asked.append, lambda _, position: asked.append(position)
    ), asked


def entries_of(*sizes: int, topic: str = "topic") -> list[Entry]:
    messages = [Message(topic, bytes(size), id=format_id("somelogs", n)) for n, size in enumerate(sizes, start=1)]
    return [Entry(message, message.position, FrameCache(1 << 20)) for message in messages]


def test_what_is_joined_for_one_send_is_bounded() -> None:
    channel = Channel(TopicFilter(("topic",)), 0)
    channel.entries = entries_of(*[1000] * 500)
    audience, _ = audience_of(channel)

    sends: list[Send] = []
    while send := audience.next_send(sends[-1].reached if sends else 0):
        sends.append(send)

    assert all(len(data) < SEND_BYTES for data, *_ in sends)
    assert b"".join(data for data, *_ in sends) == frame(BINARY, bytes(1000)) * 500
    assert [send.reached for send in sends][-1] == 500


@pytest.mark.parametrize("sizes", [[], [10] * 5, [LARGE_BODY + 1], [10, LARGE_BODY + 1, 10], [SEND_BYTES // 2] * 5])
def test_a_page_is_sent_in_runs_that_leave_nothing_out(sizes: list[int]) -> None:
    entries = entries_of(*sizes)

    found = list(runs(entries))

    assert [entry for run in found for entry in run] == entries
    assert all(len(run) == 1 or sum(entry.message.size for entry in run) <= SEND_BYTES for run in found)
    assert all(len(run) == 1 for run in found if any(entry.is_large for entry in run))


def test_a_run_from_the_log_is_joined_once_for_all_who_read_it() -> None:
    run = entries_of(*range(300), topic="a/b")
    audience, _ = audience_of(Channel(TopicFilter(("a/",)), 0), Raw(True))

    send = audience.stored(run)

    assert send == Send(b"".join(frame(BINARY, b"a/b\0" + entry.message.body) for entry in run), 1, 300, 300)
    assert audience.stored(run).data is send.data
    assert audience.stored(run[:2]).data == frame(BINARY, b"a/b\0") + frame(BINARY, b"a/b\0\0")


async def test_a_large_message_is_prepared_once_however_many_wait_for_it() -> None:
    channel = Channel(TopicFilter(("topic",)), 0)
    channel.entries = entries_of(LARGE_BODY + 1, 1)
    audience, asked = audience_of(channel)

    assert [audience.next_send(0) for _ in range(3)] == [None] * 3
    assert asked == [1]
    await audience.prepare(channel.entries[0])

    assert audience.next_send(0) == Send(
        bytes(LARGE_BODY + 1), 1, 1, header=b"\x82\x7f" + (LARGE_BODY + 1).to_bytes(8, "big")
    )


async def test_a_large_message_is_encoded_beside_the_loop_and_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, threads = threading.Event(), []
    original = HookbotV1.message

    def slow(self: HookbotV1, message: Message) -> bytes:
        threads.append(threading.current_thread() is threading.main_thread())
        if len(message.body) > LARGE_BODY:
            assert go_on.wait(GUARD_S)
        return original(self, message)

    monkeypatch.setattr(HookbotV1, "message", slow)
    async with open_fast_path() as hub:
        listener = await hub.listen(subprotocol="hookbot.v1")
        other = await hub.listen()
        await listener.payload()
        for body in (b"1", b"2" * (LARGE_BODY + 1), b"3"):
            await hub.publish("topic", body)

        assert await other.payload() == b"1"
        assert json.loads(await listener.payload())["body"] == "1"
        go_on.set()
        assert [payload[:1] for payload in await other.payloads(2)] == [b"2", b"3"]
        assert [json.loads(payload)["body"][0] for payload in await listener.payloads(2)] == ["2", "3"]
        assert threads == [True, False, True]


def test_an_audience_is_complete_where_neither_memory_nor_the_log_has_more() -> None:
    channel = Channel(TopicFilter(("topic",)), floor=5)
    audience, _ = audience_of(channel)
    message = Message("topic", b"hello", id=format_id("somelogs", 7))
    channel.entries.append(Entry(message, message.position, FrameCache(1 << 20)))

    assert audience.skip_unwanted(4, head=9) == 4
    assert audience.skip_unwanted(5, head=9) == 5
    assert audience.skip_unwanted(7, head=9) == 9
    assert audience.skip_unwanted(7, head=6) == 7


@dataclass(eq=False)
class Position:
    """A subscriber, as far as an audience looks at it."""

    position: int
    busy: bool


def listening(channel: Channel, *positions: int) -> Audience:
    """An audience with a subscriber at each position; one at a negative position is busy."""
    audience, _ = audience_of(channel)
    for position in positions:
        subscriber: Any = Position(abs(position), busy=position < 0)
        audience.subscribers[subscriber] = None
    return audience


def announced(channel: Channel, *positions: int) -> None:
    for position in positions:
        message = Message("topic", b"%d" % position, id=format_id("somelogs", position))
        channel.entries.append(Entry(message, position, FrameCache(1 << 20)))


def test_a_delivery_is_for_all_who_can_take_it_and_the_next_begins_after_it() -> None:
    channel = Channel(TopicFilter(("topic",)), floor=5)
    audience = listening(channel, 5, 5, -5)
    announced(channel, 7, 8)

    send = audience.begin(0)

    assert send == Send(b"\x82\x017\x82\x018", 7, 8, 2)
    assert [subscriber.position for subscriber in audience.waiting] == [5, 5]
    assert channel.listeners == 2
    announced(channel, 9)
    assert audience.begin(0) is send
    audience.take(2)
    assert audience.begin(0) == Send(b"\x82\x019", 9, 9)
    audience.take(2)
    assert audience.begin(0) is None
    assert not audience.waiting


def test_those_behind_the_channel_are_served_one_by_one() -> None:
    channel = Channel(TopicFilter(("topic",)), floor=5)
    audience = listening(channel, 5)
    announced(channel, 7)
    channel.forget(channel.entries[0])

    assert audience.begin(0) == Send(b"", 7, 7, 0)
    audience.take(2)
    assert audience.begin(0) is None


def test_nothing_is_encoded_for_an_audience_in_which_all_are_busy() -> None:
    channel = Channel(TopicFilter(("topic",)), floor=5)
    audience = listening(channel, -5)
    announced(channel, 7)

    assert audience.begin(0) is None
    assert not channel.entries[0]._frames
    assert audience.position == 7


def test_only_those_who_are_in_step_are_counted_in_the_channel() -> None:
    channel = Channel(TopicFilter(("topic",)), floor=5)
    both = [listening(channel, 5, -5), listening(channel, 5)]
    for positions, expected in ((7,), 2), ((8,), 1):
        announced(channel, *positions)
        for audience in both:
            audience.begin(0)
            audience.take(2)
        assert channel.listeners == expected
        next(iter(both[0].subscribers)).busy = True


def test_an_audience_is_queued_once_until_it_is_taken() -> None:
    channel = Channel(TopicFilter(("topic",)), floor=5)
    audience, asked = audience_of(channel)
    audience.wake()
    audience.wake()

    assert asked == [audience]
    assert channel.deliveries == 1


def test_frames_are_forgotten_when_the_last_one_takes_them() -> None:
    channel = Channel(TopicFilter(("topic",)), floor=5)
    audience = listening(channel, 5, 5)
    announced(channel, 7)
    send = audience.begin(0)

    assert [subscriber.position for subscriber in audience.take(1)] == [5]
    assert audience._send is send
    audience.take(1)

    assert audience._send is None
