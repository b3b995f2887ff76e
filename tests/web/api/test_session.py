"""What the tokens of a request open."""

from pathlib import Path

import pytest

from hookbot.access.tokens import make_token
from hookbot.version import __version__
from support import KEY
from support.api import narrowed, open_api


@pytest.mark.parametrize(
    ("token", "sees", "publishes", "operator"),
    [
        (narrowed("/"), ["", "/unsafe/"], ["", "/unsafe/"], True),
        (make_token(KEY, "/"), ["", "/unsafe/"], ["", "/unsafe/"], True),
        (narrowed("/hookbot/v1/"), ["", "/unsafe/"], [], True),
        (narrowed("/sub/acme/"), ["acme/"], [], False),
        (narrowed("/acme/"), ["acme/"], ["acme/"], False),
        (make_token(KEY, "/sub/"), [""], [], False),
    ],
)
async def test_a_token_tells_what_it_opens(
    tmp_path: Path, token: str, sees: list[str], publishes: list[str], operator: bool
) -> None:
    async with open_api(tmp_path) as hub:
        answer = await hub.http.get("/hookbot/v1/session", headers={"Authorization": f"Bearer {token}"})

    session = answer.json()
    assert (session["sees"], session["publishes"], session["operator"]) == (sees, publishes, operator)
    assert (session["version"], session["url"]) == (__version__, hub.running.url)


@pytest.mark.parametrize(
    ("prefixes", "path", "unsafe"),
    [
        (("",), "/", ["/unsafe/hookbot/", "/unsafe/"]),
        ((), "/", ["/unsafe/hookbot/"]),
        (("dev", "stripe"), "/unsafe/sub/dev/ann/", ["/unsafe/dev/"]),
        (("",), "/sub/acme/", []),
    ],
)
async def test_which_unsafe_topics_there_are_is_told_to_those_who_see_them(
    tmp_path: Path, prefixes: tuple[str, ...], path: str, unsafe: list[str]
) -> None:
    async with open_api(tmp_path, unsafe_prefixes=prefixes) as hub:
        answer = await hub.http.get("/hookbot/v1/session", headers={"Authorization": f"Bearer {narrowed(path)}"})

    assert answer.json()["unsafe"] == unsafe


async def test_names_and_the_end_of_a_token_are_told(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        token = narrowed("/sub/acme/", name="ann", expires="4102444800")
        answer = await hub.http.get("/hookbot/v1/session", headers={"Authorization": f"Bearer {token}"})

    assert (answer.json()["names"], answer.json()["expires"]) == (["ann"], "2100-01-01T00:00:00.000000Z")
