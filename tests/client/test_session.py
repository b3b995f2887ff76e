"""A subscription over several connections: resumed, acknowledged, and given up when a refusal is final."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import trio

from hookbot import Message
from hookbot.client import Connected, Event, Waiting
from hookbot.client.address import Address
from hookbot.client.listener import endpoint_of
from hookbot.client.progress import Progress
from hookbot.client.session import Session
from hookbot.errors import Refused, Unauthorized
from hookbot.protocol.subscribe import MAX_UNACKED
from support.scripted_hub import (
    AT_ONCE,
    Peer,
    answering,
    listen,
    mid,
    next_message,
    scripted_hub,
    sending,
    sending_then_cut,
    taken,
)


async def test_after_a_cut_it_goes_on_after_the_last_message() -> None:
    async with scripted_hub(sending_then_cut(1, 2), sending(3)) as hub, listen(hub.url, since="all") as messages:
        assert await taken(messages, 3) == [1, 2, 3]
    assert [peer.query.get("since") for peer in hub.peers] == ["all", mid(2)]


async def test_after_a_cut_it_goes_on_after_the_last_heartbeat() -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.messages(1)
        await peer.send("heartbeat", id=mid(7))
        await peer.cut()

    async with scripted_hub(script, sending(8)) as hub, listen(hub.url) as messages:
        assert await taken(messages, 2) == [1, 8]
    assert hub.peers[1].query == {"since": mid(7)}


@pytest.mark.parametrize("since", [None, "10m"])
async def test_before_the_first_message_it_goes_on_where_it_began_and_not_from_a_later_now(since: str | None) -> None:
    async with scripted_hub(sending_then_cut(last=4), sending(5)) as hub, listen(hub.url, since=since) as messages:
        assert await taken(messages, 1) == [5]
    assert hub.peers[1].query == {"since": mid(4)}


async def test_what_was_sent_but_not_yet_taken_is_asked_for_again() -> None:
    cut = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.messages(1, 2, 3, 4)
        await peer.cut()
        cut.set()

    async with scripted_hub(script, sending(2, 3, 4)) as hub, listen(hub.url) as messages:
        assert await taken(messages, 1) == [1]
        await cut.wait()
        assert await taken(messages, 3) == [2, 3, 4]


async def test_history_that_breaks_off_is_gone_on_with() -> None:
    async def rest(peer: Peer) -> None:
        await peer.hello()
        await peer.messages(3)
        await peer.close(1000)

    async with (
        scripted_hub(sending_then_cut(1, 2), rest) as hub,
        listen(hub.url, since="all", follow=False) as messages,
    ):
        assert [item.id async for item in messages if isinstance(item, Message)] == [mid(1), mid(2), mid(3)]
    assert hub.peers[1].query == {"since": mid(2), "follow": "0"}


async def test_newest_first_it_goes_on_with_the_older_messages() -> None:
    async def again(peer: Peer) -> None:
        await peer.hello(2)
        await peer.messages(7, 6, 5, 4, 3)
        await peer.close(1000)

    async with (
        scripted_hub(sending_then_cut(6, 5, last=2), again) as hub,
        listen(hub.url + "?order=newest", since="10m", follow=False) as messages,
    ):
        assert [item.id async for item in messages if isinstance(item, Message)] == [mid(6), mid(5), mid(4), mid(3)]
    assert hub.peers[1].query == {"since": mid(2), "order": "newest", "follow": "0"}


async def test_a_hub_that_is_not_there_is_tried_until_it_is() -> None:
    async with scripted_hub(sending()) as gone:
        pass
    lost: list[Event] = []

    async with trio.open_nursery() as nursery:

        def on_event(event: Event) -> None:
            lost.append(event)
            if len(lost) == 3:
                nursery.cancel_scope.cancel()

        async with listen(gone.url, on_event=on_event):
            pytest.fail("nobody is there")
    assert "Connection refused" in str(lost[0])


@pytest.mark.slow
@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1012, 1013, 4000])
async def test_any_close_frame_of_the_hub_is_followed_by_another_connection(code: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.messages(1)
        await peer.close(code, "as scripted")

    async with scripted_hub(script, sending(2)) as hub, listen(hub.url) as messages:
        assert await taken(messages, 2) == [1, 2]


async def test_a_refusal_after_hours_of_service_reaches_the_loop() -> None:
    async with scripted_hub(sending_then_cut(1), answering(401)) as hub, listen(hub.url) as messages:
        assert await taken(messages, 1) == [1]
        with pytest.raises(Unauthorized):
            await anext(messages)


# -- frames


async def test_a_hub_that_does_not_say_hello_first_is_left(caplog: pytest.LogCaptureFixture) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.messages(1)
        await peer.stay()

    async with scripted_hub(script, sending(2)) as hub, listen(hub.url) as messages:
        assert await taken(messages, 1) == [2]
    assert "hello" in caplog.text


async def test_frames_of_a_later_version_are_passed_over() -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.send("weather", sky="blue")
        await peer.messages(1)
        await peer.stay()

    async with scripted_hub(script) as hub, listen(hub.url) as messages:
        assert await taken(messages, 1) == [1]


async def test_what_the_hub_complains_about_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.send("error", title="that was no acknowledgement")
        await peer.messages(1)
        await peer.stay()

    async with scripted_hub(script) as hub, listen(hub.url) as messages:
        await anext(messages)
    assert "that was no acknowledgement" in caplog.text


@pytest.mark.parametrize("frame", ["{", "[]", '{"type": "message"}'])
async def test_a_frame_that_is_invalid_makes_it_connect_again_and_is_logged(
    frame: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.websocket.send_message(frame)
        await peer.stay()

    async with scripted_hub(script, sending(1)) as hub, listen(hub.url) as messages:
        assert await taken(messages, 1) == [1]
    assert "the hub sent an invalid frame" in caplog.text


# -- an ancestor


def raw(*frames: Any, subprotocol: None = None) -> Callable[..., Any]:
    async def script(peer: Peer) -> None:
        await peer.accept(subprotocol)
        for frame in frames:
            await peer.websocket.send_message(frame)
        await peer.stay()

    return script


async def test_a_hub_that_knows_only_raw_frames_is_listened_to_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    async with scripted_hub(raw(b"a\0b", b"")) as hub, listen(hub.url) as messages:
        first, second = await next_message(messages), await next_message(messages)
    assert [(m.topic, m.body, m.id) for m in (first, second)] == [("t", b"a\0b", ""), ("t", b"", "")]
    assert first.time_us > 0
    [warning] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "cannot resume" in warning.message


async def test_raw_frames_of_a_subtree_say_their_topic() -> None:
    async with scripted_hub(raw(b"t/a\0x\0y")) as hub, listen(hub.url + "/") as messages:
        message = await next_message(messages)
    assert (message.topic, message.body) == ("t/a", b"x\0y")


@pytest.mark.parametrize("asked", [{"cursor": "c"}, {"group": "g"}, {"follow": False}])
async def test_what_raw_frames_cannot_do_is_refused_and_not_pretended(asked: dict[str, Any]) -> None:
    async with scripted_hub(raw()) as hub:
        with pytest.raises(Refused, match="raw frames"):
            async with listen(hub.url, **asked):
                pass


# -- acknowledgements, and who has a cursor


class Acks:
    """Acknowledgements that a hub has received, in order."""

    def __init__(self) -> None:
        self._put, self._taken = trio.open_memory_channel[dict[str, Any]](1000)

    async def take(self) -> dict[str, Any]:
        return await self._taken.receive()

    async def until(self, **ack: Any) -> list[dict[str, Any]]:
        """The frames up to this one."""
        frames: list[dict[str, Any]] = []
        while not frames or frames[-1] != {"type": "ack", **ack}:
            frames.append(await self.take())
        return frames

    async def record(self, peer: Peer) -> None:
        while True:
            await self._put.send(await peer.receive())


def recording(acks: Acks, *numbers: int) -> Callable[..., Any]:
    """A hub that writes down what is acknowledged."""

    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.messages(*numbers)
        await acks.record(peer)

    return script


async def test_with_a_cursor_a_message_is_acknowledged_when_the_next_one_is_asked_for() -> None:
    acks = Acks()
    async with scripted_hub(recording(acks, 1, 2, 3)) as hub:
        async with listen(hub.url, cursor="c") as messages:
            assert await taken(messages, 3) == [1, 2, 3]
        told = await acks.until(id=mid(2))
    assert mid(3) not in [ack["id"] for ack in told]  # it was in hand when the loop was left


async def test_a_limit_acknowledges_the_last_message_too_before_leaving() -> None:
    acks = Acks()
    async with scripted_hub(recording(acks, 1, 2, 3)) as hub:
        async with listen(hub.url, cursor="c", limit=2) as messages:
            async for _ in messages:
                pass
        await acks.until(id=mid(2))


async def test_with_manual_ack_a_cursor_moves_only_over_what_is_done() -> None:
    acks = Acks()
    async with scripted_hub(recording(acks, 1, 2, 3)) as hub, listen(hub.url, cursor="c", manual_ack=True) as messages:
        first, second, third = [await next_message(messages) for _ in range(3)]
        messages.ack(second)
        messages.ack(first)
        assert await acks.take() == {"type": "ack", "id": mid(2)}
        messages.ack(third)
        assert await acks.take() == {"type": "ack", "id": mid(3)}


async def test_acknowledgements_are_collected_where_the_hub_does_not_wait_for_them() -> None:
    acks = Acks()
    async with scripted_hub(recording(acks, *range(1, 501))) as hub:
        async with listen(hub.url, cursor="c", limit=500) as messages:
            async for _ in messages:
                pass
        assert len(await acks.until(id=mid(500))) < 250


async def test_a_group_is_told_of_each_message() -> None:
    acks = Acks()
    async with scripted_hub(recording(acks, 1, 2, 3)) as hub, listen(hub.url, group="g", manual_ack=True) as messages:
        _, second, third = [await next_message(messages) for _ in range(3)]
        messages.ack(third)
        assert await acks.take() == {"type": "ack", "ids": [mid(3)]}
        messages.ack(second)
        assert await acks.take() == {"type": "ack", "ids": [mid(2)]}


async def test_a_message_in_hand_is_not_handed_out_again_after_a_reconnection() -> None:
    acks = Acks()

    async def again(peer: Peer) -> None:
        await peer.hello()
        await peer.messages(1, 2, 3)
        await acks.record(peer)

    async with (
        scripted_hub(sending_then_cut(1, 2), again) as hub,
        listen(hub.url, cursor="c", manual_ack=True) as messages,
    ):
        first, second = await next_message(messages), await next_message(messages)
        third = await next_message(messages)
        for message in (first, second, third):
            messages.ack(message)
        assert await acks.take() == {"type": "ack", "id": mid(3)}
    assert third.id == mid(3)


async def test_the_last_acknowledgement_is_repeated_on_a_new_connection() -> None:
    acks = Acks()

    async def deaf_then_cut(peer: Peer) -> None:
        await peer.hello()
        await peer.messages(1)
        await peer.receive()  # and forget it
        await peer.cut()

    async def again(peer: Peer) -> None:
        await peer.hello()
        await acks.record(peer)

    async with scripted_hub(deaf_then_cut, again) as hub, listen(hub.url, cursor="c", manual_ack=True) as messages:
        messages.ack(await next_message(messages))
        assert await acks.take() == {"type": "ack", "id": mid(1)}


@pytest.mark.parametrize("kind", ["cursor", "group"])
async def test_what_comes_again_is_acknowledged_again_and_not_received(kind: str) -> None:
    acks = Acks()

    async def deaf_then_cut(peer: Peer) -> None:
        await peer.hello(generation="1")
        await peer.messages(1, 2)
        await peer.receive()
        await peer.cut()

    async def again(peer: Peer) -> None:
        await peer.hello(generation="1")
        await peer.messages(1, 2, 3)
        await acks.record(peer)

    async with scripted_hub(deaf_then_cut, again) as hub, listen(hub.url + f"?{kind}=c") as messages:
        assert await taken(messages, 3) == [1, 2, 3]
        told: list[str] = []
        while mid(2) not in told:
            ack = await acks.take()
            told += ack.get("ids", [ack.get("id")])
    assert mid(3) not in told


async def test_on_leaving_all_acknowledgements_are_sent_however_many_frames_they_need() -> None:
    acks = Acks()
    numbers = range(1, 3 * MAX_UNACKED + 1)
    async with scripted_hub(recording(acks, *numbers)) as hub:
        async with listen(hub.url, group="g", manual_ack=True) as messages:
            for message in [await next_message(messages) for _ in numbers]:
                messages.ack(message)
        told: list[str] = []
        while len(told) < len(numbers):
            told += (await acks.take())["ids"]
    assert told == [mid(n) for n in numbers]


async def test_without_a_cursor_nobody_is_told_anything() -> None:
    frames = []

    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.messages(1, 2)
        frames.append(await peer.receive())

    async with scripted_hub(script) as hub, listen(hub.url) as messages:
        messages.ack(await next_message(messages))
        await anext(messages)
    assert frames == []


async def test_a_hub_that_does_not_begin_is_waited_for_and_the_cursor_is_named() -> None:
    told = trio.Event()
    events: list[Event] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        await told.wait()
        await peer.send("hello", hub="hookbot/test", last_id=mid(0), cursor="deploy", position=mid(0))
        await peer.stay()

    def on_event(event: Event) -> None:
        events.append(event)
        told.set()

    async with (
        scripted_hub(script) as hub,
        listen(hub.url, cursor="deploy", timing=replace(AT_ONCE, hello_s=0.05), on_event=on_event),
    ):
        pass
    assert [type(event) for event in events] == [Waiting, Connected]
    assert "'deploy'" in str(events[0])


async def test_a_cursor_that_was_taken_over_is_not_taken_back() -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.close(4001, "another connection took over the cursor c")

    async with scripted_hub(script) as hub, listen(hub.url, cursor="c") as messages:
        with pytest.raises(Refused, match="took over"):
            await anext(messages)
    assert hub.connections == 1


async def test_being_cancelled_still_tells_the_hub_what_is_done() -> None:
    acks = Acks()
    async with scripted_hub(recording(acks, 1)) as hub:
        with trio.CancelScope() as scope:
            async with listen(hub.url, cursor="c", manual_ack=True) as messages:
                messages.ack(await next_message(messages))
                scope.cancel()
                await trio.sleep_forever()
        await acks.until(id=mid(1))


async def test_a_session_that_is_closed_reports_no_loss_and_does_not_connect_again() -> None:
    events: list[Event] = []
    async with scripted_hub(sending(1)) as hub:
        session = Session(endpoint_of(Address.parse(hub.url), timing=AT_ONCE), {}, Progress(None), events.append)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.run)
            await session.items.receive()
            await session.close()

    assert [str(event) for event in events] == [f"listening to http://127.0.0.1:{hub.port}/sub/t (hookbot/test)"]
    assert (hub.connections, session.failure) == (1, None)
