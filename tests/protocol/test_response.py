"""Responses, and the errors that clients make of them."""

import json
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest

from hookbot import errors
from hookbot.errors import (
    Ended,
    HookbotError,
    Lost,
    MethodNotAllowed,
    Refused,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UpgradeRequired,
)
from hookbot.protocol.message import Duplicate, Message, format_id
from hookbot.protocol.request import Request
from hookbot.protocol.response import Response, error_from, error_response, stored_response
from hookbot.signatures import Reply

ID = format_id("abcdefgh", 1)
PLAIN = Request("POST", b"/pub/foo", (("Accept", "*/*"),))
JSON = Request("POST", b"/pub/foo", (("Accept", "application/json"),))


def everything() -> Iterator[HookbotError]:
    for cls in vars(errors).values():
        if isinstance(cls, type) and issubclass(cls, HookbotError):
            if cls is MethodNotAllowed:
                yield MethodNotAllowed("why", allow="GET")
            elif issubclass(cls, TooManyRequests):
                yield cls("why", retry_after_s=7)
            elif cls is Ended:
                yield Ended(1001, "why")
            else:
                yield cls("why")


def test_a_publish_is_answered_as_the_ancestor_does_and_with_its_id() -> None:
    answer = stored_response(Message("foo", id=ID), json=False)
    assert (answer.status, answer.body) == (200, b"OK\n")
    assert dict(answer.headers) == {"Content-Type": "text/plain; charset=utf-8", "Hookbot-Message-Id": ID}


def test_who_accepts_json_gets_the_id_as_json() -> None:
    answer = stored_response(Message("foo", id=ID), json=True)
    assert json.loads(answer.body) == {"id": ID}
    assert dict(answer.headers) == {"Content-Type": "application/json", "Hookbot-Message-Id": ID}


@pytest.mark.parametrize("json", [False, True])
def test_a_duplicate_is_marked(json: bool) -> None:
    answer = stored_response(Duplicate(ID), json=json)
    assert answer.status == 200
    assert ("Hookbot-Duplicate", "true") in answer.headers
    assert ("Hookbot-Message-Id", ID) in answer.headers


def test_a_challenge_is_answered_by_text_that_no_browser_takes_for_anything_else() -> None:
    assert Reply is Response
    assert Response(b"challenge") == Response(
        b"challenge", 200, (("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff"))
    )


@pytest.mark.parametrize("error", [*everything()], ids=lambda error: type(error).__name__)
def test_an_error_is_one_sentence(error: Any) -> None:
    answer = error_response(error, PLAIN)
    assert (answer.status, answer.body) == (error.status, b"why\n")
    assert answer.headers[0] == ("Content-Type", "text/plain; charset=utf-8")


@pytest.mark.parametrize("error", [*everything()], ids=lambda error: type(error).__name__)
def test_an_error_is_a_problem_for_those_who_accept_json(error: Any) -> None:
    answer = error_response(error, JSON)
    assert answer.headers[0] == ("Content-Type", "application/problem+json")
    assert json.loads(answer.body) == {
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": "why",
    }


def test_a_missing_token_is_answered_as_the_ancestor_does() -> None:
    answer = error_response(Unauthorized(), PLAIN)
    assert (answer.status, answer.body) == (401, b"401 Unauthorized\n")
    assert ("WWW-Authenticate", 'Basic realm="hookbot"') in answer.headers


def test_a_browser_asks_for_no_password_over_a_page_of_the_console() -> None:
    answer = error_response(Unauthorized(), Request("GET", b"/hookbot/v1/session", (("Hookbot-Console", "1"),)))
    assert ("WWW-Authenticate", 'Bearer realm="hookbot"') in answer.headers


@pytest.mark.parametrize(
    ("error", "header"),
    [
        (MethodNotAllowed("no", allow="GET"), ("Allow", "GET")),
        (UpgradeRequired("no"), ("Upgrade", "websocket")),
        (UpgradeRequired("no"), ("Connection", "Upgrade")),
        (TooManyRequests("no", retry_after_s=7), ("Retry-After", "7")),
        (Unavailable("no"), ("Retry-After", "1")),
        (Unavailable("no", retry_after_s=8.2), ("Retry-After", "9")),
    ],
)
def test_an_error_says_what_to_do_instead(error: Any, header: tuple[str, str]) -> None:
    assert header in error_response(error, PLAIN).headers


def test_the_status_of_an_error_can_be_overridden_by_the_place_that_answers() -> None:
    answer = error_response(Unavailable("no"), JSON, status=502)

    assert (answer.status, json.loads(answer.body)["status"]) == (502, 502)


def test_whatever_the_sentence_shows_can_be_sent() -> None:
    assert error_response(HookbotError("half a pair \ud83d"), PLAIN).body == b"half a pair \\ud83d\n"
    assert error_response(HookbotError("half a pair \ud83d"), JSON).body.isascii()


def _statuses() -> dict[int, Any]:
    classes: list[type[HookbotError]] = [errors.Refused, errors.Unavailable]
    for cls in classes:
        classes.extend(sub for sub in cls.__subclasses__() if sub.__module__ == "hookbot.errors")
    return {cls.status: cls for cls in reversed(classes)}


@pytest.mark.parametrize(("status", "cls"), _statuses().items())
def test_every_status_of_a_hub_is_turned_back_into_the_error_that_it_came_from(
    status: int, cls: type[Exception]
) -> None:
    error = error_from(status, {"allow": "GET", "retry-after": "7"}, b"a sentence\n")
    assert isinstance(error, cls)
    assert (error.status, str(error)) == (status, f"{status} a sentence")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"401 Unauthorized\n", "401 Unauthorized"),
        (b'{"title": "Unauthorized", "detail": "no\\nsecond line"}', "401 no"),
        (b'{"title": "Unauthorized"}', "401 Unauthorized"),
        (b"{", "401 Unauthorized"),
        (b'{"detail":' + b"[" * 100_000, "401 Unauthorized"),
        (b'{"detail":' + b"9" * 5000 + b"}", "401 Unauthorized"),
        (b'{"detail": {"a": 1}}', "401 Unauthorized"),
        (b"", "401 Unauthorized"),
        (b"\x1b[31mred\xff", "401 \\x1b[31mred\ufffd"),
        (b"x" * 9999, "401 " + "x" * 300),
    ],
)
def test_an_error_says_one_printable_line(body: bytes, text: str) -> None:
    assert str(error_from(401, {}, body)) == text


def test_what_is_compressed_is_not_told() -> None:
    assert str(error_from(403, {"content-encoding": "gzip"}, b"\x1f\x8b\x08")) == "403 Forbidden"


PROXY = " (from a proxy on the way, not from the hub)"


@pytest.mark.parametrize(
    ("status", "headers", "body", "text"),
    [
        (401, {}, b" <html>nginx", f"401 Unauthorized{PROXY}"),
        (401, {"www-authenticate": 'Basic realm="Restricted"'}, b"no", f"401 no{PROXY}"),
        (401, {"www-authenticate": 'Basic realm="hookbot"'}, b"401 no token", "401 no token"),
        (401, {}, b"401 no token", "401 no token"),
        (403, {}, b"<!DOCTYPE html>", f"403 Forbidden{PROXY}"),
        (405, {}, b"<!DOCTYPE html>", f"405 Method Not Allowed{PROXY}"),
        (407, {}, b"", f"407 Proxy Authentication Required{PROXY}"),
        (502, {}, b"", f"502 Bad Gateway{PROXY}"),
        (503, {}, b"no room", "503 no room"),
        (503, {}, b"<h1>", f"503 Service Unavailable{PROXY}"),
        (504, {}, b"upstream timeout", f"504 upstream timeout{PROXY}"),
        (522, {}, b"<html>", f"522{PROXY}"),
        # Of AWS, when the client has left, and of Cloudflare.
        (460, {}, b"", f"460{PROXY}"),
        (520, {}, b"error code: 520", f"520 error code: 520{PROXY}"),
        (404, {}, b"<html><head><title>404 Not Found</title>", f"404 Not Found{PROXY}"),
        (
            400,
            {},
            b"<html>\r\n<TITLE lang=en>\r\nThe plain HTTP request\x1b was sent to HTTPS port &amp; refused</title>",
            f"400 The plain HTTP request\\x1b was sent to HTTPS port & refused{PROXY}",
        ),
        (403, {}, b"<html><title></title>", f"403 Forbidden{PROXY}"),
    ],
)
def test_what_no_hub_sends_is_said_to_be_a_proxys(status: int, headers: dict[str, str], body: bytes, text: str) -> None:
    assert str(error_from(status, headers, body)) == text
    assert PROXY not in str(error_from(status, headers, body, of_hub=False))


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({"location": "https://hub.example/sub/a?since=1"}, "301 Moved Permanently: use https://hub.example/sub/a"),
        ({}, "301 Moved Permanently: use another address"),
    ],
)
def test_a_redirect_is_an_error_that_names_the_address_without_its_query(headers: dict[str, str], text: str) -> None:
    error = error_from(301, headers, b"")

    assert (type(error), str(error)) == (Refused, text)


@pytest.mark.parametrize("status", [100, 409, 500, 502, 503, 504, 599])
def test_a_status_that_passes_is_worth_another_attempt(status: int) -> None:
    error = error_from(status, {"retry-after": "7"}, b"")

    assert isinstance(error, Lost)
    assert error.retry_after_s == 7


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("9" * 30, 300),
        ("9" * 5000, 300),
        ("0" * 5000 + "9", 9),
        ("0301", 300),
        ("- 1", 0),
        ("7, 7", 0),
        ("-1", 0),
        ("1.5", 0),
        ("\u0663", 0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0),
        ("", 0),
    ],
)
def test_a_delay_is_a_number_of_seconds_and_not_too_long(retry_after: str, seconds: int) -> None:
    error = error_from(429, {"retry-after": retry_after}, b"")

    assert isinstance(error, TooManyRequests)
    assert error.retry_after_s == seconds


@pytest.mark.parametrize(
    ("retry_after", "date", "seconds"),
    [
        ("Fri, 31 Dec 1999 23:59:59 GMT", "Fri, 31 Dec 1999 23:59:52 GMT", 7),
        ("Fri, 31 Dec 1999 23:59:59 GMT", "Fri, 31 Dec 1999 23:00:00 GMT", 300),
        ("Fri, 31 Dec 1999 23:59:59 GMT", "Sat, 01 Jan 2000 00:00:00 GMT", 0),
        ("Friday, 31-Dec-99 23:59:59 GMT", "Fri Dec 31 23:59:52 1999", 0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", "soon", 0),
        ("Fri, 99 Dec 1999 23:59:59 GMT", "Fri, 31 Dec 1999 23:59:52 GMT", 0),
        (f"Fri, 31 Dec {'9' * 5000} 23:59:59 GMT", "Fri, 31 Dec 1999 23:59:52 GMT", 0),
        (f"Fri, 31 Dec {'9' * 30} 23:59:59 GMT", "Fri, 31 Dec 1999 23:59:52 GMT", 0),
    ],
)
def test_a_delay_may_be_a_time_by_the_clock_of_the_server(retry_after: str, date: str, seconds: int) -> None:
    error = error_from(503, {"retry-after": retry_after, "date": date}, b"")

    assert isinstance(error, Lost)
    assert error.retry_after_s == seconds


@pytest.mark.parametrize(("status", "text"), [(499, "499"), (418, "418 I'm a Teapot"), (700, "700")])
def test_an_unknown_status_is_named_by_its_number(status: int, text: str) -> None:
    assert str(error_from(status, {}, b"", of_hub=False)).casefold() == text.casefold()
