"""The refusals that are kept in memory and logged: which, how many, and nothing secret of them."""

import logging
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hookbot.access.refusals import LINES, MAX_OF_NETWORK, MAX_REASON, MAX_REFUSALS, Refusal, Refusals
from hookbot.access.request_fields import MAX_PATH
from hookbot.access.sources import Source, Sources
from hookbot.access.tokens import make_token
from hookbot.hub.logging_setup import fields_of
from hookbot.log.trusted_clock import TrustedClock
from hookbot.protocol.request import Request
from hookbot.signatures import load_provider
from support.clock import Clock

GITHUB = Source("/unsafe/github.com/", load_provider("github"), ["secret"])
TOKEN = make_token("key", "/pub/a")


@pytest.fixture
def passed() -> Clock:
    """The time that has passed, in a clock that confirms the wall clock."""
    clock = Clock()
    clock.now_us = 7_000_000
    return clock


@pytest.fixture
def refusals(passed: Clock) -> Refusals:
    return Refusals(Sources([GITHUB]).find, TrustedClock(lambda: 42_000_000, passed))


@pytest.fixture(autouse=True)
def informed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hookbot")


def given(record: logging.LogRecord) -> dict[str, Any]:
    """The fields of a record."""
    return dict(fields_of(record))


def request(target: str = "/pub/a", client: str = "192.0.2.1", method: str = "POST", **headers: str) -> Request:
    sent = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Request(method, target.encode(), sent, client)


def only(refusals: Refusals) -> Refusal:
    [refusal] = refusals.newest()
    return refusal


def paths(refusals: Refusals, before: int | None = None) -> list[str]:
    return [refusal.path for refusal in refusals.newest(before)]


def test_a_refusal_tells_who_was_refused_what_and_why(refusals: Refusals) -> None:
    delivery = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
    refusals.note(request("/unsafe/pub/github.com/b%20c?a=b", X_GitHub_Delivery=delivery), "no signature", 401)

    refusal = only(refusals)

    assert (refusal.status, refusal.reason, refusal.method) == (401, "no signature", "POST")
    assert (refusal.path, refusal.topic) == ("/unsafe/pub/github.com/b c", "/unsafe/github.com/b c")
    assert (refusal.client, refusal.provider, refusal.delivery) == ("192.0.2.1", "github", delivery)
    assert (refusal.number, refusal.first, refusal.count, refusal.time_us, refusal.last_us) == (
        1,
        1,
        1,
        42_000_000,
        42_000_000,
    )


@pytest.mark.parametrize(
    ("target", "topic"),
    [
        ("/pub/a/b", "a/b"),
        ("/a/b", "a/b"),
        ("/sub/", ""),
        ("/sub/a/", "a/"),
        ("/sub/a%3Frecursive", "a"),
        ("/unsafe/sub/a", "/unsafe/a"),
        ("/", None),
        ("/metrics", None),
        ("/pub/a//b", None),
        ("/pub/%ff", None),
        ("/pub/" + "a/" * 3000, None),
        ("", None),
    ],
)
def test_the_topic_is_that_which_the_path_names(refusals: Refusals, target: str, topic: str | None) -> None:
    refusals.note(request(target), "no", 401)

    assert only(refusals).topic == topic


def test_a_path_that_cannot_be_decoded_is_shown_as_it_was_sent(refusals: Refusals) -> None:
    refusals.note(Request("GET", b"/pub/%ff\xff", ()), "invalid", 400)

    assert only(refusals).path == "/pub/%ff\\xff"


def test_repeated_requests_of_a_network_are_one_refusal_which_moves_to_the_front(refusals: Refusals) -> None:
    for client in ("2001:db8::1", "2001:db8::2"):
        refusals.note(request(client=client), "no", 401)
        refusals.note(request("/pub/b", client=client), "no", 401)
    refusals.note(request(client="2001:db8:0:1::1"), "no", 401)
    refusals.note(request(client="2001:db8::3"), "no", 401)
    refusals.note(request(client="2001:db8::3"), "no", 403)
    refusals.note(request(client="2001:db8::3"), "another", 403)

    told = [(one.number, one.first, one.path, one.status, one.count) for one in refusals.newest()]

    assert told == [
        (8, 8, "/pub/a", 403, 1),
        (7, 7, "/pub/a", 403, 1),
        (6, 1, "/pub/a", 401, 3),
        (5, 5, "/pub/a", 401, 1),
        (4, 2, "/pub/b", 401, 2),
    ]
    assert [one.number for one in refusals.newest(6)] == [5, 4]


def test_a_flood_of_one_network_displaces_only_its_own(refusals: Refusals) -> None:
    refusals.note(request("/pub/mine", "192.0.2.1"), "no", 401)
    for number in range(2 * MAX_REFUSALS):
        refusals.note(request(f"/pub/{number}", "198.51.100.1"), "no", 401)

    kept = paths(refusals)
    assert len(kept) == 1 + MAX_OF_NETWORK
    assert kept[0] == f"/pub/{2 * MAX_REFUSALS - 1}"
    assert kept[-1] == "/pub/mine"


def test_all_together_are_bounded_and_the_oldest_goes_first(refusals: Refusals) -> None:
    for number in range(MAX_REFUSALS + 2):
        refusals.note(request(f"/pub/{number}", f"10.0.{number // 250}.{number % 250}"), "no", 401)

    assert paths(refusals)[-1] == "/pub/2"
    assert len(paths(refusals)) == MAX_REFUSALS
    # Who was forgotten may come again.
    refusals.note(request("/pub/0", "10.0.0.0"), "no", 401)
    assert (len(paths(refusals)), paths(refusals)[0], len(refusals._of_network)) == (MAX_REFUSALS, "/pub/0", 1000)


@pytest.mark.parametrize(
    "target",
    [
        f"/pub/{TOKEN}",
        f"/pub/a?token={TOKEN}",
        f"https://{TOKEN}@hub.example.com/pub/a",
        f"/https://{TOKEN}@hub.example.com/pub/a",
        f"/https:%2F%2Fuser:{TOKEN}@hub.example.com/pub/a",
        f"/pub/a%3Ftoken={TOKEN}",
        "/pub/" + "a" * (MAX_PATH - 25) + f"/{TOKEN}",
        "/pub/" + "a" * (2 * MAX_PATH - 25) + f"/{TOKEN}",
    ],
)
def test_no_token_is_kept_or_logged_whatever_part_of_a_request_it_is_in(
    refusals: Refusals, caplog: pytest.LogCaptureFixture, target: str
) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "X_Hub_Signature": f"sha1={TOKEN}"}
    refusals.note(request(target, **headers), f"invalid path {target[:100]!r}", 400)

    refusal = only(refusals)
    shown = f"{refusal.path} {refusal.reason} {refusal.method} {refusal.client} {refusal.delivery}"
    assert TOKEN[:25] not in shown
    assert [TOKEN[:25] in f"{record.getMessage()} {given(record)}" for record in caplog.records] == [False]
    assert TOKEN not in str(list(refusals._all))


def test_what_a_client_sends_is_clipped(refusals: Refusals) -> None:
    refusals.note(request("/pub/" + "a/" * 500, method="M" * 999), "because " * 100, 400)

    refusal = only(refusals)
    assert (len(refusal.path), len(refusal.reason), len(refusal.method)) == (MAX_PATH, MAX_REASON, 16)
    assert refusal.path.endswith("…")


@pytest.mark.parametrize(("status", "noted"), [(401, 1), (403, 1), (429, 1), (400, 0), (404, 0), (500, 0)])
def test_of_the_hubs_own_api_only_those_are_noted_who_may_have_guessed(
    refusals: Refusals, status: int, noted: int
) -> None:
    refusals.note(request("/hookbot/v1/cursors"), "no", status)

    assert len(paths(refusals)) == noted


def test_refused_publishes_to_a_source_are_counted_there_also_repeated_ones(refusals: Refusals) -> None:
    before = GITHUB.activity.refused
    for target in ("/unsafe/pub/github.com/a", "/unsafe/pub/github.com/a", "/unsafe/sub/github.com/a", "/pub/a"):
        refusals.note(request(target), "no", 401)
    refusals.note(request("/unsafe/pub/github.com/a", method="GET"), "GET is not allowed", 405)

    assert (GITHUB.activity.refused - before, GITHUB.activity.last_refused_s, GITHUB.activity.why) == (2, 7, "no")


async def test_who_waits_gets_what_is_new_and_what_was_repeated_oldest_first(
    refusals: Refusals, nursery: trio.Nursery
) -> None:
    told: list[tuple[int, str, int]] = []

    async def follow() -> None:
        while True:
            number = told[-1][0] if told else refusals.number
            await refusals.wait_after(number)
            told.extend((one.number, one.path, one.count) for one in refusals.after(number))

    refusals.note(request("/pub/a"), "no", 401)
    nursery.start_soon(follow)
    await wait_all_tasks_blocked()
    assert told == []

    for target in ("/pub/b", "/pub/c", "/pub/a"):
        refusals.note(request(target), "no", 401)
    await wait_all_tasks_blocked()
    refusals.note(request("/pub/c"), "no", 401)
    await wait_all_tasks_blocked()
    assert told == [(2, "/pub/b", 1), (3, "/pub/c", 1), (4, "/pub/a", 2), (5, "/pub/c", 2)]
    nursery.cancel_scope.cancel()


# --- the log


def test_a_refusal_is_logged_with_the_delivery_and_what_else_tells_it_from_others(
    refusals: Refusals, caplog: pytest.LogCaptureFixture
) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    for delivery in ("72d3162e", "72d3162f"):
        sent = {"X_GitHub_Delivery": delivery, "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        refusals.note(request("/unsafe/pub/github.com/a?b=c", **sent), "no signature", 401)

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "refused: no signature")
    ] * 2
    assert given(caplog.records[1]) == {
        "status": 401,
        "method": "POST",
        "path": "/unsafe/pub/github.com/a",
        "topic": "/unsafe/github.com/a",
        "client": "192.0.2.1",
        "trace_id": trace,
        "provider": "github",
        "delivery": "72d3162f",
    }


def test_of_a_flood_a_bounded_number_is_logged_of_each_status_and_then_how_many_were_left_out(
    refusals: Refusals, caplog: pytest.LogCaptureFixture, passed: Clock
) -> None:
    for number in range(50):
        refusals.note(request(f"/pub/{number}"), "no", 401)
    refusals.note(request(), "no", 403)
    passed.skip(seconds=1)
    refusals.note(request(), "no", 401)

    assert len(caplog.records) == LINES.count + 2
    assert [record.__dict__["more"] for record in caplog.records[-2:]] == [0, 50 - LINES.count]


def test_nothing_is_logged_below_the_level(refusals: Refusals, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "hookbot")
    refusals.note(request(), "no", 401)
    assert caplog.records == []
