"""Signed requests, with places that are read, filled and emptied."""

import pytest

from hookbot.errors import BadSignature, BodyTooLarge, ConfigError
from hookbot.protocol.bodies import UNVERIFIED
from hookbot.protocol.message import Headers
from hookbot.protocol.request import Request
from hookbot.signatures import SignedRequest
from hookbot.signatures.request import check_names, split_url
from support.signature_samples import FORM

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


@pytest.mark.parametrize("body", [b"[0" + b",0" * UNVERIFIED.values + b"]", b"0" + b" " * UNVERIFIED.json_bytes])
def test_a_body_beyond_the_ceiling_has_no_value_that_must_be_there(body: bytes) -> None:
    request = SignedRequest(body)

    with pytest.raises(BodyTooLarge):
        request.find("json:event.id")
    with pytest.raises(BodyTooLarge):
        request.json()
    assert request.first("json:event.id") is None


def test_of_a_repeated_key_no_value_is_believed() -> None:
    repeated = SignedRequest(b'{"a": {"id": "1"}, "id": "2", "id": "3"}')
    assert repeated.find("json:id") is None
    with pytest.raises(BadSignature, match="'id' twice in one object"):
        repeated.json()
    assert SignedRequest(b'{"a": {"id": "1"}, "id": "2"}').find("json:id") == "2"


@pytest.mark.parametrize("name", ["message", "MESSAGE", "Me\u017fsage"])
def test_a_field_that_passes_for_a_signed_one_in_another_case_is_refused(name: str) -> None:
    check_names(["Message", "Subject", "subjects"], ["Message", "Subject"])
    with pytest.raises(BadSignature, match="could be taken for a signed one"):
        check_names(["Message", name], ["Message", "Subject"])


def test_a_form_beyond_the_ceiling_is_refused() -> None:
    with pytest.raises(BodyTooLarge):
        SignedRequest(b"&" * UNVERIFIED.fields, FORM).form()


def test_a_body_is_parsed_once_also_for_another_url() -> None:
    json, form = SignedRequest(b'{"a": []}'), SignedRequest(b"a=b", FORM)

    assert json.json() is json.json() is json.with_url("https://example.com/").json()
    assert form.form() is form.form() is form.with_url("https://example.com/").form()
    assert json.with_url("https://example.com/").url == "https://example.com/"


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
    assert SignedRequest(headers=(("X-Key-A", "x"), ("X-Key", "y"))).without(["X-Key-*"]).headers == (("X-Key", "y"),)


@pytest.mark.parametrize(("place", "value"), [("X-Two", "2"), ("X-Three", None), ("X-Three|X-One", "1"), ("", None)])
def test_the_first_value_at_a_place_is_enough_for_some(place: str, value: str | None) -> None:
    assert REQUEST.first(place) == value


def test_each_header_is_read_once_though_one_is_repeated_among_thousands() -> None:
    reads = 0

    class Name(str):
        __slots__ = ()

        def lower(self) -> str:
            nonlocal reads
            reads += 1
            return super().lower()

    request = SignedRequest(headers=tuple((Name(f"X-{number % 4999}"), str(number)) for number in range(5000)))

    assert request.find_all("x-0") == ["0", "4999"]
    assert reads == 5000


def test_an_empty_value_is_not_good_enough() -> None:
    with pytest.raises(BadSignature, match="the header X-Empty is empty"):
        SignedRequest(headers=(("X-Empty", ""),)).need("X-Empty")


@pytest.mark.parametrize("value", ["Bearer abc", "bearer abc", "BEARER abc"])
def test_a_prefix_is_taken_off_in_any_case(value: str) -> None:
    assert SignedRequest(headers=(("Authorization", value),)).need_after("Bearer ", "Authorization") == "abc"


def test_another_prefix_is_refused() -> None:
    with pytest.raises(BadSignature, match="the header Authorization does not begin with 'Bearer '"):
        SignedRequest(headers=(("Authorization", "Basic abc"),)).need_after("Bearer ", "Authorization")


def test_the_url_is_needed_by_some() -> None:
    assert REQUEST.need_url() == REQUEST.url
    with pytest.raises(BadSignature, match="this source does not know the URL"):
        SignedRequest().need_url()


@pytest.mark.parametrize(
    ("content_type", "fields"),
    [
        ("application/x-www-form-urlencoded", [("a", "1 2"), ("b", ""), ("a", "\udcff")]),
        ("Application/X-WWW-Form-Urlencoded; charset=utf-8", [("a", "1 2"), ("b", ""), ("a", "\udcff")]),
        ("text/plain", []),
        ("", []),
    ],
)
def test_a_body_is_a_form_if_its_content_type_says_so(content_type: str, fields: list[tuple[str, str]]) -> None:
    request = SignedRequest(b"a=1+2&b=&a=\xff", (("content-type", content_type),))

    assert request.form() == fields


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://Example.COM/a/b?c#d", ("https", "example.com", "/a/b")),
        ("https://user@example.com:8443", ("https", "user@example.com:8443", "")),
        ("nonsense", ("", "", "nonsense")),
    ],
)
def test_a_url_is_taken_apart(url: str, parts: tuple[str, str, str]) -> None:
    assert split_url(url) == parts


@pytest.mark.parametrize("url", ["", "https://[example.com/", "https://exa\nmple.com/", "https://example.com/é", "a b"])
def test_a_url_that_others_may_read_differently_is_refused(url: str) -> None:
    with pytest.raises(BadSignature, match="not a URL"):
        split_url(url)


@pytest.mark.parametrize("body", [b"text", b"[]", b'{"a": 5}', b"\xff"])
def test_a_value_is_put_into_no_body_but_a_json_object(body: bytes) -> None:
    with pytest.raises(ConfigError, match=r"'a\.b' is put into the body, which must be a JSON object"):
        SignedRequest(body).put("json:a.b", "1")


def test_what_is_put_into_a_body_leaves_the_rest_as_it_was_written() -> None:
    body = b'\xef\xbb\xbf{"n":12345678901234567890.25,"m":1.10}'

    assert SignedRequest(body).put("json:id", "7").body == b'{"n":12345678901234567890.25,"m":1.10,"id":7}'


def test_the_parameters_of_a_query_are_put_behind_one_another() -> None:
    one = SignedRequest(url="https://example.com/in").put("query:a", "c&d é")

    assert one.url == "https://example.com/in?a=c%26d%20%C3%A9"
    assert one.put("query:e", "f").url == "https://example.com/in?a=c%26d%20%C3%A9&e=f"


@pytest.mark.parametrize("headers", [(("A", "1"), ("B", "2, 3")), (("A", "1"), ("b", "2"), ("B", "3"))])
def test_the_head_of_a_request_has_its_headers_one_by_one(headers: Headers) -> None:
    head = SignedRequest.head(Request("PUT", b"/x", headers), "https://hub/x")

    assert head == SignedRequest(b"", headers, "PUT", "https://hub/x")
    for place in ("a", "B", "C", "A[x]"):
        assert head.find_all(place) == SignedRequest(headers=headers).find_all(place)


def test_a_request_with_its_body_has_the_same_head() -> None:
    head = SignedRequest(b"", (("A", "1"), ("a", "2")), "PUT", "https://hub/x?y=1")

    whole = head.with_body(b'{"b": 3}')

    assert whole == SignedRequest(b'{"b": 3}', head.headers, "PUT", "https://hub/x?y=1")
    assert (whole.find_all("a"), whole.find("json:b"), whole.find("query:y")) == (["1", "2"], "3", "1")
    assert head.find("json:b") is None
