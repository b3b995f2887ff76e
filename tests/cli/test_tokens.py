"""``hookbot make-tokens``."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from hookbot.access.tokens import make_token
from hookbot.cli.main import cli
from hookbot.cli.tokens import token_url

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/tokens.json").read_text())["vectors"]
BASE = "https://hookbot.example.com"


@pytest.fixture
def run(tmp_path, monkeypatch):
    for name in ("HOOKBOT_KEY", "HOOKBOT_KEY_FILE", "HOOKBOT_URL_BASE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOOKBOT_DATA_DIR", str(tmp_path / "data"))
    return lambda *args: CliRunner().invoke(cli, args)


@pytest.mark.parametrize("vector", VECTORS)
def test_urls_are_those_of_the_ancestor(vector):
    assert token_url(vector["key"], vector["uri"], BASE) == vector["url"]


@pytest.mark.parametrize("vector", VECTORS)
def test_bare_tokens_are_those_of_the_ancestor(vector):
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
def test_path_and_query_are_kept_and_a_scheme_or_host_of_its_own_too(uri, shown, signed):
    scheme, _, rest = shown.partition("://")
    assert token_url("key", uri, BASE) == f"{scheme}://{make_token('key', signed)}@{rest}"


def test_bytes_that_are_no_text_are_signed_as_they_are():
    assert token_url("key", "/pub/%FF", BASE, bare=True) == make_token(
        "key", b"/pub/\xff".decode(errors="surrogateescape")
    )


@pytest.mark.parametrize(
    ("uri", "base"), [("/pub/foo", "hookbot.example.com"), ("/pub/foo", ""), ("http://[/pub", BASE)]
)
def test_what_makes_no_url_is_refused(uri, base):
    with pytest.raises(ValueError, match=r"base of a URL|IPv6"):
        token_url("key", uri, base)


def test_every_uri_has_a_line(run):
    result = run("--key", "key", "make-tokens", "-U", BASE, "/pub/foo", "/sub/foo")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [token_url("key", "/pub/foo", BASE), token_url("key", "/sub/foo", BASE)]


def test_t_is_make_tokens_for_short(run):
    assert run("--key", "key", "t", "--bare", "/pub/foo").stdout == make_token("key", "/pub/foo") + "\n"


def test_base_and_key_come_from_the_environment(run, monkeypatch):
    monkeypatch.setenv("HOOKBOT_KEY", "key")
    monkeypatch.setenv("HOOKBOT_URL_BASE", BASE)
    assert run("make-tokens", "/pub/foo").stdout == token_url("key", "/pub/foo", BASE) + "\n"


def test_the_key_may_lie_in_a_file(run, monkeypatch, tmp_path):
    (tmp_path / "secret").write_text("key\n")
    monkeypatch.setenv("HOOKBOT_KEY_FILE", str(tmp_path / "secret"))
    assert run("make-tokens", "--bare", "/pub/foo").stdout == make_token("key", "/pub/foo") + "\n"


def test_longer_tokens_are_made_on_request(run):
    token = run("--key", "key", "make-tokens", "--bare", "--sha256", "/pub/foo").stdout.strip()
    assert token == make_token("key", "/pub/foo", "sha256")
    assert len(token) == 64


def test_without_a_key_one_is_made_once_and_its_place_is_told(run, tmp_path):
    first = run("make-tokens", "--bare", "/pub/foo")
    second = run("make-tokens", "--bare", "/pub/foo")

    key = (tmp_path / "data/key").read_text().strip()
    assert first.stdout == second.stdout == make_token(key, "/pub/foo") + "\n"
    assert str(tmp_path / "data/key") in first.stderr
    assert second.stderr == ""
    assert key not in first.stderr


def test_what_is_no_url_is_a_usage_error(run):
    result = run("--key", "key", "make-tokens", "-U", "nonsense", "/pub/foo")
    assert result.exit_code == 2
    assert "nonsense" in result.stderr


def test_at_least_one_uri_is_needed(run):
    assert run("--key", "key", "make-tokens").exit_code == 2
