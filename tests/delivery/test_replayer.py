"""Replays, at the original pace or another one."""

from collections.abc import Iterable, Sequence
from typing import Self

import pytest
import trio
from trio.testing import MockClock

from hookbot import Gap, Message
from hookbot.client import open_publisher
from hookbot.delivery.outcome import Failed
from hookbot.delivery.replayer import Replay, Republisher
from hookbot.errors import Unauthorized
from hookbot.protocol.message import format_id
from hookbot.testing import open_test_hub
from support.scripted_hub import answering, scripted_hub


def make(n: int, second: int) -> Message:
    return Message(
        "t", str(n).encode(), id=format_id("abcdefgh", n), time_us=1_000_000_000_000_000 + second * 1_000_000
    )


class History:
    """Items of a subscription that ends after them."""

    def __init__(self, items: Iterable[Message | Gap]) -> None:
        self._items = iter(items)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message | Gap:
        for item in self._items:
            return item
        raise StopAsyncIteration


async def replayed(
    items: Sequence[Message | Gap], until_us: int | None = None, speed: float | None = None
) -> list[tuple[Message | Gap, float]]:
    """Items, and the seconds after which they came."""
    began = trio.current_time()
    return [(item, trio.current_time() - began) async for item in Replay(History(items), until_us, speed)]


async def test_without_a_speed_everything_comes_at_once(autojump_clock: MockClock) -> None:
    messages = [make(1, 0), make(2, 3600)]
    assert await replayed(messages) == [(messages[0], 0), (messages[1], 0)]


@pytest.mark.parametrize(("speed", "seconds"), [(1, 10), (10, 1), (0.5, 20)])
async def test_with_a_speed_each_comes_as_long_after_the_first_as_then(
    autojump_clock: MockClock, speed: float, seconds: int
) -> None:
    moments = [moment for _, moment in await replayed([make(1, 5), make(2, 15), make(3, 25)], speed=speed)]
    assert moments == pytest.approx([0, seconds, 2 * seconds])


async def test_it_ends_before_the_first_message_that_is_too_new() -> None:
    messages = [make(n, n) for n in range(5)]
    assert [item for item, _ in await replayed(messages, until_us=messages[2].time_us)] == messages[:3]


async def test_gaps_come_in_their_place() -> None:
    message = make(1, 0)
    items: list[Message | Gap] = [Gap("retention", None, "x"), message]
    assert [item for item, _ in await replayed(items, until_us=message.time_us, speed=1)] == items


async def test_what_is_published_again_is_as_it_was_and_no_repeat() -> None:
    message = Message("old", b"\xff", (("X-A", "1"), ("x-a", "2"), ("Idempotency-Key", "k"), ("X-B", "3")), hops=("a",))
    with trio.fail_after(20):
        async with open_test_hub() as hub, open_publisher(hub.url_for("/pub/new")) as publisher:
            republisher = Republisher(publisher, (("X-B", "4"),), "replay-test")
            for _ in range(2):
                said = await republisher.publish(message, 1)
            first, second = await hub.wait_for("new", 2)
    assert said.line == f"published as {second.id}"
    assert (first.body, first.hops) == (b"\xff", ("a", "replay-test"))
    again = [pair for pair in first.headers if pair[0].lower() in ("x-a", "x-b")]
    assert again == [("X-A", "1"), ("x-a", "2"), ("X-B", "4")]


async def test_an_attempt_whose_response_was_lost_stores_nothing_twice_and_another_replay_does() -> None:
    message = make(1, 0)
    with trio.fail_after(20):
        async with open_test_hub() as hub, open_publisher(hub.url_for("/pub/new")) as publisher:
            for _ in range(2):
                republisher = Republisher(publisher, (), "replay-test")
                said = [await republisher.publish(message, attempt) for attempt in (1, 2)]
                assert len(set(said)) == 1
            first, second = await hub.wait_for("new", 2)
    assert first.id != second.id


async def test_a_message_that_is_refused_after_others_were_published_is_a_failure_of_its_own() -> None:
    refusal = answering(401, b"401 bad signature\n")
    async with scripted_hub(answering(200, b"OK\n"), refusal) as hub, open_publisher(hub.pub) as publisher:
        republisher = Republisher(publisher, (), "replay-test")
        await republisher.publish(make(1, 0), 1)
        with pytest.raises(Failed, match="401 bad signature"):
            await republisher.publish(make(2, 0), 1)


@pytest.mark.slow
async def test_what_is_refused_whatever_it_is_ends_it_and_what_is_too_large_failed() -> None:
    with trio.fail_after(20):
        async with open_test_hub() as hub:
            async with open_publisher(f"{hub.url}/pub/new") as publisher:
                with pytest.raises(Unauthorized):
                    await Republisher(publisher, (), "x").publish(Message("t"), 1)
            async with open_publisher(hub.url_for("/pub/new")) as publisher:
                with pytest.raises(Failed, match="413"):
                    await Republisher(publisher, (), "x").publish(Message("t", b"x" * (26 << 20)), 1)
