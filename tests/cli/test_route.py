"""``hookbot route`` and ``hookbot route-github``."""

from pathlib import Path
from typing import Any

import pytest
import trio
from click.core import Command
from click.testing import CliRunner

from hookbot.cli.route import route, route_github
from hookbot.testing import KEY, signed_delivery
from support.commands import Caller, running, signalled_after
from support.hubs import ThreadHub

pytestmark = pytest.mark.usefixtures("environment")

GITHUB = "/unsafe/github.com/org/acme"
ROUTER = """
class Copy:
    name = "copy"
    topics = ("in/",)
    def __init__(self, to: str = "copy", many: list[str] = ()) -> None:
        self.to = to
    async def route(self, message, publish):
        await publish(self.to, message)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "copy.py"
    path.write_text(ROUTER)
    return path


def error_of(command: Command, *words: Any, **given: str) -> str:
    """Error that ends a command before it connects."""
    result = CliRunner().invoke(
        command, [str(word) for word in words], obj={"key": None, "github_secret": None} | given
    )
    assert result.exception is not None
    return str(result.exception)


def remember_position(thread: ThreadHub, call: Caller, path: str, cursor: str) -> None:
    """Have the hub remember the newest message of a path, so that a router outside misses none after it."""
    code, _, err = call(
        "listen", "--unsafe", "--since", "all", "--limit", "1", "--cursor", cursor, thread.url_for(path)
    )
    assert code == 0, err


# -- route


@pytest.mark.slow
@pytest.mark.parametrize("credentials", ["token", "key", "key in a file"])
def test_a_router_runs_outside_the_hub_until_ctrl_c(
    thread: ThreadHub, call: Caller, file: Path, tmp_path: Path, credentials: str
) -> None:
    there = f"there/{credentials.replace(' ', '-')}"
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "hookbot.toml").write_text(f'bind = ":0"\n[routers.copy]\nto = "{there}"\n')
    url = thread.url_for("/") if credentials == "token" else thread.url
    env = {"token": {}, "key": {"HOOKBOT_KEY": KEY}, "key in a file": {"HOOKBOT_KEY_FILE": str(tmp_path / "key")}}
    thread.publish("in/1", b"before")
    remember_position(thread, call, "/sub/in/", f"router-copy-{credentials[-4:]}")
    thread.publish("in/1", b"x")

    words = ("route", file, "--url", url, "--config", tmp_path / "hookbot.toml", "--option", "many=['a']")
    with signalled_after(lambda: thread.wait_for(there)):
        code, _, err = call(*words, "--cursor", f"router-copy-{credentials[-4:]}", **env[credentials])

    assert code == 130, err
    assert thread.wait_for(there)[0].hops == ("copy",)


@pytest.mark.slow
def test_ctrl_c_ends_it_even_if_the_router_does_not_end(thread: ThreadHub, call: Caller, tmp_path: Path) -> None:
    stuck = "import trio\n" + ROUTER + "        with trio.CancelScope(shield=True): await trio.sleep_forever()\n"
    (tmp_path / "stuck.py").write_text(stuck.replace("await publish(self.to, message)", "print('routing', flush=True)"))
    thread.publish("in/1", b"before")
    remember_position(thread, call, "/sub/in/", "router-stuck")
    thread.publish("in/1", b"x")

    async def interrupt() -> int:
        async with running("route", tmp_path / "stuck.py", "--url", thread.url_for("/"), "-o", "to='x'") as process:
            await process.until("routing", "out")
            return await process.interrupted()

    assert trio.run(interrupt) == 130


def test_a_token_that_opens_nothing_ends_it(thread: ThreadHub, call: Caller, file: Path) -> None:
    code, _, err = call("route", file, "--url", thread.url.replace("//", "//wrong@"))
    assert code == 3
    assert err.splitlines()[-1].startswith("hookbot: 401 Unauthorized: the token is malformed")


MISTAKES = [
    (["-o", "too=1"], "there is no option 'too'; did you mean 'to'?"),
    (["-o", "to=1"], "the option 'to' must be a string, not 1"),
    (["-o", "to"], "an option must be NAME=VALUE, not 'to'"),
    (["-o", "many=['a', 1]"], "the option 'many[1]' must be a string, not 1"),
]


@pytest.mark.parametrize(("options", "error"), MISTAKES)
def test_options_on_the_command_line_are_checked_like_those_in_a_file(
    file: Path, options: list[str], error: str
) -> None:
    assert error in error_of(route, file, "--url", "http://x@127.0.0.1:9", *options)


@pytest.mark.parametrize("code", ["raise SystemExit(5)", "raise KeyboardInterrupt", "1 / 0"])
def test_a_router_that_cannot_be_made_is_an_error(tmp_path: Path, call: Caller, code: str) -> None:
    (tmp_path / "broken.py").write_text(code)

    status, _, err = call("route", tmp_path / "broken.py", "--url", "http://token@127.0.0.1:9")

    assert status == 1
    assert "hookbot: the router broken cannot be created: " in err
    assert len(err.splitlines()) == 1


def test_an_unknown_router_is_an_error() -> None:
    assert "no router 'gihub' is installed" in error_of(route, "gihub", "--url", "http://x@127.0.0.1:9")


# -- route-github


def test_route_github_needs_its_secrets_and_well_formed_headers(tmp_path: Path) -> None:
    url = ["-u", "ws://127.0.0.1:9/unsafe/sub/github.com/", "--data-dir", tmp_path]

    assert "needs HOOKBOT_GITHUB_SECRET" in error_of(route_github, *url, key="k")
    assert "needs HOOKBOT_GITHUB_SECRET" in error_of(route_github, *url, github_secret="s")


def test_route_github_publishes_to_a_hub_elsewhere_only_with_a_key_that_is_given(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k")
    url = ["-u", "ws://hub.invalid/unsafe/sub/github.com/", "--data-dir", tmp_path]

    assert "needs HOOKBOT_GITHUB_SECRET, to verify, and HOOKBOT_KEY" in error_of(route_github, *url, github_secret="s")
    assert "a header must be 'Name: value', not 'x'" in error_of(
        route_github, *url, "-H", "x", key="k", github_secret="s"
    )


def test_deliveries_of_github_are_published_until_ctrl_c(thread: ThreadHub, call: Caller) -> None:
    thread.publish(GITHUB, b"before")
    remember_position(thread, call, "/unsafe/sub/github.com/", "router-github")
    body, headers = signed_delivery("github", "s3cret")
    thread.publish(GITHUB, b"forged", headers=headers)
    thread.publish(GITHUB, body, headers=headers)

    words = ("--key", KEY, "--github-secret", "s3cret", "route-github", "-u", thread.url_for("/unsafe/sub/github.com/"))
    with signalled_after(lambda: thread.wait_for("github.com/repo/acme/app")):
        code, _, err = call(*words)

    assert code == 130, err
    assert [message.body for message in thread.wait_for("github.com/repo/acme/app")] == [body]


@pytest.mark.parametrize(
    ("options", "origin"), [([], "//127.0.0.1:{port}"), (["--origin", "https://hub.example"], "https://hub.example")]
)
def test_the_handshake_has_the_origin_and_the_headers_that_are_given(
    thread: ThreadHub, call: Caller, options: list[str], origin: str
) -> None:
    server = thread.target(401)
    url = f"ws://token@127.0.0.1:{server.port}/unsafe/sub/github.com/"

    words = ("--key", KEY, "--github-secret", "s3cret", "route-github", "-u", url, "-H", "X-A: 1", *options)
    code = call(*words)[0]

    [request] = server.requests
    assert code == 3
    assert (request.all("Origin"), request.all("X-A")) == ([origin.format(port=server.port)], ["1"])
