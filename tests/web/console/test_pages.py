"""Pages of the console, their static files, and signing in and out."""

import re
from importlib.resources import files
from pathlib import Path

import pytest

from hookbot.access.tokens import make_token
from hookbot.web.console.pages import PAGES
from support import KEY
from support.api import BY_PAGE, audited, narrowed, open_api, sign_in

HTML = {"Accept": "text/html,*/*;q=0.8"}
CONSOLE = files("hookbot.web.console")


async def test_a_browser_is_shown_the_way_to_the_console(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        visit = await hub.http.get("/", headers=HTML)
        program = await hub.http.get("/")
        without_slash = await hub.http.get("/hookbot")

    assert (visit.status_code, visit.headers["Location"]) == (303, "hookbot/")
    assert program.status_code == 404
    assert without_slash.headers["Location"] == "hookbot/"


@pytest.mark.parametrize("page", ["", "listeners", "messages/abcdefgh-000000000000001"])
async def test_who_is_not_signed_in_is_led_there(tmp_path: Path, page: str) -> None:
    async with open_api(tmp_path) as hub:
        shown = await hub.http.get(f"/hookbot/{page}", headers={"Authorization": ""})
        asked = await hub.http.get("/hookbot/sign-in", headers={"Authorization": ""})

    assert shown.status_code == 303
    assert shown.url.join(shown.headers["Location"]).path == "/hookbot/sign-in"
    assert (asked.status_code, "<form" in asked.text) == (200, True)


@pytest.mark.parametrize("path", ["/", "/hookbot/v1/", "/sub/", "/sub/acme/", "/unsafe/sub/acme"])
async def test_who_has_signed_in_sees_each_page_until_signing_out(
    tmp_path: Path, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_api(tmp_path) as hub:
        del hub.http.headers["Authorization"]
        assert (await sign_in(hub.http, path)).status_code == 204

        pages = [await hub.http.get(f"/hookbot/{page}") for page in (*PAGES, "messages/x")]
        for _ in range(2):
            await hub.http.post("/hookbot/sign-out", headers=BY_PAGE)
        after = await hub.http.get("/hookbot/")

    assert {page.status_code for page in pages} == {200}
    assert after.status_code == 303
    by = {"by": path, "client": "127.0.0.1"}
    assert audited(caplog) == [
        ("a session of the console was opened", by),
        ("a session of the console was ended", by),
    ]


async def test_the_cookie_is_for_this_hub_alone(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        plain = (await sign_in(hub.http, "/")).headers["Set-Cookie"]
        encrypted = (await sign_in(hub.http, "/", {"X-Forwarded-Proto": "https"})).headers["Set-Cookie"]

    assert re.fullmatch(r"hookbot=[\w-]+; Expires=[^;]+; Max-Age=43200; HttpOnly; Path=/; SameSite=Strict", plain)
    assert encrypted.startswith("__Host-hookbot=")
    assert "; Secure;" in encrypted
    assert "Domain" not in encrypted


@pytest.mark.parametrize(
    ("token", "path", "status", "text"),
    [
        (make_token(KEY, "/pub/a"), "/pub/a", 403, "the token opens nothing that the console shows"),
        (make_token(KEY, "/sub/a"), "", 401, "401 Unauthorized: the token is for another path"),
        (make_token("another key", "/"), "/", 401, "401 Unauthorized: the token is for another path"),
        (narrowed("/sub/a", live="1"), "", 403, "this token shows only a part of the messages"),
    ],
)
async def test_a_token_that_opens_nothing_is_refused_with_the_reason(
    tmp_path: Path, token: str, path: str, status: int, text: str
) -> None:
    async with open_api(tmp_path) as hub:
        headers = {**BY_PAGE, "Authorization": f"Bearer {token}"}
        answer = await hub.http.post("/hookbot/sign-in", params={"path": path}, headers=headers)

    assert (answer.status_code, answer.text[: len(text)]) == (status, text)
    assert "Set-Cookie" not in answer.headers


async def test_another_page_can_neither_sign_in_nor_out(tmp_path: Path) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site", "Origin": "https://other.example"}
    async with open_api(tmp_path) as hub:
        entered = await sign_in(hub.http, "/", foreign)
        left = await hub.http.post("/hookbot/sign-out", headers=foreign)

    assert (entered.status_code, left.status_code) == (403, 403)


async def test_signing_out_ends_what_began_with_tls_and_without(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        left = await hub.http.post("/hookbot/sign-out", headers=BY_PAGE)

    ended = left.headers.get_list("Set-Cookie")
    assert [one.partition(";")[0] for one in ended] == ["hookbot=", "__Host-hookbot="]
    assert all("Max-Age=0" in one for one in ended)


async def test_signing_in_again_takes_the_place_of_the_session_before(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        del hub.http.headers["Authorization"]
        await sign_in(hub.http, "/sub/acme/")
        for path in ("/", "/", "/", "/", "/", "/"):
            again = await sign_in(hub.http, path)

    assert again.headers["Set-Cookie"].partition(";")[0].count(".") == 1


async def test_the_path_of_a_token_is_no_longer_than_that_of_a_topic(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        answer = await hub.http.post("/hookbot/sign-in", params={"path": "/a" * 1000}, headers=BY_PAGE)

    assert (answer.status_code, answer.text[:13]) == (400, "no token has ")


async def test_a_second_token_is_added_to_the_session(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        del hub.http.headers["Authorization"]
        await sign_in(hub.http, "/sub/acme/")
        await sign_in(hub.http, "/pub/acme/")

        session = (await hub.http.get("/hookbot/v1/session")).json()
        asked = (await hub.http.get("/hookbot/sign-in")).text

    assert (session["sees"], session["publishes"]) == (["acme/"], ["acme/"])
    assert ("<h1>Add a token</h1>" in asked, "Sign out" in asked) == (True, True)


async def test_guesses_at_a_token_are_counted(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        del hub.http.headers["Authorization"]
        wrong = {**BY_PAGE, "Authorization": f"Bearer {'a' * 40}"}
        answers = [(await hub.http.post("/hookbot/sign-in", headers=wrong)).status_code for _ in range(150)]

    assert set(answers) == {401, 429}


async def test_pages_run_and_show_nothing_but_what_the_hub_has(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        page = await hub.http.get("/hookbot/sign-in")

    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")
    assert (page.headers["Referrer-Policy"], page.headers["Cache-Control"]) == ("no-referrer", "no-store")


@pytest.mark.parametrize("file", sorted(one.name for one in (CONSOLE / "static").iterdir()))
async def test_a_static_file_is_sent_once(tmp_path: Path, file: str) -> None:
    async with open_api(tmp_path) as hub:
        first = await hub.http.get(f"/hookbot/static/{file}")
        again = await hub.http.get(f"/hookbot/static/{file}", headers={"If-None-Match": first.headers["ETag"]})

    assert first.content == (CONSOLE / "static" / file).read_bytes()
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["static/nothing.js", "static/..%2fpages.py", "nothing", "static/"])
async def test_what_is_not_there_is_not_found(tmp_path: Path, path: str) -> None:
    async with open_api(tmp_path) as hub:
        assert (await hub.http.get(f"/hookbot/{path}")).status_code in (400, 404)


async def test_a_hub_can_do_without(tmp_path: Path) -> None:
    async with open_api(tmp_path, console=False) as hub:
        answers = [await hub.http.get(path, headers=HTML) for path in ("/", "/hookbot/", "/hookbot/sign-in")]
        api = await hub.http.get("/hookbot/v1/session")

    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert api.status_code == 200


@pytest.mark.parametrize("template", sorted(one.name for one in (CONSOLE / "templates").iterdir()))
def test_a_page_links_relatively_and_runs_nothing_inline(template: str) -> None:
    text = (CONSOLE / "templates" / template).read_text()

    assert not re.search(r'(href|src|action)="(/|https?:)', text)
    assert not re.search(r'<script(?![^>]* src=)|<style|\sstyle="|\son\w+="', text)


@pytest.mark.parametrize("file", sorted(one.name for one in (CONSOLE / "static").iterdir() if one.name.endswith(".js")))
def test_a_module_makes_no_html_of_text(file: str) -> None:
    text = (CONSOLE / "static" / file).read_text()

    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text)
