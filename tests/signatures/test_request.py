"""Where in a request a value stands."""

import pytest

from hookbot.errors import BadSignature, ConfigError
from hookbot.signatures import SignedRequest

REQUEST = SignedRequest(
    b'{"event": {"id": 7, "ok": true, "name": "a"}}',
    (("X-One", "1"), ("x-two", "2"), ("X-Two", "3"), ("Stripe-Signature", "t=5, v1=a;v1=b,noequals")),
    url="https://example.com/in?a=b&token=s%2B+1&token2=x",
)


@pytest.mark.parametrize(
    ("place", "values"),
    [
        ("x-one", ["1"]),
        ("X-TWO", ["2", "3"]),
        ("X-*", ["1", "2", "3"]),
        ("X-Three|X-One|X-Two", ["1"]),
        ("X-Three", []),
        ("Stripe-Signature[t]", ["5"]),
        ("Stripe-Signature[v1]", ["a", "b"]),
        ("json:event.id", ["7"]),
        ("json:event.name", ["a"]),
        ("json:event.ok", []),
        ("json:event", []),
        ("json:event.name.more", []),
        ("query:token", ["s+ 1"]),
        ("query:none", []),
    ],
)
def test_a_place_names_values(place: str, values: list[str]) -> None:
    assert REQUEST.find_all(place) == values


def test_a_value_that_must_be_there_once_is_missed_by_name() -> None:
    with pytest.raises(BadSignature, match="the header X-Three is missing"):
        REQUEST.need("X-Three|X-Four")
    with pytest.raises(BadSignature, match=r"'a\.b' in the JSON body is missing"):
        REQUEST.need("json:a.b")
    with pytest.raises(BadSignature, match="'t' in the header X-One is missing"):
        REQUEST.need("X-One[t]")
    with pytest.raises(BadSignature, match="the query parameter 'none' is missing"):
        REQUEST.need("query:none")
    with pytest.raises(BadSignature, match="the header X-Two occurs 2 times"):
        REQUEST.need("X-Two")


@pytest.mark.parametrize("body", [b"", b"\xff", b"[" * 100_000, b"1" * 5000, b"[1]", b'{"event": [1]}'])
def test_a_body_that_is_no_such_json_has_no_value(body: bytes) -> None:
    assert SignedRequest(body).find("json:event.id") is None


@pytest.mark.parametrize("place", ["", "a b", "[t]", "X-One[", "header:X-One", "query:a[b]", "json:*"])
def test_what_is_no_place_is_an_error_of_the_configuration(place: str) -> None:
    with pytest.raises(ConfigError, match="not a place"):
        REQUEST.find_all(place)


@pytest.mark.parametrize(
    "place", ["X-New", "X-Two", "json:event.id", "json:new.deep", "query:new", "X-New[t]", "New-*"]
)
def test_what_is_put_at_a_place_is_found_there(place: str) -> None:
    assert REQUEST.put(place, "42").find(place) == "42"


def test_secrets_are_taken_out_and_the_rest_stays_as_it_was_written() -> None:
    shown = REQUEST.without(["X-Two", "query:token"])

    assert shown.headers == (REQUEST.headers[0], REQUEST.headers[3])
    assert shown.query == "a=b&token2=x"
    assert SignedRequest(url="/in?token=x").without(["query:token"]).url == "/in"
