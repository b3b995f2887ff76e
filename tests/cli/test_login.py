"""``hookbot login``, ``logout`` and ``profiles``."""

import io
import json
import sys
from pathlib import Path

import pytest

from hookbot.access.narrowed_tokens import NarrowedToken
from hookbot.access.tokens import make_token
from hookbot.cli.login import _with_scheme
from hookbot.client.profiles import Profile, Profiles, change_profiles, profiles_file
from hookbot.testing import KEY
from support.commands import Caller
from support.hubs import ThreadHub
from support.terminal import Terminal

ROOT = make_token(KEY, "/")


@pytest.fixture(autouse=True)
def home(environment: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty home."""
    environment.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def kept(name: str | None = None) -> Profile:
    found = Profiles.read(profiles_file()).find(name)
    assert found
    return found


# -- login


def test_the_token_of_standard_input_is_checked_and_kept_and_what_it_opens_is_told(
    thread: ThreadHub, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, f"Bearer {ROOT}\r\n")

    code, out, err = call("login", thread.url)

    assert (code, err) == (0, "")
    host = thread.url.removeprefix("http://")
    assert out.decode().splitlines() == [
        f"logged in to {thread.url} as {host}, the profile that commands use from now on",
        "  listens to:    all topics, all unsafe topics",
        "  publishes to:  all topics, all unsafe topics",
        "  expires:       never",
        "  operates the hub",
    ]
    assert ROOT not in profiles_file().read_text(), "it is kept as one that tells what it opens"
    assert NarrowedToken.parse(kept().token).narrowest == "/"


@pytest.mark.parametrize("path", ["/sub/acme/", "/hookbot/v1/", "/acme/", "/unsafe/sub/acme/"])
def test_a_plain_token_may_be_for_less(
    thread: ThreadHub, call: Caller, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    typed(monkeypatch, make_token(KEY, path))
    assert call("login", thread.url, "--of", path)[0] == 0
    assert NarrowedToken.parse(kept().token).narrowest == path


def test_the_url_of_a_topic_tells_what_its_token_is_for(thread: ThreadHub, call: Caller) -> None:
    code, out, _ = call("login", thread.url_for("/sub/acme/"), "--profile", "acme")

    assert code == 0
    assert "  listens to:    acme/\n  publishes to:  nothing\n" in out.decode()
    assert kept("acme").url == thread.url


def test_a_narrowed_token_tells_everything_itself(
    thread: ThreadHub, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrowed = str(NarrowedToken.of(ROOT, "/").narrow("path", "/acme/").narrow("expires", "4102444800"))

    code, out, _ = call("login", thread.url, HOOKBOT_TOKEN=narrowed)

    assert code == 0
    assert "listens to:    acme/\n  publishes to:  acme/\n  expires:       2100-01-01 00:00:00 UTC\n" in out.decode()
    assert kept().token == narrowed


def test_a_token_is_asked_for_on_a_terminal_and_never_shown(thread: ThreadHub, tmp_path: Path) -> None:
    with Terminal(tmp_path, ()) as terminal:
        terminal.paste(". .venv/bin/activate; stty echo\n")
        terminal.start(f"hookbot login {thread.url}\n", "Token for ")

        shown = terminal.start(f"{ROOT}\n", "operates the hub\n")

    assert ROOT not in shown


@pytest.mark.parametrize(
    ("token", "code", "said"),
    [
        ("0" * 40, 3, "A plain token does not tell what it is for: if that is a topic, add its path, as in --of"),
        ("nonsense", 2, "not a token: a plain one has 40 or 64 hexadecimal digits"),
        ("", 2, "standard input has no token"),
        ("0" * 100_000, 2, "standard input is longer than any token"),
        (str(NarrowedToken.of("0" * 40, "/sub/a/")), 3, "was not made by this hub"),
        (str(NarrowedToken.of(ROOT, "/").narrow("expires", "1")), 3, "the token expired at"),
    ],
)
def test_a_token_that_opens_nothing_is_not_kept(
    thread: ThreadHub, call: Caller, monkeypatch: pytest.MonkeyPatch, token: str, code: int, said: str
) -> None:
    typed(monkeypatch, token)

    ended, out, err = call("login", thread.url)

    assert (ended, out) == (code, b"")
    assert said in err
    assert not profiles_file().exists()


def test_a_hub_that_is_not_there_is_told(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, ROOT)
    assert call("login", "http://127.0.0.1:1")[0] == 4


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("hub.example.com", "https://hub.example.com"),
        ("hub.example.com:8443/hooks", "https://hub.example.com:8443/hooks"),
        ("localhost:8080", "http://localhost:8080"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
    ],
)
def test_a_scheme_may_be_left_out(typed: str, meant: str) -> None:
    assert _with_scheme(typed) == meant


def test_without_tls_a_warning_is_given(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, ROOT)
    _, _, err = call("login", "http://0.0.0.0:1")
    assert "0.0.0.0:1 is reached without TLS: anybody on the way can read the token\n" in err


# -- logout and profiles


def two() -> None:
    for name, path in ("work", "/"), ("home", "/sub/a/"):
        token = str(NarrowedToken.of(make_token(KEY, path), path).narrow("expires", "4102444800"))
        change_profiles(profiles_file(), lambda all_: all_.using(Profile(name, f"https://{name}", token)))  # noqa: B023


def test_profiles_are_listed_without_their_tokens(call: Caller) -> None:
    assert call("profiles") == (0, b"", "there are no profiles: hookbot login https://hub.example.com makes one\n")
    two()

    code, out, _ = call("profiles")

    assert code == 0
    assert out.decode().splitlines() == [
        "DEFAULT  PROFILE  HUB           OPENS    EXPIRES",
        "*        home     https://home  /sub/a/  2100-01-01 00:00:00 UTC",
        "         work     https://work  /        2100-01-01 00:00:00 UTC",
    ]
    listed = json.loads(call("profiles", "--json")[1])
    assert [(row["profile"], row["default"]) for row in listed] == [("home", True), ("work", False)]
    assert kept("work").token not in call("profiles", "--json")[1].decode()


def test_another_one_can_be_the_default(call: Caller) -> None:
    two()
    assert call("profiles", "--use", "work")[0] == 0
    assert kept().name == "work"
    assert call("profiles", "--use", "wrk")[::2] == (2, "hookbot: there is no profile 'wrk'; did you mean 'work'?\n")


def test_logging_out_forgets_the_token(call: Caller) -> None:
    two()
    token = kept("home").token

    assert call("logout")[1] == b"logged out of https://home (home)\n"

    assert token not in profiles_file().read_text()
    assert kept().name == "work"
    assert call("logout", HOOKBOT_PROFILE="work")[0] == 0
    assert call("logout")[::2] == (2, "hookbot: you are not logged in to any hub\n")


def test_who_logs_out_of_the_default_of_several_is_told_to_choose(call: Caller) -> None:
    two()
    change_profiles(profiles_file(), lambda all_: all_.using(Profile("third", "https://third", kept().token)))
    assert call("logout")[1].endswith(b"choose one with hookbot profiles --use NAME\n")


def test_a_token_that_is_damaged_is_told_and_not_shown(call: Caller) -> None:
    change_profiles(profiles_file(), lambda profiles: profiles.using(Profile("work", "https://h", "no_token")))

    code, _, err = call("profiles")

    assert (code, err) == (2, "hookbot: the token of the profile 'work' is damaged: log in again\n")
