"""Storing a publish, and answering it."""

from hookbot.access.admitted import AdmittedPublish
from hookbot.access.sources import Source, Sources
from hookbot.protocol.request import Request
from hookbot.protocol.response import Response
from hookbot.signatures import SignedRequest, load_provider
from hookbot.web import publish as publish_module
from support.clients import basic
from support.fast_path import FastPathHub, open_fast_path

SECRET = "the secret of the tests"


def admitted(hub: FastPathHub, *headers: tuple[str, str], path: str = "/pub/topic") -> AdmittedPublish:
    authorization = ("Authorization", f"Basic {basic(path)}")
    return hub.access.admit_publish(Request("POST", path.encode(), (("Host", "hub"), authorization, *headers)))


async def test_a_publish_is_answered_when_it_is_stored() -> None:
    async with open_fast_path() as hub:
        response = await publish_module.publish(hub.services, admitted(hub), b"hello")

        assert isinstance(response, Response)
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

        assert isinstance(response, Response)
        assert response.body == b"c"
        assert hub.stored() == []
