"""Addresses of topics and proxies."""

from base64 import b64encode
from typing import Any

import pytest

from hookbot import errors
from hookbot.client.address import Address, check_publishable, subscription_of, topic_of
from hookbot.protocol.topics import TopicFilter


@pytest.mark.parametrize(
    ("url", "shown", "netloc"),
    [
        ("http://hub/sub/a", "http://hub/sub/a", "hub"),
        ("ws://hub:80/sub/a", "http://hub/sub/a", "hub"),
        ("wss://hub:443/sub/a?x=1#y", "https://hub/sub/a", "hub"),
        ("https://hub:80/sub/a", "https://hub:80/sub/a", "hub:80"),
        ("https://tok:pass@HUB/", "https://hub/", "hub"),
        ("https://hub", "https://hub/", "hub"),
        ("http://[::1]:8080/sub/a", "http://[::1]:8080/sub/a", "[::1]:8080"),
        ("http://☃.example/", "http://xn--n3h.example/", "xn--n3h.example"),
        ("http://bücher.example/sub/ü b", "http://xn--bcher-kva.example/sub/%C3%BC%20b", "xn--bcher-kva.example"),
    ],
)
def test_an_address_is_shown_without_credentials_and_query(url: str, shown: str, netloc: str) -> None:
    address = Address.parse(url)
    assert (str(address), address.netloc) == (shown, netloc)


def test_an_address_does_not_show_its_token_to_a_debugger_either() -> None:
    assert "s3cret" not in repr(Address.parse("https://s3cret@hub/sub/a?token=s3cret"))


@pytest.mark.parametrize("url", ["", "hub", "//hub/sub/a", "mailto:a@hub", "http://", "http://[::1/"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(errors.Refused):
        Address.parse(url)


def test_bytes_that_are_no_text_stay_what_they_are() -> None:
    address = Address.parse("http://hub/sub/a\udcff?b=\udcff", "\udcff")

    assert address.url == "http://hub/sub/a%FF?b=%FF"
    assert address.authorization == "Basic " + b64encode(b"\xff:").decode()


@pytest.mark.parametrize(
    ("path", "patterns"),
    [
        ("/sub/a/b", ("a/b",)),
        ("/sub/a/", ("a/",)),
        ("/sub/", ("",)),
        ("/a%20b", ("a b",)),
        ("/unsafe/sub/a", ("/unsafe/a",)),
        ("/sub/a%3Frecursive", ("a", "a/")),
    ],
)
def test_an_address_says_what_is_listened_to(path: str, patterns: tuple[Any, ...]) -> None:
    assert subscription_of(Address.parse(f"http://hub{path}")) == TopicFilter(patterns)


@pytest.mark.parametrize("path", ["/sub/a", "/unsafe/sub/a"])
def test_a_url_for_listening_is_not_published_to(path: str) -> None:
    with pytest.raises(errors.Refused, match="for listening"):
        check_publishable(Address.parse(f"http://hub{path}"))


def test_an_address_keeps_its_query_for_the_request_and_shows_it_only_on_demand() -> None:
    address = Address.parse("wss://token@hub:8443/sub/a b?since=10m&x=")

    assert address.origin == "https://hub:8443"
    assert address.url == "https://hub:8443/sub/a%20b?since=10m&x="
    assert address.target({"since": "all"}) == "/sub/a%20b?since=all"
    assert address.target({}) == "/sub/a%20b"


@pytest.mark.parametrize(
    ("url", "token", "credentials"),
    [
        ("http://hub/", None, None),
        ("http://tok%2Fen@hub/", None, "tok/en:"),
        ("http://user:pa%20ss@hub/", None, "user:pa ss"),
        ("http://user:pass@hub/", "token", "token:"),
        ("http://hub/", "\ufefftoken\r\n", "token:"),
        ("http://token%0D%0A@hub/", None, "token:"),
    ],
)
def test_credentials_of_the_url_or_the_token_become_a_header(
    url: str, token: str | None, credentials: str | None
) -> None:
    header = dict(Address.parse(url, token).authorization_header("Proxy-Authorization"))

    basic = None if credentials is None else f"Basic {b64encode(credentials.encode()).decode()}"
    assert header == ({} if basic is None else {"Proxy-Authorization": basic})


def test_a_token_with_what_cannot_be_seen_is_refused_without_showing_it() -> None:
    with pytest.raises(errors.Refused, match=r"the token contains U\+000A LINE FEED") as refused:
        Address.parse("http://hub/", "s3c\nret")
    assert "s3c" not in str(refused.value)


def test_a_url_for_publishing_names_a_topic_and_is_not_listened_to() -> None:
    address = Address.parse("http://hub/pub/a%20b")

    check_publishable(address)
    assert topic_of(address) == "a b"
    with pytest.raises(errors.Refused, match="for publishing"):
        subscription_of(address)
