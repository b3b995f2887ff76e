"""Storing a publish, and answering it."""

from hookbot.access.admitted import AdmittedPublish
from hookbot.access.sources import Source, Sources
from hookbot.errors import HookbotError, KeyReused, Unavailable
from hookbot.protocol.request import Request
from hookbot.protocol.response import Response
from hookbot.signatures import SignedRequest, load_provider
from hookbot.web import publish as publish_module
from hookbot.web.publish import publish_soon
from support.clients import basic
from support.fast_path import FastPathHub, open_fast_path, settled
from support.stubborn_log import StubbornLog

SECRET = "the secret of the tests"


def admitted(hub: FastPathHub, *headers: tuple[str, str], path: str = "/pub/topic") -> AdmittedPublish:
    authorization = ("Authorization", f"Basic {basic(path)}")
    return hub.access.admit_publish(Request("POST", path.encode(), (("Host", "hub"), authorization, *headers)))


async def test_a_publish_is_answered_when_it_is_stored() -> None:
    async with open_fast_path() as hub:
        response = await publish_module.publish(hub.services, admitted(hub), b"hello")

        assert (response.status, response.body) == (200, b"OK\n")
        assert hub.stored() == [("topic", b"hello")]


async def test_a_challenge_is_answered_and_not_stored() -> None:
    slack = load_provider("slack")
    body = b'{"type": "url_verification", "challenge": "c"}'
    sources = Sources([Source("/unsafe/acme", slack, [SECRET])])
    async with open_fast_path(access={"sources": sources}) as hub:
        signed = slack.sign(SignedRequest(body), SECRET, now=hub.access.now_s)
        challenge = admitted(hub, *signed.headers, path="/unsafe/pub/acme")

        response = await publish_module.publish(hub.services, challenge, body)

        assert response.body == b"c"
        assert hub.stored() == []


async def test_a_publish_without_a_task_calls_back_with_its_response_or_with_what_went_wrong() -> None:
    outcomes: list[Response | HookbotError] = []
    async with open_fast_path() as hub:
        once = ("Idempotency-Key", "k")
        for body in (b"one", b"one", b"two"):
            publish_soon(hub.services, admitted(hub, once), body, outcomes.append)
        await settled(lambda: len(outcomes) == 3)

        stored, duplicate, reused = outcomes
        assert isinstance(stored, Response)
        assert isinstance(duplicate, Response)
        assert ("Hookbot-Duplicate", "true") in duplicate.headers
        assert isinstance(reused, KeyReused)


async def test_a_publish_without_a_task_that_cannot_be_stored_calls_back_with_unavailable() -> None:
    log = StubbornLog()
    log.error = Unavailable("the disk is full")
    outcomes: list[Response | HookbotError] = []
    async with open_fast_path(log=log) as hub:
        publish_soon(hub.services, admitted(hub), b"hello", outcomes.append)
        await settled(lambda: outcomes)

        assert [str(outcome) for outcome in outcomes] == ["the disk is full"]
