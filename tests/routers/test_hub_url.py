"""The addresses that a hub's URL stands for, and the tokens in them."""

from typing import Any

import pytest

from hookbot.access.tokens import make_token
from hookbot.client.address import Address
from hookbot.protocol.message import Draft
from hookbot.routers.hub_url import HubUrl

KEY = "key"


def opened(path: str, token: str | None) -> Address:
    return Address.parse(f"https://hub{path}", token)


def test_each_topic_has_a_subscription_with_a_token_of_its_own() -> None:
    assert HubUrl(Address.parse("https://hub"), KEY).subscriptions(["in/", "/unsafe/a b"]) == [
        opened("/sub/in/", make_token(KEY, "/sub/in/")),
        opened("/unsafe/sub/a%20b", make_token(KEY, "/unsafe/sub/a b")),
    ]


@pytest.mark.parametrize(
    ("url", "token"), [("https://hub/sub/a%20b", make_token(KEY, "/sub/a b")), ("https://tok@hub/sub/a%20b", "tok")]
)
def test_the_url_of_a_subscription_is_the_only_one(url: str, token: str) -> None:
    assert HubUrl(Address.parse(url), KEY).subscriptions(["in/"]) == [opened("/sub/a%20b", token)]


@pytest.mark.parametrize(
    ("url", "fields", "token"),
    [
        ("https://tok@hub", {"key": KEY, "publish_token": "other"}, "other"),
        ("https://tok@hub", {"key": KEY}, make_token(KEY, "/pub/a")),
        ("https://tok@hub", {}, "tok"),
        ("https://hub", {}, None),
    ],
)
def test_the_token_of_the_url_publishes_only_where_there_is_no_other(
    url: str, fields: dict[str, Any], token: str | None
) -> None:
    draft = Draft("a", b"", query="extra-metadata=github")
    address = HubUrl(Address.parse(url), **fields).publishing(draft)
    assert address == opened("/pub/a?extra-metadata=github", token)


def test_tokens_are_not_shown() -> None:
    hub = HubUrl(Address.parse("https://s3cret@hub"), "s3cret", "s3cret", (("X-Token", "s3cret"),))
    assert "s3cret" not in repr(hub)
