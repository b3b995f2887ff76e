"""The inbox of an app: a disconnect comes last, and does not wait."""

import trio
import trio.testing

from hookbot.web.asgi.inbox import Inbox


async def test_a_disconnect_does_not_wait_and_comes_behind_what_was_received_before() -> None:
    inbox = Inbox(1)
    await inbox.put({"type": "websocket.receive"})

    await inbox.put({"type": "websocket.disconnect"})

    assert [(await inbox.receive())["type"] for _ in range(3)] == [
        "websocket.receive",
        *["websocket.disconnect"] * 2,
    ]


async def test_what_comes_after_a_disconnect_or_for_an_app_that_has_returned_is_dropped() -> None:
    inbox = Inbox(1)
    await inbox.put({"type": "websocket.disconnect", "code": 1000})
    for event in ({"type": "websocket.receive"}, {"type": "websocket.disconnect", "code": 1006}):
        await inbox.put(event)
    assert (await inbox.receive())["code"] == 1000

    with Inbox(1) as left:
        pass
    await left.put({"type": "websocket.receive"})
    await left.put({"type": "websocket.disconnect"})


async def test_other_events_wait_for_room_until_the_disconnect(autojump_clock: trio.testing.MockClock) -> None:
    inbox = Inbox(1)
    await inbox.put({"type": "http.request"})
    with trio.move_on_after(1) as waiting:
        await inbox.put({"type": "http.request"})
    assert waiting.cancelled_caught

    async with trio.open_nursery() as nursery:
        nursery.start_soon(inbox.put, {"type": "http.request"})
        await trio.testing.wait_all_tasks_blocked()
        await inbox.put({"type": "http.disconnect"})
