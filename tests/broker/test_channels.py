"""Channels of filters, and the window of recent messages."""

import gc
from collections.abc import Sequence
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from hookbot.broker.channels import Channel, Channels, Entry
from hookbot.broker.frame_cache import FrameCache
from hookbot.broker.limits import BrokerLimits
from hookbot.log.contract import News
from hookbot.protocol.envelope import LARGE_BODY
from hookbot.protocol.frames import CloudEvents, HookbotV1, JsonLines
from hookbot.protocol.message import Message, format_id
from hookbot.protocol.topics import TopicFilter

NAMES = ["a", "a/b", "a/b/c", "b", "", "/unsafe/a", "/unsafe/a/b"]
FILTERS = ["a", "a/", "a?recursive", "a/b", "", "/unsafe/", "/unsafe/a", "b"]


def message(position: int, topic: str = "a", body: bytes = b"", **fields: Any) -> Message:
    return Message(topic, body, id=format_id("abcdefgh", position), **fields)


def announce(channels: Channels, messages: Sequence[Message], head: int | None = None) -> None:
    """Announce all messages after the head that was announced before."""
    newest = messages[-1].position if messages else channels.head
    channels.announce(News(channels.head, messages, head or newest))


def positions(entries: Sequence[Entry]) -> list[int]:
    return [entry.position for entry in entries]


@pytest.fixture
def limits() -> BrokerLimits:
    return BrokerLimits()


@pytest.fixture
def channels(limits: BrokerLimits) -> Channels:
    return Channels(head=0, limits=limits, cache=FrameCache(1 << 20))


def test_a_channel_has_what_its_filter_selects_from_now_on(channels: Channels) -> None:
    announce(channels, [message(1, "a/x")])
    with channels.open(TopicFilter.parse("a/")) as channel:
        announce(channels, [message(2, "a/x"), message(3, "b"), message(4, "a/y"), message(5, "a")])

        assert channel.floor == 1
        assert positions(channel.after(1)) == [2, 4]
        assert positions(channel.after(2)) == [4]
        assert positions(channel.after(4)) == []
        assert channels.head == 5


def test_all_who_listen_to_the_same_thing_share_a_channel_and_its_frames(channels: Channels) -> None:
    with channels.open(TopicFilter.parse("a")) as one, channels.open(TopicFilter.parse("a")) as other:
        assert one is other
        with channels.open(TopicFilter.parse("a/")) as another, channels.open(TopicFilter.parse("a?recursive")) as both:
            announce(channels, [message(1, "a/x")])
            assert another is not one
            assert another.entries[0] is both.entries[0]


def test_a_message_is_heard_once_by_a_filter_with_several_patterns_for_it(channels: Channels) -> None:
    with channels.open(TopicFilter(("", "a/", "a/b"))) as channel:
        announce(channels, [message(1, "a/b")])
        assert positions(channel.entries) == [1]


def test_each_listener_is_woken_once_for_each_batch_that_has_something_for_it(channels: Channels) -> None:
    woken = []
    with channels.open(TopicFilter.parse("a")) as a, channels.open(TopicFilter.parse("b")) as b:
        a.wakers.update({lambda: woken.append("first of a"), lambda: woken.append("second of a")})
        b.wakers.add(lambda: woken.append("b"))

        announce(channels, [message(1, "a"), message(2, "c"), message(3, "a")])

        assert sorted(woken) == ["first of a", "second of a"]


def test_a_listener_that_is_woken_sees_the_whole_batch(channels: Channels) -> None:
    seen = []
    with channels.open(TopicFilter.parse("a")) as channel:
        channel.wakers.add(lambda: seen.append((channels.head, positions(channel.entries))))
        announce(channels, [message(1), message(2), message(3, "b")])
    assert seen == [(3, [1, 2])]


@pytest.mark.slow
def test_the_last_one_to_leave_takes_the_channel_with_them(channels: Channels) -> None:
    wanted = TopicFilter.parse("a")
    first, second = channels.hold(wanted), channels.hold(wanted)
    channels.release(first)
    announce(channels, [message(1)])
    assert positions(second.entries) == [1]
    channels.release(second)

    del first, second
    gc.collect()
    assert not [one for one in gc.get_objects() if isinstance(one, Channel) and one.wanted is wanted]
    with channels.open(wanted) as channel:
        assert channel.floor == 1
        assert channel.entries == []


def test_who_has_left_a_channel_and_still_refers_to_it_keeps_no_messages(channels: Channels) -> None:
    with channels.open(TopicFilter.parse("a")) as channel:
        announce(channels, [message(1)])

    assert channel.entries == []


@pytest.mark.parametrize("limits", [BrokerLimits(window_messages=3)])
def test_the_window_forgets_the_oldest_first_and_raises_the_floor(channels: Channels) -> None:
    with channels.open(TopicFilter.parse("a")) as a, channels.open(TopicFilter.parse("b")) as b:
        announce(channels, [message(n, "a" if n % 2 else "b") for n in range(1, 7)])

        assert (a.floor, positions(a.entries)) == (3, [5])
        assert (b.floor, positions(b.entries)) == (2, [4, 6])


@pytest.mark.parametrize("limits", [BrokerLimits(window_messages=2)])
def test_messages_that_nobody_hears_do_not_push_out_others(channels: Channels) -> None:
    with channels.open(TopicFilter.parse("a")) as channel:
        announce(channels, [message(1), message(2), *(message(n, "b") for n in range(3, 100))])
        assert (channel.floor, positions(channel.entries)) == (0, [1, 2])


@pytest.mark.parametrize("limits", [BrokerLimits(window_bytes=5000)])
@pytest.mark.parametrize("fields", [{"body": b"x" * 1000}, {"headers": (("Name", "x" * 1000),)}, {"query": "x" * 1000}])
def test_the_window_holds_so_many_bytes_of_whatever_kind(channels: Channels, fields: dict[str, Any]) -> None:
    with channels.open(TopicFilter.parse("a")) as channel:
        announce(channels, [message(n, **fields) for n in range(1, 10)])
        assert (channel.floor, positions(channel.entries)) == (5, [6, 7, 8, 9])


@pytest.mark.parametrize("limits", [BrokerLimits(window_bytes=1000)])
def test_a_message_larger_than_the_window_is_there_until_the_next_one(channels: Channels) -> None:
    with channels.open(TopicFilter.parse("a")) as channel:
        announce(channels, [message(1), message(2, body=b"x" * 5000)])
        assert (channel.floor, positions(channel.entries)) == (1, [2])
        announce(channels, [message(3)])
        assert (channel.floor, positions(channel.entries)) == (2, [3])


@pytest.mark.parametrize("limits", [BrokerLimits(window_messages=2)])
def test_a_channel_that_came_later_is_not_confused_by_what_is_older(channels: Channels) -> None:
    with channels.open(TopicFilter.parse("a")) as early:
        announce(channels, [message(1), message(2)])
        with channels.open(TopicFilter.parse("a?recursive")) as late:
            announce(channels, [message(3), message(4), message(5)])
            assert (early.floor, positions(early.entries)) == (3, [4, 5])
            assert (late.floor, positions(late.entries)) == (3, [4, 5])


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.sampled_from(FILTERS)),
        st.tuples(st.just("close"), st.integers(0, 20)),
        st.tuples(st.just("announce"), st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 400)), max_size=4)),
    ),
    max_size=60,
)


def test_what_was_not_told_is_left_to_the_log(channels: Channels) -> None:
    woken: list[str] = []
    with channels.open(TopicFilter.parse("a")) as channel, channels.open(TopicFilter.parse("b")) as other:
        channel.wakers.add(lambda: woken.append("a"))
        other.wakers.add(lambda: woken.append("b"))
        announce(channels, [message(1), message(2)])
        woken.clear()

        channels.announce(News(10, [message(12)], 13))

        assert (channel.floor, positions(channel.entries), other.floor) == (10, [12], 10)
        assert channels.head == 13
        assert sorted(woken) == ["a", "b"]


def test_positions_that_nobody_has_do_not_separate_news(channels: Channels) -> None:
    with channels.open(TopicFilter.parse("a")) as channel:
        channels.announce(News(0, [message(3)], 7))
        channels.announce(News(7, [], 9))
        channels.announce(News(9, [message(10)], 10))

        assert (channel.floor, positions(channel.entries)) == (0, [3, 10])


@given(OPERATIONS, st.integers(1, 6), st.integers(200, 2000))
def test_no_channel_ever_misses_doubles_or_reorders_a_message(
    operations: list[Any], max_messages: int, max_bytes: int
) -> None:
    limits = BrokerLimits(window_messages=max_messages, window_bytes=max_bytes)
    channels = Channels(head=0, limits=limits, cache=FrameCache(1 << 20))
    log: list[Message] = []
    holders: list[tuple[TopicFilter, Channel]] = []
    for operation, argument in operations:
        if operation == "open":
            holders.append((TopicFilter.parse(argument), channels.hold(TopicFilter.parse(argument))))
        elif operation == "close" and holders:
            channels.release(holders.pop(argument % len(holders))[1])
        elif operation == "announce":
            batch = [message(len(log) + n, topic, b"x" * size) for n, (topic, size) in enumerate(argument, 1)]
            log += batch
            announce(channels, batch)
        check(channels, log, holders, max_messages, max_bytes)


def check(
    channels: Channels,
    log: list[Message],
    holders: list[tuple[TopicFilter, Channel]],
    max_messages: int,
    max_bytes: int,
) -> None:
    kept: dict[int, int] = {}
    for wanted, channel in holders:
        expected = [each.position for each in log if wanted.matches(each.topic) and each.position > channel.floor]
        assert positions(channel.after(channel.floor)) == expected
        assert positions(channel.entries) == expected
        kept.update((entry.position, entry.message.size) for entry in channel.entries)
    assert channels.head == len(log)
    assert len(kept) <= max_messages
    assert len(kept) == 1 or sum(kept.values()) <= max_bytes


# -- frames, made once for all who want them

MESSAGE = message(7, body=b'{"ref": "refs/heads/main"}')
LARGE = message(7, body=b"x" * (LARGE_BODY + 1))


class Counting(JsonLines):
    """Lines of JSON that count how often they are made, and see where."""

    made = 0
    in_thread = False

    def message(self, message: Message) -> bytes:
        self.made += 1
        try:
            trio.lowlevel.current_task()
        except RuntimeError:
            self.in_thread = True
        return super().message(message)


def framed(entry: Entry, framing: HookbotV1 | CloudEvents | Counting) -> bytes:
    return entry.frame(framing.key, framing.message)


def test_a_frame_is_made_once() -> None:
    entry = Entry(MESSAGE, 7, FrameCache(1 << 20))
    assert framed(entry, HookbotV1()) is framed(entry, HookbotV1())
    assert framed(entry, CloudEvents("/sub/a")) is not framed(entry, CloudEvents("/sub/b"))


async def test_a_large_frame_is_made_once_in_a_thread_however_many_want_it() -> None:
    entry, framing = Entry(LARGE, 7, FrameCache(1 << 20)), Counting()
    async with trio.open_nursery() as wanting:
        for _ in range(10):
            wanting.start_soon(entry.prepare, framing.key, framing.message)
    assert (framing.made, framing.in_thread) == (1, True)
    assert framed(entry, framing) == JsonLines().message(LARGE)
    assert framing.made == 1


async def test_a_small_frame_is_made_without_a_thread() -> None:
    framing = Counting()
    assert await Entry(MESSAGE, 7, FrameCache(1 << 20)).prepare(framing.key, framing.message)
    assert (framing.made, framing.in_thread) == (1, False)


async def test_a_large_frame_is_ready_if_it_has_been_prepared() -> None:
    large, framing = Entry(LARGE, 7, FrameCache(1 << 20)), JsonLines()
    assert large.ready_frame(framing.key) is None

    await large.prepare(framing.key, framing.message)

    assert large.ready_frame(framing.key) == framing.message(LARGE)


# Deletions


def test_what_is_deleted_leaves_its_channels_and_the_window(channels: Channels) -> None:
    with channels.open(TopicFilter.parse("a/")) as channel, channels.open(TopicFilter.parse("b")) as other:
        announce(channels, [message(1, "a/x"), message(2, "a/y"), message(3, "b"), message(4, "a/x")])

        channels.forget({2, 3, 4})

        assert (positions(channel.after(0)), positions(other.after(0))) == ([1], [])
        assert [entry.position for entry, _ in channels._window] == [1]
        assert channels._window_bytes == message(1, "a/x").size
        assert (channel.floor, other.floor) == (0, 0)


def test_if_it_is_not_known_what_was_deleted_those_who_are_behind_read_the_log(channels: Channels) -> None:
    with channels.open(TopicFilter.parse("a")) as channel:
        announce(channels, [message(1), message(2)])

        channels.forget(None)
        announce(channels, [message(3)])

        assert channel.floor == 2
        assert positions(channel.after(2)) == [3]


async def test_a_frame_of_what_was_deleted_while_a_thread_encoded_it_is_not_kept(channels: Channels) -> None:
    cache = FrameCache(1 << 30)
    entry = Entry(message(1, body=bytes(LARGE_BODY + 1)), 1, cache)
    loop = trio.lowlevel.current_trio_token()

    def encode(message: Message) -> bytes:
        trio.from_thread.run_sync(cache.clear, trio_token=loop)
        return message.body

    assert await entry.prepare("raw", encode) == entry.message.body
    assert entry.ready_frame("raw") is None
