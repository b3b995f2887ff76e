"""``hookbot narrow``: without a key, from a token or a URL, wherever it comes from."""

import os
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from hookbot.access.authorizer import Authorizer
from hookbot.access.narrowed_tokens import MAX_LENGTH, NarrowedToken
from hookbot.access.tokens import make_token
from hookbot.cli import narrow as cli_narrow
from hookbot.cli.main import cli

KEY = "key"
NOW_S = 1_700_000_000
ROOT = make_token(KEY, "/sub/")
URL = f"wss://{ROOT}@hub.example:8443/sub/?since=all"


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """Nothing that could be a key, and a clock that stands still."""
    for name in [name for name in os.environ if name.startswith("HOOKBOT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOOKBOT_DATA_DIR", str(tmp_path / "nothing"))
    monkeypatch.setattr(cli_narrow.time, "time", lambda: NOW_S + 0.9)
    return monkeypatch


def run(*args, stdin=""):
    result = CliRunner().invoke(cli, ["narrow", *args], input=stdin)
    return result.exit_code, result.output


def narrow(*args, stdin=""):
    code, output = run(*args, stdin=stdin)
    assert code == 0, output
    assert output.endswith("\n")
    return output[:-1]


def caveats(token):
    narrowed = NarrowedToken.parse(token)
    assert narrowed.is_made_with(KEY)
    return narrowed.caveats


@pytest.mark.parametrize(
    ("options", "bound"),
    [
        (["--path", "/sub/a/"], ("path=/sub/a/",)),
        (["--path", "/sub/%C3%BC%20b"], ("path=/sub/ü b",)),
        (["--only", "sub"], ("only=sub",)),
        (["--expires", "24h"], (f"expires={NOW_S + 86400}",)),
        (["--expires", "2026-01-02T03:04:05Z"], ("expires=1767323045",)),
        (["--since", "10m"], (f"since={NOW_S - 600}",)),
        (["--since", "2023-01-02T03:04:05+01:00"], ("since=1672625045",)),
        (["--name", "kiosk"], ("name=kiosk",)),
        (["--live"], ("live=1",)),
        (["--cursor", "deploy"], ("cursor=deploy",)),
    ],
)
def test_each_option_binds_its_caveat(options, bound):
    assert caveats(narrow(ROOT, "--of", "/sub/", *options)) == bound


def test_options_go_together():
    token = narrow(
        ROOT, "--of", "/sub/", "--only", "sub", "--expires", "1h", "--name", "a", "--live", "--path", "/sub/a"
    )
    assert set(caveats(token)) == {"only=sub", f"expires={NOW_S + 3600}", "name=a", "live=1", "path=/sub/a"}


def test_a_hub_honours_what_comes_out():
    token = narrow(ROOT, "--of", "/sub/", "--path", "/sub/a/", "--expires", "1h")
    authorizer = Authorizer([KEY])
    assert authorizer.grant(token, "/sub/a/b", "subscribe", now_s=NOW_S).expires_s == NOW_S + 3600
    assert authorizer.grant(token, "/sub/b", "subscribe", now_s=NOW_S) is None


def test_of_a_url_comes_a_url():
    out = urlsplit(narrow(URL, "--live"))
    assert (out.scheme, out.hostname, out.port, out.path, out.query) == (
        "wss",
        "hub.example",
        8443,
        "/sub/",
        "since=all",
    )
    assert out.password is None
    assert NarrowedToken.parse(out.username).path == "/sub/"


def test_of_a_url_comes_the_url_of_the_narrower_path():
    out = urlsplit(narrow(URL, "--path", "/sub/%C3%BC"))
    assert out.path == "/sub/%C3%BC"
    assert caveats(out.username) == ("path=/sub/ü",)


def test_the_token_of_a_url_may_be_for_more_than_its_path():
    out = urlsplit(narrow(f"https://{ROOT}@hub/sub/a/b", "--of", "/sub/", "--live"))
    assert (out.path, NarrowedToken.parse(out.username).path) == ("/sub/a/b", "/sub/")


def test_a_narrowed_token_is_narrowed_further():
    once = narrow(ROOT, "--of", "/sub/", "--name", "ann")
    twice = narrow(once, "--name", "phone")
    assert caveats(twice) == ("name=ann", "name=phone")
    url = narrow(f"https://{once}@hub/sub/a", "--live")
    assert caveats(urlsplit(url).username) == ("name=ann", "live=1")
    assert NarrowedToken.parse(urlsplit(url).username).path == "/sub/"


def test_a_token_of_sha_256_is_a_root_as_well():
    token = narrow(make_token(KEY, "/sub/", "sha256"), "--of", "/sub/", "--live")
    assert NarrowedToken.parse(token).digest == "sha256"
    assert caveats(token) == ("live=1",)


def test_a_token_need_not_be_in_the_list_of_processes(environment, tmp_path):
    expected = narrow(ROOT, "--of", "/sub/", "--live")
    environment.setenv("THE_TOKEN", ROOT)
    (tmp_path / "token").write_text(f"{ROOT}\n")
    assert narrow("env:THE_TOKEN", "--of", "/sub/", "--live") == expected
    assert narrow(f"file:{tmp_path / 'token'}", "--of", "/sub/", "--live") == expected
    assert narrow("-", "--of", "/sub/", "--live", stdin=f"{ROOT}\n") == expected
    assert narrow("-", "--live", stdin=f"{URL}\n") == narrow(URL, "--live")


def test_what_make_tokens_prints_can_be_narrowed():
    made = CliRunner().invoke(cli, ["--key", KEY, "make-tokens", "/sub/"]).output
    assert caveats(urlsplit(narrow("-", "--live", stdin=made)).username) == ("live=1",)


def test_no_key_is_needed_and_none_is_made(tmp_path):
    narrow(ROOT, "--of", "/sub/", "--live")
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ([ROOT, "--live"], "--of PATH"),
        (["nonsense", "--of", "/", "--live"], "neither"),
        (["https://hub/sub/", "--live"], "neither"),
        ([URL], "the same token"),
        ([URL, "--path", "/sub"], "does not open"),
        ([URL, "--path", "/pub/"], "does not open"),
        ([URL, "--path", "sub/"], "no token can be narrowed"),
        ([URL, "--path", "/sub/%ff"], "utf-8"),
        ([URL, "--only", "all"], "'all'"),
        ([URL, "--expires", "tomorrow"], "neither a duration"),
        ([URL, "--since", "999999999d"], "no token can be narrowed"),
        ([URL, "--name", "two words"], "no token can be narrowed"),
        ([URL, "--cursor", "a", "--live"], "not together"),
        ([URL, "--cursor", "a", "--since", "1h"], "not together"),
        ([URL, "--path", "/sub/" + "a" * 1000], f"at most {MAX_LENGTH}"),
        (["env:NOBODY", "--live"], "NOBODY"),
    ],
)
def test_what_would_be_no_good_is_refused(args, reason):
    result = CliRunner().invoke(cli, ["narrow", *args])
    assert result.exit_code != 0
    assert reason in result.output + str(result.exception)


def test_a_narrower_path_cannot_be_left_again():
    narrower = narrow(URL, "--path", "/sub/a/")
    assert run(narrower, "--path", "/sub/")[0] == 2
    assert run(narrower, "--path", "/sub/b")[0] == 2
    assert narrow(narrower, "--path", "/sub/a/b")
