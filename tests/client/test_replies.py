"""Replies of a listener, against a hub that follows a script."""

import math
from typing import Any

import pytest
import trio

from hookbot.client import Reply
from hookbot.client.replies import MAX_KEPT, Replies
from hookbot.errors import Refused
from hookbot.protocol.frames import Hello
from hookbot.protocol.message import Message, format_time, wall_clock_us
from hookbot.protocol.replies import MAX_REPLY_BODY, parse_reply
from support.scripted_hub import Peer, listen, mid, next_message, scripted_hub, taken

NOW_US = 1_700_000_000_000_000


def asking(n: int = 1, query: str = "reply", **fields: Any) -> Message:
    return Message("t", id=mid(n), query=query, time_us=NOW_US, **fields)


@pytest.fixture
def wall_us(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The time of this machine, which a test may set."""
    now_us = [NOW_US]
    monkeypatch.setattr("hookbot.client.replies.wall_clock_us", lambda: now_us[0])
    return now_us


# -- which messages wait for one


@pytest.mark.parametrize("query", ["reply", "reply=1", "a=b&reply"])
def test_a_message_that_asked_a_moment_ago_awaits_a_reply(wall_us: list[int], query: str) -> None:
    wall_us[0] += 9_000_000
    assert Replies().awaited_by(asking(query=query))


@pytest.mark.parametrize(
    "message",
    [
        asking(query=""),
        asking(query="reply=2"),
        asking(query="replying=1"),
        asking(replay_of=mid(0)),
        asking(routed_from=mid(0)),
    ],
)
def test_others_and_their_copies_await_none(wall_us: list[int], message: Message) -> None:
    assert not Replies().awaited_by(message)


def test_after_ten_seconds_a_message_awaits_none(wall_us: list[int]) -> None:
    wall_us[0] += 10_000_000
    assert not Replies().awaited_by(asking())


def test_a_hub_may_wait_for_less_than_ten_seconds(wall_us: list[int]) -> None:
    replies = Replies()
    replies.subscribed(Hello("hub", None, time_us=NOW_US, reply_timeout_s=2.5))

    wall_us[0] += 2_400_000
    assert replies.awaited_by(asking())
    wall_us[0] += 100_000
    assert not replies.awaited_by(asking())


@pytest.mark.parametrize("wrong_us", [-3_600_000_000, 3_600_000_000])
def test_the_clock_of_the_hub_counts(wall_us: list[int], wrong_us: int) -> None:
    replies = Replies()
    wall_us[0] += wrong_us
    replies.subscribed(Hello("hub", None, time_us=NOW_US))

    assert replies.awaited_by(asking())
    wall_us[0] += 10_000_000
    assert not replies.awaited_by(asking())


# -- what is sent


def taken_from(replies: Replies) -> list[str]:
    frames = iter(replies.take, None)
    return [text.split('"id":"')[1].split('"')[0] for text in frames if text]


def test_each_is_sent_once_and_again_if_the_hub_does_not_know_the_acknowledgement() -> None:
    replies = Replies()
    for n in (1, 2, 3):
        replies.give(asking(n), Reply())
    assert taken_from(replies) == [mid(1), mid(2), mid(3)]

    replies.subscribed(Hello("hub", mid(1), position=mid(1)))

    assert taken_from(replies) == [mid(2), mid(3)]


def test_without_a_cursor_what_a_lost_connection_has_not_taken_is_not_sent() -> None:
    replies = Replies()
    replies.give(asking(), Reply())

    replies.subscribed(Hello("hub", mid(0)))

    assert taken_from(replies) == []


def test_only_the_newest_are_kept() -> None:
    replies = Replies()
    for n in range(MAX_KEPT + 1):
        replies.give(asking(n), Reply())

    assert taken_from(replies) == [mid(n) for n in range(1, MAX_KEPT + 1)]


async def test_a_reply_goes_to_the_hub_before_the_acknowledgement() -> None:
    received: list[dict[str, Any]] = []
    done = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.hello(position=mid(0), generation="g", time=format_time(wall_clock_us()))
        await peer.messages(1, query="reply")
        received.extend([await peer.receive(), await peer.receive()])
        done.set()
        await peer.stay()

    async with (
        scripted_hub(script) as hub,
        listen(hub.url, cursor="c", manual_ack=True, reply=True) as messages,
    ):
        message = await next_message(messages)
        messages.reply(message, Reply(418, (("X-A", "1"),), b"\xff"))
        messages.ack(message)
        await done.wait()
    reply, ack = received
    assert parse_reply(reply) == (mid(1), Reply(418, (("X-A", "1"),), b"\xff"))
    assert ack == {"type": "ack", "id": mid(1)}
    assert hub.peers[0].query["reply"] == "1"


async def test_no_reply_waits_for_more_acknowledgements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookbot.client.session.ACK_PAUSE_S", math.inf)
    received: list[str] = []
    done = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.messages(1, 2, query="reply")
        received.extend([(await peer.receive())["id"] for _ in range(2)])
        done.set()
        await peer.stay()

    async with scripted_hub(script) as hub, listen(hub.url, reply=True) as messages:
        for _ in range(2):
            messages.reply(await next_message(messages), Reply())
        await done.wait()
    assert received == [mid(1), mid(2)]


async def test_a_hub_that_crashed_before_it_had_the_reply_gets_it_and_the_listener_nothing_twice() -> None:
    received: list[dict[str, Any]] = []
    done = trio.Event()

    async def crashing(peer: Peer) -> None:
        await peer.hello(position=mid(0), generation="g")
        await peer.messages(1, query="reply")
        received.append(await peer.receive())
        await peer.cut()

    async def again(peer: Peer) -> None:
        await peer.hello(position=mid(0), generation="g")
        received.append(await peer.receive())
        await peer.messages(1, 2, query="reply")
        done.set()
        await peer.stay()

    async with (
        scripted_hub(crashing, again) as hub,
        listen(hub.url, cursor="c", manual_ack=True, reply=True) as messages,
    ):
        message = await next_message(messages)
        messages.reply(message, Reply(body=b"once"))
        messages.ack(message)
        assert await taken(messages, 1) == [2]
        await done.wait()
    assert [parse_reply(one) for one in received] == [(mid(1), Reply(body=b"once"))] * 2


async def test_the_last_reply_is_sent_on_leaving() -> None:
    received: list[dict[str, Any]] = []

    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.messages(1, query="reply")
        received.append(await peer.receive())
        await peer.stay()

    async with scripted_hub(script) as hub, listen(hub.url, reply=True) as messages:
        messages.reply(await next_message(messages), Reply(204))
    assert parse_reply(received[0]) == (mid(1), Reply(204))


async def test_whoever_did_not_announce_replies_gives_none() -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.messages(1, query="reply")
        await peer.stay()

    async with scripted_hub(script) as hub, listen(hub.url) as messages:
        message = await next_message(messages)
        for use in (lambda: messages.awaits_reply(message), lambda: messages.reply(message, Reply())):
            with pytest.raises(ValueError, match="reply=True"):
                use()
    assert "reply" not in hub.peers[0].query


async def test_a_hub_that_speaks_only_raw_frames_takes_none() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(subprotocol=None)
        await peer.stay()

    async with scripted_hub(script) as hub:
        with pytest.raises(Refused, match="do not support replies"):
            async with listen(hub.url, reply=True):
                pass


@pytest.mark.parametrize("fields", [{"status": 99}, {"status": 600}, {"body": b"x" * (MAX_REPLY_BODY + 1)}])
def test_a_reply_out_of_bounds_is_refused_when_it_is_made(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="of a reply"):
        Reply(**fields)
