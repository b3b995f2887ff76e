"""``hookbot tunnel``: a URL for senders that leads to a server of this machine."""

import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

import hookbot.testing
from hookbot.access.narrowed_tokens import NarrowedToken
from hookbot.access.tokens import make_token
from hookbot.cli.tunnel import _public_url
from hookbot.client.profiles import Profile, change_profiles, profiles_file
from hookbot.testing.hub import TestHub
from support import KEY
from support.commands import Caller, Process, starting
from support.hubs import ThreadHub, open_whole_hub
from support.targets import target
from support.tmux import HOOKBOT, needs_tmux, terminal

Start = Callable[..., Awaitable[Process]]


@pytest.fixture(autouse=True)
def home(environment: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty home."""
    environment.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    async with starting() as start:
        yield start


def log_in(url: str, path: str = "/", name: str = "hub", key: str = hookbot.testing.KEY) -> None:
    token = str(NarrowedToken.of(make_token(key, path), path))
    change_profiles(profiles_file(), lambda profiles: profiles.using(Profile(name, url, token)))


async def open_tunnel(start: Start, *words: Any, **options: Any) -> tuple[Process, str]:
    """A tunnel that is open, and its URL."""
    process = await start("tunnel", *words, **options)
    await process.until("listening to")
    return process, process.out.decode().strip()


async def post(url: str, body: bytes, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.post(url, content=body, headers=headers)


async def test_what_is_posted_to_its_url_reaches_the_server_and_waits_while_it_is_closed(
    hub: TestHub, start: Start
) -> None:
    log_in(hub.url)
    async with target() as server:
        process, url = await open_tunnel(start, server.url.replace("http://127.0.0.1:", ""))
        assert (await post(f"{url}?q=1", b"1", **{"X-Signature": "s"})).text == "OK\n"
        await server.arrived(1)
        assert await process.interrupted() == 130
        await post(url, b"2")

        _, again = await open_tunnel(start, f"localhost:{server.port}/other")

        assert await server.arrived(2) == [b"1", b"2"]
        assert again == url, "it is that of the port"
        assert [request.target for request in server.requests] == [b"/hook?q=1", b"/other"]
        assert server.requests[0].all("X-Signature") == ["s"]


async def test_what_came_before_the_first_connection_is_not_lost(hub: TestHub, start: Start) -> None:
    log_in(hub.url)
    async with target(503) as server:
        process, url = await open_tunnel(start, server.url)
        await post(url, b"1")
        await process.until("trying again in")
        await process.interrupted()
        await open_tunnel(start, server.url)
        assert await server.arrived(2) == [b"1", b"1"]


async def test_the_url_cannot_be_guessed_and_differs_by_port_hub_and_user(
    hub: TestHub, start: Start, tmp_path: Path
) -> None:
    log_in(hub.url)
    other_user = {**os.environ, "HOOKBOT_DATA_DIR": str(tmp_path / "other")}
    urls = [
        (await open_tunnel(start, *words, **options))[1]
        for words, options in [(["3000"], {}), (["3001"], {}), (["unix:/run/a"], {}), (["3000"], {"env": other_user})]
    ]

    assert len(set(urls)) == 4
    assert all(url.startswith(f"{hub.url}/unsafe/pub/tunnel/") for url in urls)
    assert {len(url.rpartition("/")[2]) for url in urls} == {26}
    assert (tmp_path / "data" / "tunnel-secret").stat().st_mode & 0o777 == 0o600


async def test_it_is_explained(hub: TestHub, start: Start) -> None:
    log_in(hub.url)
    process, _ = await open_tunnel(start, "3000", "--provider", "twilio")
    said = process.err.decode()
    assert "leads to http://localhost:3000/; what comes while no tunnel is open is delivered at the next start" in said
    assert "only programs on this machine reach 127.0.0.1" in said
    assert "twilio is described at https://www.twilio.com/" in said
    assert "it signs the URL: verify its signatures with the one above" in said


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        ("gitlab", "the hub does not store its X-Gitlab-Token: add that with --header 'X-Gitlab-Token: ...'"),
        ("slack", "if it tries the URL with a challenge first, that needs a [[sources]] section for /unsafe/tunnel/"),
    ],
)
async def test_what_a_sender_needs_is_told(hub: TestHub, start: Start, provider: str, said: str) -> None:
    log_in(hub.url)
    process, _ = await open_tunnel(start, "3000", "--provider", provider)
    assert said in process.err.decode()


async def test_a_sender_gets_the_answer_of_the_server(start: Start, tmp_path: Path) -> None:
    async with open_whole_hub(tmp_path, reply_prefixes=("/unsafe/tunnel/",)) as whole, target(418) as server:
        log_in(whole.running.url, key=KEY)
        process, url = await open_tunnel(start, server.url, "--reply")

        assert (await post(url, b"1")).status_code == 418

    assert url.endswith("?reply")
    assert "the hub allows that if started with --reply /unsafe/tunnel/" in process.err.decode()


async def test_nothing_is_explained_to_who_wants_quiet(hub: TestHub, start: Start) -> None:
    log_in(hub.url)
    process = await start("tunnel", "--quiet", "3000")
    await process.until("/unsafe/pub/tunnel/", "out")
    assert process.err == b""


@pytest.mark.parametrize(
    ("path", "beginning"),
    [
        ("/unsafe/sub/dev/ann/", "/unsafe/pub/dev/ann/"),
        ("/unsafe/", "/unsafe/pub/tunnel/"),
        ("/dev/ann/", "/pub/dev/ann/"),
    ],
)
async def test_it_is_where_the_token_of_the_profile_opens_a_place(
    hub: TestHub, start: Start, path: str, beginning: str
) -> None:
    log_in(hub.url, path)
    async with target() as server:
        _, url = await open_tunnel(start, server.url)
        assert (await post(url, b"1")).status_code == 200
        assert await server.arrived(1) == [b"1"]
    parts = urlsplit(url)
    assert parts.path.startswith(beginning)
    # It opens no more than that.
    narrowest = NarrowedToken.parse(parts.username).narrowest if parts.username else None
    assert narrowest == (parts.path if beginning.startswith("/pub/") else None)


async def test_a_hub_without_unsafe_topics_has_urls_with_a_token(start: Start, tmp_path: Path) -> None:
    async with open_whole_hub(tmp_path, unsafe_prefixes=()) as whole, target() as server:
        log_in(whole.running.url, key=KEY)
        process, url = await open_tunnel(start, server.url)

        assert (await post(url, b"1")).status_code == 200
        assert await server.arrived(1) == [b"1"]

    assert "@127.0.0.1:" in url
    assert "/pub/tunnel/" in url
    assert (
        "has a token as its user name, which the sender has to send as HTTP Basic credentials" in process.err.decode()
    )


async def test_the_url_is_the_public_one_of_the_hub(start: Start, tmp_path: Path) -> None:
    async with open_whole_hub(tmp_path, public_url="https://hooks.example.com/in") as whole:
        log_in(whole.running.url, key=KEY)
        process, url = await open_tunnel(start, "3000")
    assert url.startswith("https://hooks.example.com/in/unsafe/pub/tunnel/")
    assert "only programs on this machine" not in process.err.decode()


@pytest.mark.slow
@needs_tmux
async def test_on_a_terminal_it_shows_its_url_and_what_comes(hub: TestHub, home: Path) -> None:
    log_in(hub.url)
    pane_of = partial(terminal, 120, XDG_CONFIG_HOME=str(home), HOOKBOT_DATA_DIR=str(home / "data"))
    async with target() as server, pane_of() as pane:
        await pane.type(f"clear; {HOOKBOT} tunnel {server.port}")
        shown = await pane.until("tunnel  http://", "listening to", "0 done")
        [url] = set(re.findall(r"tunnel  (http://\S+)", shown))
        await post(url, b"1", **{"Content-Type": "text/plain"})
        await server.arrived(1)
        await pane.until("1 done", " 204 ")
        await pane.press("q")
        # What it had printed before is there again.
        await pane.until(url, "leads to", "ready>", without="1 done")


# -- when there is none


def test_a_token_that_only_listens_opens_no_tunnel(thread: ThreadHub, call: Caller) -> None:
    log_in(thread.url, "/sub/acme/", "acme")
    code, out, err = call("tunnel", "3000")
    assert (code, out) == (3, b"")
    assert "the token of the profile 'acme' opens no place for a tunnel: that takes one for /unsafe/sub/NAME/" in err


def test_who_has_no_hub_is_told_in_two_lines_how_to_get_one(call: Caller) -> None:
    code, out, err = call("tunnel", "3000")
    assert (code, out) == (2, b"")
    assert err.splitlines() == [
        "hookbot: there is no profile, and no hub on this machine: log in with `hookbot login https://hub.example.com`",
        "or start a hub here, with `hookbot serve`; a whole URL, which begins with https://, needs neither",
    ]


def test_a_hub_that_is_not_there_is_told(call: Caller) -> None:
    log_in("http://127.0.0.1:1")
    assert call("tunnel", "3000")[0] == 4


def test_options_of_forward_are_those_of_a_tunnel(call: Caller) -> None:
    shown = call("tunnel", "--help")[1].decode()
    assert {"--header", "--timeout", "--max-attempts", "--where", "--profile", "--sign", "--no-live"} <= set(
        shown.replace(",", " ").split()
    )
    assert not {"--cursor", "--group", "--since", "--unsafe"} & set(shown.replace(",", " ").split())


@pytest.mark.parametrize(
    ("told", "url"),
    [
        ("http://hub.example.com", "https://hub.example.com"),
        ("https://hooks.example.com", "https://hooks.example.com"),
        ("", "https://hub.example.com"),
    ],
)
def test_a_hub_that_does_not_know_of_tls_in_front_of_it_is_not_believed(told: str, url: str) -> None:
    assert _public_url(Profile("hub", "https://hub.example.com", "t"), {"url": told}) == url
