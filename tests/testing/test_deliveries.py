"""Deliveries are signed as their senders do it."""

from time import time

import pytest

from hookbot.errors import Refused
from hookbot.routers import Secret
from hookbot.routers.github import GitHubRouter
from hookbot.signatures import SignedRequest, load_provider
from hookbot.testing import route, signed_delivery


@pytest.mark.parametrize("provider", ["github", "gitlab", "stripe", "shopify"])
def test_a_sample_delivery_is_one_that_the_provider_could_have_signed(provider: str) -> None:
    delivery = signed_delivery(provider, "s3cret")
    load_provider(provider).verify(SignedRequest(*delivery), ["s3cret"], now=time())


def test_a_delivery_tells_of_an_event_and_each_is_another_one() -> None:
    first, second = (signed_delivery("github", "s3cret", event="release") for _ in range(2))

    assert ("X-GitHub-Event", "release") in first.headers
    assert first != second
    with pytest.raises(Refused, match="did you mean 'release'"):
        signed_delivery("github", "s3cret", event="releases")


def test_a_delivery_to_a_url_is_signed_with_it() -> None:
    url = "https://hooks.example.com/sms"

    delivery = signed_delivery("twilio", "s3cret", event="message", url=url)

    load_provider("twilio").verify(SignedRequest(*delivery, "POST", url), ["s3cret"], now=time())


def test_a_body_of_ones_own_is_signed_with_headers_of_ones_own() -> None:
    body, headers = signed_delivery("github", "s3cret", b"{}", {"X-GitHub-Event": "ping"})

    assert body == b"{}"
    assert [value for name, value in headers if name == "X-GitHub-Event"] == ["ping"]
    assert {"X-Hub-Signature-256", "X-GitHub-Delivery"} <= {name for name, _ in headers}


async def test_a_signed_delivery_passes_the_router_that_checks_it() -> None:
    delivery = signed_delivery("github", "s3cret")
    topics = [topic for topic, _ in await route(GitHubRouter([Secret("s3cret")]), "/unsafe/github.com/org", *delivery)]
    assert topics == ["github.com/repo/acme/app/branch/main", "github.com/repo/acme/app"]
