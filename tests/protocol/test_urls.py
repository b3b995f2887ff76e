"""URLs that people type: what is malformed is refused without being shown."""

import pytest

from hookbot.errors import Refused
from hookbot.protocol.urls import encode_host, is_loopback, split_url, without_secrets

MALFORMED = [
    "http://hub:s3cret/",
    "http://hub:s3cret@hub:99999/",
    "http://s3cret@[::1/",
    "http://s3cret@hub℀.example/",
    "http://s3cret@hub..example/",
    f"http://s3cret@{'a' * 64}.example/",
    "http://s3cret@hub\x01.example/",
    "http://s3cret@two words/",
    "http://s3cret@hub:0/",
    "http://s3cret@256.1.1.1/",
    "http://s3cret@hub\\path",
    "http://s3cret@<hub>/",
]


@pytest.mark.parametrize("url", MALFORMED)
def test_a_malformed_url_is_refused_without_showing_its_token(url: str) -> None:
    with pytest.raises(Refused, match="the URL is malformed") as caught:
        split_url(url)

    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["hub", "//hub/a", "http://token@hub:80/a?b#c", "http://☃.example/ü", "/\udcff"])
def test_what_can_be_split_is_split(url: str) -> None:
    assert split_url(url).geturl() == url


@pytest.mark.parametrize(
    ("host", "port", "encoded"),
    [
        ("hub", None, "hub"),
        ("hub", 8080, "hub:8080"),
        ("::1", 80, "[::1]:80"),
        ("bücher.example", None, "xn--bcher-kva.example"),
        ("☃.example", None, "xn--n3h.example"),
    ],
)
def test_a_host_is_encoded_as_it_is_sent(host: str, port: int | None, encoded: str) -> None:
    assert encode_host(host, port) == encoded


@pytest.mark.parametrize(
    "pasted", [" {}\r\n", "\ufeff{}", "\xa0{}\u200b", '"{}"', "'{}'", "“{}”", "<{}>", " <{}>\n", "< {} >", "`{}`"]
)
def test_what_is_pasted_with_a_url_is_left_out(pasted: str) -> None:
    url = "wss://token@hub.example/sub/a b?since=1h"
    assert split_url(pasted.format(url)).geturl() == url


@pytest.mark.parametrize("char", ["\u200b", "\xa0", " ", "\u202a"])
def test_a_token_with_what_cannot_be_seen_is_refused_without_showing_it(char: str) -> None:
    with pytest.raises(Refused, match=rf"the token in the URL contains U\+{ord(char):04X} ") as caught:
        split_url(f"https://s3c{char}ret@hub/")
    assert "s3c" not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_a_host_on_this_machine_is_known(host: str) -> None:
    assert is_loopback(host)
    assert not is_loopback(f"{host}.example")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:s3cret@hub:81/a?b=s3cret#s3cret", "https://hub:81/a"),
        ("https://s3cret@hub:port/", "the URL"),
        ("s3cret@hub:81/a?b=s3cret", "hub:81/a"),
        ("s3cret@hub", "hub"),
        (f"https://hub/{'a' * 300}", f"https://hub/{'a' * 188}"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
