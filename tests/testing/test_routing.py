"""A router is run for one message, and what it publishes is seen."""

from collections.abc import Sequence
from time import sleep

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


@pytest.mark.slow
async def test_a_router_that_blocks_is_told_to_use_a_thread() -> None:
    class Sleepy(JiraRouter):
        async def route(self, message: Message, publish: Publish) -> None:
            await trio.lowlevel.checkpoint()
            sleep(0.2)

    class Patient(JiraRouter):
        async def route(self, message: Message, publish: Publish) -> None:
            await trio.to_thread.run_sync(sleep, 0.2)

    message = make_message("jira/cloud", BODY)
    with pytest.raises(
        RuntimeError, match=r"the router jira blocked the event loop for 0\.[0-9] s: use trio\.to_thread\.run_sync"
    ):
        await routed(Sleepy(), message, blocked_s=0.1)
    assert await routed(Patient(), message, blocked_s=0.1) == []


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
