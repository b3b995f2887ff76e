"""Publish requests, as the query and the headers describe them."""

import pytest

from hookbot.errors import Refused
from hookbot.protocol.paths import find_route
from hookbot.protocol.publish import MAX_HOPS, MAX_KEY, PublishRequest
from hookbot.protocol.request import Request


def read(target: str = "/pub/foo", **headers: str) -> PublishRequest:
    fields = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    request = Request("POST", target.encode(), fields)
    return PublishRequest.read(request, find_route("POST", request.raw_path).topic)


def test_a_plain_publish_asks_for_nothing() -> None:
    publish = read()

    assert (publish.topic, publish.hops, publish.idempotency_key) == ("foo", (), "")
    assert publish.http.method == "POST"


@pytest.mark.parametrize(
    ("sent", "hops"),
    [
        ("github", ("github",)),
        ("github, copy,mail", ("github", "copy", "mail")),
        (" , github,,", ("github",)),
        ("", ()),
        (",".join(f"r{n}" for n in range(MAX_HOPS)), tuple(f"r{n}" for n in range(MAX_HOPS))),
    ],
)
def test_hops_are_a_list_of_routers(sent: str, hops: tuple[str, ...]) -> None:
    assert read(hookbot_hops=sent).hops == hops


def test_a_message_in_a_loop_of_hubs_is_refused_in_the_end() -> None:
    with pytest.raises(Refused, match="came through 17 routers, more than 16"):
        read(hookbot_hops=",".join("r" * (MAX_HOPS + 1)))


@pytest.mark.parametrize("sent", ["github", ",".join("r" * 99)])
def test_a_sender_without_a_token_is_not_believed_about_hops(sent: str) -> None:
    assert read("/unsafe/pub/foo", hookbot_hops=sent).hops == ()


@pytest.mark.parametrize(
    "query", ["", "?", "?a=b", "?extra-metadata=github", "?extra-metadata=github&extra-metadata=github"]
)
def test_the_only_metadata_are_those_of_github(query: str) -> None:
    assert read(f"/pub/foo{query}").topic == "foo"


@pytest.mark.parametrize("value", ["gitlab", "", "Github", "%67itlab", "github&extra-metadata=gitlab"])
def test_other_metadata_are_refused_in_the_words_of_the_ancestor(value: str) -> None:
    with pytest.raises(Refused, match=r"400 Bad Request \(bad \?extra-metadata=\)"):
        read(f"/pub/foo?extra-metadata={value}")


@pytest.mark.parametrize(
    "name", ["sinse", "since", "Since", "snice", "extra_metadata", "extra-metdata", "extrametadata"]
)
def test_what_looks_like_a_parameter_and_is_none_is_refused_but_not_of_a_sender_without_a_token(name: str) -> None:
    with pytest.raises(Refused, match=f"query parameter '{name}'"):
        read(f"/pub/foo?{name}=github")
    assert read(f"/unsafe/pub/foo?{name}=github").topic == "/unsafe/foo"


@pytest.mark.parametrize("query", ["sign=a", "key=a&token=b", "id=1&id=2", "source=x", "timestamp=1", "_=1", "a"])
def test_any_other_parameter_is_a_part_of_the_message(query: str) -> None:
    assert read(f"/pub/foo?{query}").topic == "foo"


def test_an_idempotency_key_has_a_longest_length() -> None:
    assert read(idempotency_key="k" * MAX_KEY).idempotency_key == "k" * MAX_KEY
    with pytest.raises(Refused, match="at most 255 characters, not 256"):
        read(idempotency_key="k" * (MAX_KEY + 1))


@pytest.mark.parametrize(
    ("length", "declared"),
    [
        ("0", 0),
        ("26214400", 26214400),
        ("9" * 5000, 10**18 - 1),
        ("", 0),
        ("-1", 0),
        ("1_0", 0),
        ("\xb2", 0),
        ("5, 5", 0),
    ],
)
def test_a_body_is_as_long_as_it_is_declared_if_that_is_a_number(length: str, declared: int) -> None:
    assert read(content_length=length).declared_bytes == declared


def test_a_body_without_a_declared_length_counts_as_empty() -> None:
    assert read().declared_bytes == 0
