from time import sleep, time

import httpx
import pytest
import trio

from hookbot import ConfigError, InvalidTopic, Message, testing
from hookbot.routers.github import GitHubRouter
from hookbot.signatures import SignedRequest, load_provider
from hookbot.testing import make_message, open_test_hub, route, routed, signed_delivery

BODY = b'{"issue": {"fields": {"project": {"key": "OPS"}}}}'


class JiraRouter:
    name = "jira"
    topics = ("jira/",)

    async def route(self, message, publish):
        project = message.json()["issue"]["fields"]["project"]["key"]
        await publish(f"jira-project/{project}", message.body)


class PassingOn(JiraRouter):
    async def route(self, message, publish):
        await publish("copy", message, headers=(("X-Copied", "yes"),))


async def test_what_a_router_publishes_is_returned_as_topics_and_bodies():
    assert await route(JiraRouter(), "jira/cloud", BODY) == [("jira-project/OPS", BODY)]


async def test_what_a_router_raises_is_raised():
    with pytest.raises(KeyError):
        await route(JiraRouter(), "jira/cloud", b"{}")
    with pytest.raises(InvalidTopic):
        await route(JiraRouter(), "jira/cloud", BODY.replace(b"OPS", b".."))


async def test_a_router_is_checked_as_a_hub_would():
    with pytest.raises(ValueError, match="is none of the topics of this router"):
        await route(JiraRouter(), "elsewhere", BODY)
    router = JiraRouter()
    router.topics = "jira/"
    with pytest.raises(ConfigError, match="is a tuple"):
        await route(router, "jira/cloud", BODY)


async def test_a_router_that_blocks_is_told_to_use_a_thread(monkeypatch):
    class Sleepy(JiraRouter):
        async def route(self, message, publish):
            await trio.lowlevel.checkpoint()
            sleep(0.2)

    class Patient(JiraRouter):
        async def route(self, message, publish):
            await trio.to_thread.run_sync(sleep, 0.2)

    monkeypatch.setattr(testing, "BLOCKED_S", 0.1)
    with pytest.raises(
        RuntimeError, match=r"jira blocked the event loop for 0\.[0-9] s; use trio\.to_thread\.run_sync"
    ):
        await route(Sleepy(), "jira/cloud", BODY)
    assert await route(Patient(), "jira/cloud", BODY) == []


async def test_a_message_can_be_seen_whole():
    message = make_message("jira/x", BODY, {"X-Kind": "test"}, verified="jira", query="a=1")

    [copy] = await routed(PassingOn(), message)

    assert copy == Message(
        "copy", BODY, (("X-Kind", "test"), ("X-Copied", "yes")), "a=1", message.verified, hops=("jira",)
    )


@pytest.mark.parametrize("provider", ["github", "gitlab", "stripe"])
def test_a_sample_delivery_is_one_that_the_provider_could_have_signed(provider):
    delivery = signed_delivery(provider, "s3cret")
    load_provider(provider).verify(SignedRequest(*delivery), ["s3cret"], now=time())


def test_a_body_of_ones_own_is_signed_with_headers_of_ones_own():
    body, headers = signed_delivery("github", "s3cret", b"{}", {"X-GitHub-Event": "ping"})

    assert body == b"{}"
    assert [value for name, value in headers if name == "X-GitHub-Event"] == ["ping"]
    assert {"X-Hub-Signature-256", "X-GitHub-Delivery"} <= {name for name, _ in headers}


async def test_a_signed_delivery_passes_the_router_that_checks_it():
    delivery = signed_delivery("github", "s3cret")
    topics = [topic for topic, _ in await route(GitHubRouter(["s3cret"]), "/unsafe/github.com/org", *delivery)]
    assert topics == ["github.com/repo/acme/app/branch/main", "github.com/repo/acme/app"]


async def test_a_test_hub_routes_what_is_posted_to_it():
    async with open_test_hub(JiraRouter()) as hub, httpx.AsyncClient() as client:
        answer = await client.post(hub.url_for("/pub/jira/cloud"), content=BODY)
        [message] = await hub.wait_for("jira-project/OPS")

    assert answer.status_code == 200
    assert (message.body, message.hops) == (BODY, ("jira",))


async def test_a_test_hub_supervises_like_any_hub():
    async with open_test_hub(JiraRouter()) as hub:
        await hub.publish("jira/cloud", b"{}")
        [failed] = await hub.wait_for("hookbot/failed/jira")

    assert failed.header("Hookbot-Failed-Error") == "KeyError: 'issue'"
