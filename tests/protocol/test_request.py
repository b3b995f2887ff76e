"""Requests, as the fast path and the app hand them over."""

import pytest

from hookbot.errors import Refused
from hookbot.protocol.request import MAX_PARAMETERS, Request


def request(target: bytes = b"/", headers: tuple[()] | list[tuple[str, str]] = ()) -> Request:
    return Request("GET", target, tuple(headers))


@pytest.mark.parametrize(
    ("target", "raw_path", "query"),
    [
        (b"/pub/foo", b"/pub/foo", ""),
        (b"/pub/foo?", b"/pub/foo", ""),
        (b"/pub/foo?a=b?c", b"/pub/foo", "a=b?c"),
        (b"/pub/f%20o?a=%20", b"/pub/f%20o", "a=%20"),
        (b"//pub/foo", b"//pub/foo", ""),
        (b"http://hub.example/pub/foo?a=b", b"/pub/foo", "a=b"),
        (b"http://hub.example", b"/", ""),
        (b"http://hub.example?a=b", b"/", "a=b"),
        (b"HTTPS://hub.example//x", b"//x", ""),
        (b"/pub/http://x/y", b"/pub/http://x/y", ""),
        (b"/pub/foo?at=http://x/y", b"/pub/foo", "at=http://x/y"),
        (b"*", b"*", ""),
        (b"", b"", ""),
        (b"/pub/foo?\xff", b"/pub/foo", "\xff"),
    ],
)
def test_a_target_is_a_path_and_a_query(target: bytes, raw_path: bytes, query: str) -> None:
    assert (request(target).raw_path, request(target).query) == (raw_path, query)


@pytest.mark.parametrize(
    ("origin", "foreign"),
    [("", False), ("https://HUB", False), ("https://page.example", False), ("https://other.example", True)],
)
def test_only_a_page_of_another_origin_is_foreign(origin: str, foreign: bool) -> None:
    asked = Request("GET", b"/", (("Host", "Hub"), ("Origin", origin)))

    assert asked.is_foreign({"https://page.example"}) is foreign


def test_a_query_has_a_limited_number_of_parameters() -> None:
    request(b"/?" + b"a&" * (MAX_PARAMETERS - 1) + b"a").check_parameters()
    with pytest.raises(Refused, match="more than 200 parameters"):
        request(b"/?" + b"&" * MAX_PARAMETERS).check_parameters()


@pytest.mark.parametrize("target", ["/pub/foo", "/pub/foo?a=b%20c"])
def test_the_relative_target_is_what_was_sent(target: str) -> None:
    assert request(target.encode()).relative_target == target
    assert request(f"http://hub.example{target}".encode()).relative_target == target


def test_headers_are_found_in_any_case_and_joined() -> None:
    asked = request(headers=[("Accept", "a"), ("ACCEPT", "b"), ("Host", "h")])
    assert asked.header("accept") == "a, b"
    assert asked.header("host") == "h"
    assert asked.header("origin") == ""
    assert (asked.sent("accept"), asked.sent("origin")) == ("a, b", None)


@pytest.mark.parametrize(
    ("sent", "tokens"),
    [
        ([], []),
        ([""], []),
        (["close"], ["close"]),
        (["keep-alive, Upgrade"], ["keep-alive", "upgrade"]),
        (["a,", " B ,a"], ["a", "b"]),
    ],
)
def test_a_list_of_tokens_is_read_in_lower_case(sent: list[str], tokens: list[str]) -> None:
    assert request(headers=[("Connection", value) for value in sent]).tokens("connection") == frozenset(tokens)


def test_parameters_are_decoded() -> None:
    assert request(b"/?a=%C3%A9&b=x+y&c=&d").parameters == {"a": "é", "b": "x y", "c": "", "d": ""}


def test_the_same_parameter_may_be_given_twice_but_not_with_two_meanings() -> None:
    assert request(b"/?a=1&a=1").parameters == {"a": "1"}
    with pytest.raises(Refused, match="'a' twice"):
        _ = request(b"/?a=1&a=2").parameters


def test_parameters_are_parsed_once() -> None:
    asked = request(b"/?a=1")

    assert asked.parameters is asked.parameters


def test_a_certificate_does_not_show() -> None:
    assert "secret" not in repr(Request("GET", b"/", (), certificate=b"secret"))
