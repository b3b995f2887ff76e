"""``hookbot make-tokens``, and ``hookbot narrow``: without a key, from a token or a URL, wherever it comes from."""

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import pytest
from click.testing import CliRunner

from hookbot.access.authorizer import Authorizer
from hookbot.access.narrowed_tokens import MAX_LENGTH, NarrowedToken
from hookbot.access.tokens import make_token
from hookbot.cli.main import cli
from hookbot.cli.tokens import token_url
from hookbot.errors import ConfigError

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/tokens.json").read_text())["vectors"]
BASE = "https://hookbot.example.com"
# Not 8080, where the hub of somebody who works on this may run.
NO_HUB = "http://localhost:1"
KEY = "key"
NOW_S = 1_700_000_000
ROOT = make_token(KEY, "/sub/")
URL = f"wss://{ROOT}@hub.example:8443/sub/?since=all"


@pytest.fixture
def run(environment: pytest.MonkeyPatch) -> Callable[..., Any]:
    return lambda *args: CliRunner().invoke(cli, args)


@pytest.mark.parametrize("vector", VECTORS)
def test_urls_are_those_of_the_ancestor(vector: dict[str, str]) -> None:
    assert token_url(vector["key"], vector["uri"], BASE) == vector["url"]


@pytest.mark.parametrize("vector", VECTORS)
def test_bare_tokens_are_those_of_the_ancestor(vector: dict[str, str]) -> None:
    assert token_url(vector["key"], vector["uri"], BASE, bare=True) == vector["token"]


@pytest.mark.parametrize(
    ("uri", "shown", "signed"),
    [
        ("/pub/a%2Fb", f"{BASE}/pub/a%2Fb", "/pub/a/b"),
        ("/pub/%c3%a9", f"{BASE}/pub/%c3%a9", "/pub/é"),
        ("/pub/été", f"{BASE}/pub/%C3%A9t%C3%A9", "/pub/été"),
        ("/sub/foo%3Frecursive", "wss://hookbot.example.com/sub/foo%3Frecursive", "/sub/foo?recursive"),
        ("/sub/foo?since=7d", "wss://hookbot.example.com/sub/foo?since=7d", "/sub/foo"),
        ("/unsafe/sub/foo", "wss://hookbot.example.com/unsafe/sub/foo", "/unsafe/sub/foo"),
        ("http://other.example:81/sub/foo", "http://other.example:81/sub/foo", "/sub/foo"),
        ("wss://other.example/pub/foo", "wss://other.example/pub/foo", "/pub/foo"),
        ("//other.example/pub/foo", "https://other.example/pub/foo", "/pub/foo"),
        ("https://somebody@other.example/pub/foo", "https://other.example/pub/foo", "/pub/foo"),
        ("/hookbot/v1/cursors", f"{BASE}/hookbot/v1/cursors", "/hookbot/v1/cursors"),
        ("/subway", f"{BASE}/subway", "/subway"),
    ],
)
def test_path_and_query_are_kept_and_a_scheme_or_host_of_its_own_too(uri: str, shown: str, signed: str) -> None:
    scheme, _, rest = shown.partition("://")
    assert token_url("key", uri, BASE) == f"{scheme}://{make_token('key', signed)}@{rest}"


def test_bytes_that_are_no_text_are_signed_as_they_are() -> None:
    assert token_url("key", "/pub/%FF", BASE, bare=True) == make_token(
        "key", b"/pub/\xff".decode(errors="surrogateescape")
    )


@pytest.mark.parametrize(
    ("base", "uri", "shown"),
    [
        ("wss://hub", "/pub/a", "https://hub/pub/a"),
        ("ws://hub:81", "/metrics", "http://hub:81/metrics"),
        ("wss://hub", "/sub/a", "wss://hub/sub/a"),
        ("https://hub/hooks", "/pub/a?b=1", "https://hub/hooks/pub/a?b=1"),
        ("wss://hub/hooks/", "/sub/a", "wss://hub/hooks/sub/a"),
        ("https://hub/hooks", "//other/sub/a", "wss://other/sub/a"),
        (" <https://hub/>\r\n", "/sub/a", "wss://hub/sub/a"),
    ],
)
def test_the_base_may_be_of_either_way_and_have_a_path(base: str, uri: str, shown: str) -> None:
    signed = uri.removeprefix("//other").partition("?")[0]
    assert token_url("key", uri, base) == shown.replace("://", f"://{make_token('key', signed)}@")


@pytest.mark.parametrize(
    ("base", "reason"),
    [
        ("https://s3cret@hub", "without a token"),
        ("https://u:s3cret@hub", "without a token"),
        ("https://hub/?a=s3cret", "without a query or fragment"),
        ("https://hub/#s3cret", "without a query or fragment"),
        ("s3cret@hub", "like http://localhost:8080, not 'hub'"),
        ("https://hub/pub/a", "the URL of the hub, not of a topic: '/pub/a'"),
        ("wss://hub/unsafe/sub/a", "the URL of the hub, not of a topic: '/unsafe/sub/a'"),
        ("ftp://hub", "like http://localhost:8080, not 'ftp://hub'"),
    ],
)
def test_a_base_with_more_than_a_hub_has_is_refused(base: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refused:
        token_url("key", "/pub/a", base)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("uri", ["pub/a", "https://hub", "c:/Git/pub/a", "hub.example/pub/a", ""])
def test_a_uri_without_a_path_would_have_a_token_that_opens_nothing(uri: str) -> None:
    with pytest.raises(ValueError, match="neither a path"):
        token_url("key", uri, BASE, bare=True)


@pytest.mark.parametrize("base", ["hookbot.example.com", ""])
def test_what_makes_no_url_is_refused(base: str) -> None:
    with pytest.raises(ValueError, match=r"--url-base must be like http://localhost:8080, not"):
        token_url("key", "/pub/foo", base)


def test_every_uri_has_a_line(run: Callable[..., Any]) -> None:
    result = run("--key", "key", "make-tokens", "-U", BASE, "/pub/foo", "/sub/foo")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [token_url("key", "/pub/foo", BASE), token_url("key", "/sub/foo", BASE)]


def test_t_is_make_tokens_for_short(run: Callable[..., Any]) -> None:
    assert run("--key", "key", "t", "--bare", "/pub/foo").stdout == make_token("key", "/pub/foo") + "\n"


def test_base_and_key_come_from_the_environment(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOKBOT_KEY", "key")
    monkeypatch.setenv("HOOKBOT_URL_BASE", BASE)
    assert run("make-tokens", "/pub/foo").stdout == token_url("key", "/pub/foo", BASE) + "\n"


def test_the_key_may_lie_in_a_file(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("key\n")
    monkeypatch.setenv("HOOKBOT_KEY_FILE", str(tmp_path / "secret"))
    assert run("make-tokens", "--bare", "/pub/foo").stdout == make_token("key", "/pub/foo") + "\n"


def test_longer_tokens_are_made_on_request(run: Callable[..., Any]) -> None:
    token = run("--key", "key", "make-tokens", "--bare", "--sha256", "/pub/foo").stdout.strip()
    assert token == make_token("key", "/pub/foo", "sha256")
    assert len(token) == 64


def test_without_a_key_one_is_made_once_and_its_place_is_told(run: Callable[..., Any], tmp_path: Path) -> None:
    first = run("make-tokens", "-U", NO_HUB, "--bare", "/pub/foo")
    second = run("make-tokens", "-U", NO_HUB, "--bare", "/pub/foo")

    key = (tmp_path / "data/key").read_text().strip()
    assert first.stdout == second.stdout == make_token(key, "/pub/foo") + "\n"
    assert str(tmp_path / "data/key") in first.stderr
    assert second.stderr == ""
    assert key not in first.stderr


@pytest.mark.parametrize(
    "args",
    [
        ["-U", "wss://hub.example", "/pub/a"],
        ["https://hub.example/pub/a"],
        ["-U", NO_HUB, "/pub/a", "//hub.example/pub/a"],
    ],
)
def test_no_key_is_made_for_a_hub_elsewhere(run: Callable[..., Any], tmp_path: Path, args: list[str]) -> None:
    refused = run("make-tokens", *args)
    assert isinstance(refused.exception, ConfigError)
    assert "hub.example" in str(refused.exception)
    assert "HOOKBOT_KEY" in str(refused.exception)
    assert not (tmp_path / "data").exists()
    assert run("--key", "key", "make-tokens", *args).exit_code == 0


@pytest.mark.parametrize(
    "args",
    [
        *(["-U", "hub.example:8080", "/pub/a"], ["-U", "hub.example:8080", "--bare", "/pub/a"], ["-U", "", "/pub/a"]),
        *(["-U", "http://:8080", "/pub/a"], ["http://:8080/pub/a"], ["/pub/a", "pub/b"]),
    ],
)
def test_no_key_is_made_by_a_mistake(run: Callable[..., Any], tmp_path: Path, args: list[str]) -> None:
    result = run("make-tokens", *args)

    assert (result.exit_code, result.stdout) == (2, "")
    assert not (tmp_path / "data").exists()


def test_no_key_is_made_for_a_hub_that_has_started_here_with_another(run: Callable[..., Any], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hub:
        refused = run("make-tokens", "-U", f"http://127.0.0.1:{hub.getsockname()[1]}", "/pub/a")
    assert "HOOKBOT_DATA_DIR" in str(refused.exception)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("host", ["localhost:9", "127.0.0.1:9", "[::1]:9"])
def test_a_key_is_made_for_a_hub_that_may_be_about_to_start_here(run: Callable[..., Any], host: str) -> None:
    assert run("make-tokens", "-U", f"http://{host}", "/pub/a").exit_code == 0


def test_what_is_no_url_is_a_usage_error(run: Callable[..., Any]) -> None:
    result = run("--key", "key", "make-tokens", "-U", "nonsense", "/pub/foo")
    assert result.exit_code == 2
    assert "nonsense" in result.stderr


def test_at_least_one_uri_is_needed(run: Callable[..., Any]) -> None:
    assert run("--key", "key", "make-tokens").exit_code == 2


# -- narrow


@pytest.fixture(autouse=True)
def clock(environment: pytest.MonkeyPatch) -> None:
    """A clock that stands still."""
    environment.setattr(time, "time", lambda: NOW_S + 0.9)


def run_narrow(*args: Any, stdin: str = "") -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["narrow", *args], input=stdin)
    return result.exit_code, result.output


def narrow(*args: Any, stdin: str = "") -> str:
    code, output = run_narrow(*args, stdin=stdin)
    assert code == 0, output
    assert output.endswith("\n")
    return output[:-1]


def token_in(url: SplitResult) -> str:
    assert url.username is not None
    return url.username


def caveats(token: str) -> tuple[Any, ...]:
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
def test_each_option_binds_its_caveat(options: list[str], bound: tuple[str]) -> None:
    assert caveats(narrow(ROOT, "--of", "/sub/", *options)) == bound


def test_options_go_together() -> None:
    token = narrow(
        ROOT, "--of", "/sub/", "--only", "sub", "--expires", "1h", "--name", "a", "--live", "--path", "/sub/a"
    )
    assert set(caveats(token)) == {"only=sub", f"expires={NOW_S + 3600}", "name=a", "live=1", "path=/sub/a"}


def test_a_hub_honours_what_comes_out() -> None:
    token = narrow(ROOT, "--of", "/sub/", "--path", "/sub/a/", "--expires", "1h")
    authorizer = Authorizer([KEY])
    grant = authorizer.grant(token, "/sub/a/b", "subscribe", now_s=NOW_S)
    assert grant is not None
    assert grant.expires_s == NOW_S + 3600
    assert authorizer.grant(token, "/sub/b", "subscribe", now_s=NOW_S) is None


def test_of_a_url_comes_a_url() -> None:
    out = urlsplit(narrow(URL, "--live"))
    assert (out.scheme, out.hostname, out.port, out.path, out.query) == (
        "wss",
        "hub.example",
        8443,
        "/sub/",
        "since=all",
    )
    assert out.password is None
    assert NarrowedToken.parse(token_in(out)).path == "/sub/"


def test_of_a_url_comes_the_url_of_the_narrower_path() -> None:
    out = urlsplit(narrow(URL, "--path", "/sub/%C3%BC"))
    assert out.path == "/sub/%C3%BC"
    assert caveats(token_in(out)) == ("path=/sub/ü",)


def test_the_token_of_a_url_may_be_for_more_than_its_path() -> None:
    out = urlsplit(narrow(f"https://{ROOT}@hub/sub/a/b", "--of", "/sub/", "--live"))
    assert (out.path, NarrowedToken.parse(token_in(out)).path) == ("/sub/a/b", "/sub/")


def test_a_narrowed_token_is_narrowed_further() -> None:
    once = narrow(ROOT, "--of", "/sub/", "--name", "ann")
    twice = narrow(once, "--name", "phone")
    assert caveats(twice) == ("name=ann", "name=phone")
    url = narrow(f"https://{once}@hub/sub/a", "--live")
    assert caveats(token_in(urlsplit(url))) == ("name=ann", "live=1")
    assert NarrowedToken.parse(token_in(urlsplit(url))).path == "/sub/"


def test_nothing_is_printed_that_is_the_same_token() -> None:
    once = narrow(ROOT, "--of", "/sub/", "--name", "ann")
    code, output = run_narrow(once)
    assert code == 2
    assert "the same token" in output
    assert once not in output


@pytest.mark.parametrize("pasted", ["{}\r\n", "\ufeff {}\xa0", "Bearer {}"])
def test_a_token_is_narrowed_without_what_is_pasted_with_it(tmp_path: Path, pasted: str) -> None:
    expected = narrow(ROOT, "--of", "/sub/", "--live")
    (tmp_path / "token").write_bytes(pasted.format(ROOT).encode("utf-16"))
    assert narrow(f"file:{tmp_path / 'token'}", "--of", "/sub/", "--live") == expected
    assert narrow("-", "--of", "/sub/", "--live", stdin=pasted.format(ROOT)) == expected
    assert narrow(pasted.format(ROOT), "--of", "/sub/", "--live") == expected


def test_a_token_of_sha_256_is_a_root_as_well() -> None:
    token = narrow(make_token(KEY, "/sub/", "sha256"), "--of", "/sub/", "--live")
    assert NarrowedToken.parse(token).digest == "sha256"
    assert caveats(token) == ("live=1",)


def test_a_token_need_not_be_in_the_list_of_processes(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    expected = narrow(ROOT, "--of", "/sub/", "--live")
    environment.setenv("THE_TOKEN", ROOT)
    (tmp_path / "token").write_text(f"{ROOT}\n")
    assert narrow("env:THE_TOKEN", "--of", "/sub/", "--live") == expected
    assert narrow(f"file:{tmp_path / 'token'}", "--of", "/sub/", "--live") == expected
    assert narrow("-", "--of", "/sub/", "--live", stdin=f"{ROOT}\n") == expected
    assert narrow("-", "--live", stdin=f"{URL}\n") == narrow(URL, "--live")


def test_what_make_tokens_prints_can_be_narrowed() -> None:
    made = CliRunner().invoke(cli, ["--key", KEY, "make-tokens", "/sub/"]).output
    assert caveats(token_in(urlsplit(narrow("-", "--live", stdin=made)))) == ("live=1",)


def test_no_key_is_needed_and_none_is_made(tmp_path: Path) -> None:
    narrow(ROOT, "--of", "/sub/", "--live")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ([ROOT, "--live"], "--of PATH"),
        (["nonsense", "--of", "/", "--live"], "not a token"),
        (["nonsense", "--live"], "not a token"),
        ([f"http://{ROOT}@[::1/sub/", "--live"], "malformed"),
        (["https://hub/sub/", "--live"], "the URL has no token: it stands before the host"),
        ([f"https://hub/sub/?token={ROOT}", "--live"], "the URL has no token: it stands before the host"),
        ([f"https://:{ROOT}@hub/sub/", "--live"], "the URL has no token: it stands before the host"),
        (["", "--live"], "TOKEN has no token"),
        ([ROOT, "--of", "sub/", "--live"], "a path begins with /, as in /sub/deploy, not 'sub/'"),
        ([URL, "--path", "https://s3cret@hub/sub/x"], "not 'https://hub/sub/x'"),
        ([URL, "--only", "pub"], "with --only pub, a token for '/sub/' would open nothing"),
        ([URL, "--expires", "2020-01-01T00:00:00Z"], "--expires is in the past"),
        ([URL], "the same token"),
        ([URL, "--path", "/sub"], "does not open"),
        ([URL, "--path", "/pub/"], "does not open"),
        ([URL, "--path", "sub/"], "a path begins with /"),
        ([URL, "--path", "/sub/%ff"], "utf-8"),
        ([URL, "--only", "all"], "'all'"),
        ([URL, "--expires", "tomorrow"], "neither a duration"),
        ([URL, "--since", "999999999d"], "a token cannot be narrowed"),
        ([URL, "--name", "two words"], "a token cannot be narrowed"),
        ([URL, "--cursor", "a", "--live"], "--cursor excludes"),
        ([URL, "--cursor", "a", "--since", "1h"], "--cursor excludes"),
        ([URL, "--path", "/sub/" + "a" * 1000], f"at most {MAX_LENGTH}"),
        (["env:NOBODY", "--live"], "NOBODY"),
    ],
)
def test_what_would_be_no_good_is_refused(args: list[str], reason: str) -> None:
    result = CliRunner().invoke(cli, ["narrow", *args])
    assert result.exit_code != 0
    assert reason in result.output + str(result.exception)


def test_a_narrower_path_cannot_be_left_again() -> None:
    narrower = narrow(URL, "--path", "/sub/a/")
    assert run_narrow(narrower, "--path", "/sub/")[0] == 2
    assert run_narrow(narrower, "--path", "/sub/b")[0] == 2
    assert narrow(narrower, "--path", "/sub/a/b")
