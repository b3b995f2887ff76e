"""Tokens, narrowed from those of a request."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from hookbot.access.tokens import make_token
from support import KEY
from support.api import BY_PAGE, audited, bearer, narrowed, open_api, sign_in
from support.hubs import WholeHub

TOKENS = "/hookbot/v1/tokens"


async def make(hub: WholeHub, path: str, of: str = "/", **parameters: Any) -> httpx.Response:
    return await hub.http.post(TOKENS, params={"path": path, **parameters}, headers=bearer(of))


async def test_a_token_publishes_where_it_was_made_for_and_nowhere_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_api(tmp_path) as hub:
        made = (await make(hub, "/pub/acme/", name="ann", expires="1h")).json()
        headers = {"Authorization": f"Bearer {made['token']}"}

        published = await hub.http.post("/pub/acme/x", headers=headers)
        elsewhere = await hub.http.post("/pub/other", headers=headers)

    assert (published.status_code, elsewhere.status_code) == (200, 401)
    assert made["url"] == f"{hub.running.url.replace('//', '//' + made['token'] + '@')}/pub/acme/"
    of_it = {"path": "/pub/acme/", "token_name": "ann", "expires": made["expires"]}
    assert audited(caplog) == [("a token was made", {"by": "/", "client": "127.0.0.1", **of_it})]
    assert made["token"] not in caplog.text


async def test_the_url_of_a_subscription_is_that_of_a_websocket(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        made = (await make(hub, "/sub/acme", of="/sub/")).json()

    assert made["url"].startswith("ws://")
    assert made["expires"] is None


@pytest.mark.parametrize(
    ("of", "path", "status"),
    [
        ("/sub/acme/", "/sub/acme/x", 200),
        ("/sub/acme/", "/sub/", 403),
        ("/sub/acme/", "/sub/other", 403),
        ("/sub/acme/", "/pub/acme/x", 403),
        ("/hookbot/v1/", "/sub/acme/x", 403),
        ("/", "/hookbot/v1/", 400),
        ("/", "/", 400),
        ("/", "/metrics", 400),
        ("/", "/sub/a//b", 400),
        ("/", "/sub/a\x00", 400),
    ],
)
async def test_a_token_is_never_wider(tmp_path: Path, of: str, path: str, status: int) -> None:
    async with open_api(tmp_path) as hub:
        answer = await make(hub, path, of)

    assert answer.status_code == status


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"name": "a b"}, "a token cannot be narrowed to name=a b\n"),
        ({"expires": "soon"}, "not a duration such as 90s, 10m, 2h or 7d: 'soon'\n"),
        ({"expires": "0s"}, "the token would have ended already; give a duration such as 24h\n"),
    ],
)
async def test_a_wrong_parameter_is_refused(tmp_path: Path, parameters: dict[str, str], text: str) -> None:
    async with open_api(tmp_path) as hub:
        answer = await make(hub, "/pub/acme", **parameters)

    assert (answer.status_code, answer.text) == (400, text)


async def test_a_token_cannot_outlast_the_one_that_it_is_made_of(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        headers = {"Authorization": f"Bearer {narrowed('/sub/', expires='4102444800')}"}
        made = await hub.http.post(TOKENS, params={"path": "/sub/a", "expires": "99999d"}, headers=headers)

    assert made.json()["expires"] == "2100-01-01T00:00:00.000000Z"


async def test_a_token_made_in_the_console_outlasts_the_session(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        del hub.http.headers["Authorization"]
        await sign_in(hub.http, "/sub/acme/")

        made = await hub.http.post(TOKENS, params={"path": "/sub/acme/x"}, headers=BY_PAGE)

    assert made.json()["expires"] is None


@pytest.mark.parametrize(
    ("token", "expires"),
    [
        (narrowed("/sub/acme/", expires="4102444800"), "2100-01-01T00:00:00.000000Z"),
        (make_token(KEY, "/sub/acme/"), None),
    ],
)
async def test_a_token_in_the_cookie_is_no_more_than_itself(tmp_path: Path, token: str, expires: str | None) -> None:
    async with open_api(tmp_path) as hub:
        del hub.http.headers["Authorization"]
        made = await hub.http.post(
            TOKENS, params={"path": "/sub/acme/x"}, headers={**BY_PAGE, "Cookie": f"hookbot={token}"}
        )

    assert made.json()["expires"] == expires


async def test_a_token_ends_no_later_than_times_can_be_written(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        made = (await make(hub, "/sub/acme/", expires="9999999d")).json()
        seen = await hub.http.get("/hookbot/v1/session", headers={"Authorization": f"Bearer {made['token']}"})

    assert (made["expires"], seen.json()["expires"]) == ("9999-12-31T23:59:59.000000Z",) * 2
