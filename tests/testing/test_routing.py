"""A router is run for one message, and what it publishes is seen."""

from collections.abc import Sequence

import pytest
import trio

from hookbot import ConfigError, InvalidTopic, Message
from hookbot.routers import Publish
from hookbot.testing import make_message, route, routed

BODY = b'{"issue": {"fields": {"project": {"key": "OPS"}}}}'


class JiraRouter:
    name = "jira"
    topics: Sequence[str] = ("jira/",)

    async def route(self, message: Message, publish: Publish) -> None:
        project = message.json()["issue"]["fields"]["project"]["key"]
        await publish(f"jira-project/{project}", message.body)


class PassingOn(JiraRouter):
    async def route(self, message: Message, publish: Publish) -> None:
        await publish("copy", message, headers=(("X-Copied", "yes"),))


async def test_what_a_router_publishes_is_returned_as_topics_and_bodies() -> None:
    assert await route(JiraRouter(), "jira/cloud", BODY) == [("jira-project/OPS", BODY)]


async def test_what_a_router_raises_is_raised() -> None:
    with pytest.raises(KeyError):
        await route(JiraRouter(), "jira/cloud", b"{}")
    with pytest.raises(InvalidTopic):
        await route(JiraRouter(), "jira/cloud", BODY.replace(b"OPS", b".."))


async def test_a_router_is_checked_as_a_hub_would() -> None:
    with pytest.raises(ValueError, match="is not among the topics of the router"):
        await route(JiraRouter(), "elsewhere", BODY)
    router = JiraRouter()
    router.topics = "jira/"
    with pytest.raises(ConfigError, match="must be a tuple"):
        await route(router, "jira/cloud", BODY)


class LoopClock(trio.abc.Instrument):
    """A clock that goes on only while the event loop waits, or by hand."""

    now_s = 0.0

    def before_io_wait(self, timeout: float) -> None:
        self.now_s += 2


async def test_a_router_that_blocks_is_told_to_use_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = LoopClock()

    class Sleepy(JiraRouter):
        async def route(self, message: Message, publish: Publish) -> None:
            await trio.lowlevel.checkpoint()
            clock.now_s += 2

    class Patient(JiraRouter):
        async def route(self, message: Message, publish: Publish) -> None:
            before_s = clock.now_s
            await trio.to_thread.run_sync(lambda: None)
            assert clock.now_s >= before_s + 2

    message = make_message("jira/cloud", BODY)
    monkeypatch.setattr("hookbot.testing.routing.perf_counter", lambda: clock.now_s)
    trio.lowlevel.add_instrument(clock)
    with pytest.raises(
        RuntimeError, match=r"the router jira blocked the event loop for 2\.0 s: use trio\.to_thread\.run_sync"
    ):
        await routed(Sleepy(), message)
    assert await routed(Patient(), message) == []


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
async def test_what_would_end_the_tests_is_an_ordinary_error(error: BaseException) -> None:
    class Ending(JiraRouter):
        async def route(self, message: Message, publish: Publish) -> None:
            raise error

    with pytest.raises(RuntimeError, match=f"the router jira raised {type(error).__name__}"):
        await route(Ending(), "jira/cloud", BODY)


async def test_a_message_can_be_seen_whole() -> None:
    message = make_message("jira/x", BODY, {"X-Kind": "test"}, verified="jira", query="a=1")

    [copy] = await routed(PassingOn(), message)

    assert copy == Message(
        "copy", BODY, (("X-Kind", "test"), ("X-Copied", "yes")), "a=1", message.verified, hops=("jira",)
    )
