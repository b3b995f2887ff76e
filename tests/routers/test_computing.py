"""Routers that wait for nothing."""

from collections.abc import Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from hookbot.protocol.message import Message
from hookbot.routers import Publish, Router
from hookbot.routers.computing import ComputingRouter, Publishing, computes_at_once
from hookbot.routers.large_messages import SMALL_BYTES
from hookbot.routers.outbox import DraftCollector

JSON = (("Content-Type", "application/json"),)
SMALL = Message("in", b"x", id="abcdefgh-000000000000001")
LARGE = Message("in", b"x" * SMALL_BYTES, id="abcdefgh-000000000000001")


class Computing(ComputingRouter):
    name = "computing"
    topics = ("in",)

    def publishes(self, message: Message) -> Sequence[Publishing]:
        if message.body == b"bad":
            raise ValueError("a bad message")
        if message.body == b"none":
            return []
        place = b"loop" if trio.lowlevel.in_trio_task() else b"thread"
        return [Publishing("out", place, JSON), Publishing("out/whole", message, wrapped=True)]


class Overriding(Computing):
    async def route(self, message: Message, publish: Publish) -> None:
        await super().route(message, publish)
        await publish("out/too", b"")


@pytest.mark.parametrize(("message", "place"), [(SMALL, b"loop"), (LARGE, b"thread")])
async def test_all_that_is_computed_is_published_of_a_large_message_from_a_thread(
    message: Message, place: bytes
) -> None:
    publisher = DraftCollector("computing", message)

    await Computing().route(message, publisher)

    new, whole = publisher.published.values()
    assert (new.topic, new.body, new.headers) == ("out", place, JSON)
    assert (whole.topic, whole.body, whole.query) == ("out/whole", message.body, "extra-metadata=github")


def overridden_later() -> Router:
    router = Computing()
    router.route = Overriding().route  # type: ignore[method-assign]
    return router


@pytest.mark.parametrize(
    ("router", "message", "at_once"),
    [
        (Computing(), SMALL, True),
        (Computing(), LARGE, False),
        (Overriding(), SMALL, False),
        (overridden_later(), SMALL, False),
    ],
)
def test_only_a_small_message_is_computed_at_once_and_only_without_another_route(
    router: Router, message: Message, at_once: bool
) -> None:
    assert computes_at_once(router, message) == at_once


async def test_in_a_hub_what_is_computed_at_once_is_published_and_fails_like_all_else(
    hub: Any, autojump_clock: MockClock
) -> None:
    async with hub.run(computing=Computing(), overriding=Overriding()) as routers:
        for body in (b"bad", b"none", b"good"):
            await hub.publish("in", body)
        await hub.wait_for("out/too", 1)
        wholes = await hub.wait_for("out/whole", 2)
        [failed] = await hub.wait_for("hookbot/failed/computing", 1)
        states = {state["name"]: state for state in routers.snapshot()}

    assert [whole.body for whole in wholes] == [b"good", b"good"]
    assert failed.header("hookbot-failed-error") == "ValueError: a bad message"
    assert {name: (state["routed"], state["failed"]) for name, state in states.items()} == {
        "computing": (2, 1),
        "overriding": (2, 1),
    }
