"""What a listener with a cursor or in a group tells the hub."""

import pytest
import trio

from hookbot.client import Connected, Waiting, listen, session
from hookbot.errors import Refused
from support.scripted_hub import mid, scripted_hub, sending, sending_then_cut, taken


class Acks:
    """What a hub is told, in order."""

    def __init__(self):
        self._put, self._taken = trio.open_memory_channel(1000)

    async def take(self):
        return await self._taken.receive()

    async def until(self, **ack):
        """The frames up to this one."""
        frames = []
        while not frames or frames[-1] != {"type": "ack", **ack}:
            frames.append(await self.take())
        return frames

    async def record(self, peer):
        while True:
            await self._put.send(await peer.receive())


def recording(acks, *numbers):
    """A hub that writes down what is acknowledged."""

    async def script(peer):
        await peer.hello()
        await peer.messages(*numbers)
        await acks.record(peer)

    return script


async def test_with_a_cursor_a_message_is_acknowledged_when_the_next_one_is_asked_for():
    acks = Acks()
    async with scripted_hub(recording(acks, 1, 2, 3)) as hub:
        async with listen(hub.url, cursor="c") as messages:
            assert await taken(messages, 3) == [1, 2, 3]
        told = await acks.until(id=mid(2))
    assert mid(3) not in [ack["id"] for ack in told]  # it was in hand when the loop was left


async def test_a_limit_acknowledges_the_last_message_too_before_leaving():
    acks = Acks()
    async with scripted_hub(recording(acks, 1, 2, 3)) as hub:
        async with listen(hub.url, cursor="c", limit=2) as messages:
            async for _ in messages:
                pass
        await acks.until(id=mid(2))


async def test_with_manual_ack_a_cursor_moves_only_over_what_is_done():
    acks = Acks()
    async with scripted_hub(recording(acks, 1, 2, 3)) as hub, listen(hub.url, cursor="c", manual_ack=True) as messages:
        first, second, third = [await anext(messages) for _ in range(3)]
        messages.ack(second)
        messages.ack(first)
        assert await acks.take() == {"type": "ack", "id": mid(2)}
        messages.ack(third)
        assert await acks.take() == {"type": "ack", "id": mid(3)}


async def test_acknowledgements_are_collected_where_the_hub_does_not_wait_for_them():
    acks = Acks()
    async with scripted_hub(recording(acks, *range(1, 501))) as hub:
        async with listen(hub.url, cursor="c", limit=500) as messages:
            async for _ in messages:
                pass
        assert len(await acks.until(id=mid(500))) < 250


async def test_a_group_is_told_of_each_message():
    acks = Acks()
    async with scripted_hub(recording(acks, 1, 2, 3)) as hub, listen(hub.url, group="g", manual_ack=True) as messages:
        _, second, third = [await anext(messages) for _ in range(3)]
        messages.ack(third)
        assert await acks.take() == {"type": "ack", "ids": [mid(3)]}
        messages.ack(second)
        assert await acks.take() == {"type": "ack", "ids": [mid(2)]}


async def test_a_message_in_hand_is_not_handed_out_again_after_a_reconnection():
    acks = Acks()

    async def again(peer):
        await peer.hello()
        await peer.messages(1, 2, 3)
        await acks.record(peer)

    async with (
        scripted_hub(sending_then_cut(1, 2), again) as hub,
        listen(hub.url, cursor="c", manual_ack=True) as messages,
    ):
        first, second = await anext(messages), await anext(messages)
        third = await anext(messages)
        for message in (first, second, third):
            messages.ack(message)
        assert await acks.take() == {"type": "ack", "id": mid(3)}
    assert third.id == mid(3)


async def test_the_last_acknowledgement_is_repeated_on_a_new_connection():
    acks = Acks()

    async def deaf_then_cut(peer):
        await peer.hello()
        await peer.messages(1)
        await peer.receive()  # and forget it
        await peer.cut()

    async def again(peer):
        await peer.hello()
        await acks.record(peer)

    async with scripted_hub(deaf_then_cut, again) as hub, listen(hub.url, cursor="c", manual_ack=True) as messages:
        messages.ack(await anext(messages))
        assert await acks.take() == {"type": "ack", "id": mid(1)}


async def test_without_a_cursor_nobody_is_told_anything():
    frames = []

    async def script(peer):
        await peer.hello()
        await peer.messages(1, 2)
        frames.append(await peer.receive())

    async with scripted_hub(script) as hub, listen(hub.url) as messages:
        messages.ack(await anext(messages))
        await anext(messages)
    assert frames == []


async def test_a_hub_that_does_not_begin_is_waited_for_and_the_cursor_is_named(monkeypatch):
    monkeypatch.setattr(session, "HELLO_S", 0.05)
    told = trio.Event()
    events = []

    async def script(peer):
        await peer.accept()
        await told.wait()
        await peer.send("hello", hub="hookbot/test", last_id=mid(0), cursor="deploy", position=mid(0))
        await peer.stay()

    def on_event(event):
        events.append(event)
        told.set()

    async with scripted_hub(script) as hub, listen(hub.url, cursor="deploy", on_event=on_event):
        pass
    assert [type(event) for event in events] == [Waiting, Connected]
    assert "'deploy'" in str(events[0])


async def test_a_cursor_that_was_taken_over_is_not_taken_back():
    async def script(peer):
        await peer.hello()
        await peer.close(4001, "another connection took over the cursor c")

    async with scripted_hub(script) as hub, listen(hub.url, cursor="c") as messages:
        with pytest.raises(Refused, match="took over"):
            await anext(messages)
    assert len(hub.peers) == 1


@pytest.mark.parametrize(
    ("asked", "ahead"),
    [
        ({"cursor": "c"}, None),
        ({"group": "g"}, "1"),
        ({"group": "g", "manual_ack": True}, None),
        ({"group": "g", "max_unacked": 5}, "5"),
        ({"cursor": "c", "max_unacked": 5}, "5"),
    ],
)
async def test_a_member_of_a_group_who_works_step_by_step_leases_step_by_step(asked, ahead):
    async with scripted_hub(sending()) as hub, listen(hub.url, **asked):
        pass
    assert hub.peers[0].query.get("max_unacked") == ahead


async def test_being_cancelled_still_tells_the_hub_what_is_done():
    acks = Acks()
    async with scripted_hub(recording(acks, 1)) as hub:
        with trio.CancelScope() as scope:
            async with listen(hub.url, cursor="c", manual_ack=True) as messages:
                messages.ack(await anext(messages))
                scope.cancel()
                await trio.sleep_forever()
        await acks.until(id=mid(1))
