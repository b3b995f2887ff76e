"""Operations of the API: who may ask, with which parameters."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hookbot.access.scope import Scope
from hookbot.errors import Refused
from hookbot.protocol.request import Request
from hookbot.protocol.topics import EVERYTHING
from hookbot.web.api.operations import Asked
from support.api import BY_PAGE, bearer, open_api, sign_in

CURSORS = "/hookbot/v1/cursors"
MOVE = {"path": "/sub/acme/x", "name": "c", "since": "now"}


def asked(query: str) -> Asked:
    plain = Request("GET", f"/hookbot/v1/x?{query}".encode(), ())
    return Asked(plain, Scope(EVERYTHING, True, lambda action, path: None, (), ()), plain.parameters)


@pytest.mark.parametrize("query", ["", "a="])
def test_a_parameter_can_be_needed(query: str) -> None:
    assert asked("a=1").need("a") == "1"
    with pytest.raises(Refused, match=r"the query parameter a is missing; add \?a="):
        asked(query).need("a")


def test_a_parameter_is_one_of_some_words() -> None:
    assert asked("").one_of("a", ["x", "y"], "y") == "y"
    with pytest.raises(Refused, match="a has to be x or y, not 'z'"):
        asked("a=z").one_of("a", ["x", "y"], "y")


def test_a_parameter_may_need_no_value() -> None:
    assert [asked(query).has("a") for query in ("a", "a=", "a=true", "b")] == [True, True, True, False]
    with pytest.raises(Refused, match="a has to be true, or without a value, not 'false'"):
        asked("a=false").has("a")


@pytest.mark.parametrize("text", ["0", "51", "-1", "1.5", "\u0663", "9" * 5000, "x"])
def test_a_parameter_is_a_number_within_bounds(text: str) -> None:
    assert (asked("").number("a", 7, most=50), asked("a=50").number("a", 7, most=50)) == (7, 50)
    with pytest.raises(Refused, match="a has to be a whole number from 1 to 50"):
        asked(f"a={text}").number("a", 7, most=50)


async def test_a_session_asks_like_a_token(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        del hub.http.headers["Authorization"]
        await sign_in(hub.http, "/sub/acme/")

        seen = (await hub.http.get("/hookbot/v1/session")).json()

    assert (seen["sees"], seen["operator"]) == (["acme/"], False)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 403),
        ({"Hookbot-Console": "1"}, 403),
        ({**BY_PAGE, "Sec-Fetch-Site": "cross-site"}, 403),
        ({**BY_PAGE, "Sec-Fetch-Site": "same-site"}, 403),
        ({"Hookbot-Console": "1", "Origin": "http://other.example"}, 403),
        (BY_PAGE, 404),
        (bearer("/"), 404),
    ],
)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_only_a_page_of_the_hub_changes_something_with_a_session(
    tmp_path: Path, method: str, headers: Mapping[str, str], status: int
) -> None:
    async with open_api(tmp_path) as hub:
        del hub.http.headers["Authorization"]
        await sign_in(hub.http, "/")
        named: dict[str, Any] = {name: MOVE[name] for name in (MOVE if method == "POST" else ("path", "name"))}

        answer = await hub.http.request(method, CURSORS, params=named, headers=headers)

    assert answer.status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        # Such as a page on another port, for which a browser adds the cookie.
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://other.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site", **bearer("/")}, 200),
    ],
)
async def test_no_other_page_asks_anything_with_a_session(
    tmp_path: Path, headers: Mapping[str, str], status: int
) -> None:
    async with open_api(tmp_path) as hub:
        del hub.http.headers["Authorization"]
        await sign_in(hub.http, "/")

        answer = await hub.http.get("/hookbot/v1/session", headers=headers)

    assert answer.status_code == status
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


async def test_what_is_shown_may_not_be_kept_or_sniffed(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        answers = [await hub.http.get(f"/hookbot/v1/{path}") for path in ("session", "nothing", "messages/x")]

    for answer in answers[:1] + answers[2:]:
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
