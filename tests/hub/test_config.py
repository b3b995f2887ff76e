"""Configurations: their repr, addresses, and the default data directory."""

from pathlib import Path

import pytest

from hookbot.errors import ConfigError
from hookbot.hub.config import (
    Config,
    parse_advertised,
    parse_origin,
    parse_public,
    parse_store,
    parse_unsafe,
)
from hookbot.hub.config_file import ConfigFile
from hookbot.hub.secret_store import StoredSecret


def test_a_configuration_does_not_show_its_secrets(tmp_path: Path) -> None:
    config = Config(
        StoredSecret("the key"), tmp_path, old_keys=("an old key",), github_secrets=(StoredSecret("the secret"),)
    )
    assert "the key" not in repr(config)
    assert "an old key" not in repr(config)
    assert "the secret" not in repr(config)
    assert config.keys == ("the key", "an old key")


def test_connections_have_to_end_before_the_grace_does(tmp_path: Path) -> None:
    assert Config(StoredSecret("the key"), tmp_path, grace_s=10).leave_s == 9


@pytest.mark.parametrize("store", ["sqlite:", "memory:"])
def test_a_store_is_on_disk_or_in_memory(store: str) -> None:
    assert parse_store(store) == store


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_a_store_that_hubs_share_is_a_database_whose_password_is_not_shown(scheme: str, tmp_path: Path) -> None:
    store = parse_store(f"{scheme}://user:s3cret@db/hooks?schema=family")
    config = Config(StoredSecret("the key"), tmp_path, store=store)

    assert str(store) == "postgresql://db/hooks?schema=family"
    assert "s3cret" not in repr(config)
    assert config.shared
    assert not Config(StoredSecret("the key"), tmp_path).shared


def test_an_option_of_the_file_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "hookbot.toml"
    path.write_text("store = 'postgresql://user:s3cret@db'\n[[sources]]\nsecrets = ['s3cret']\n")
    assert "s3cret" not in repr(Config(StoredSecret("the key"), tmp_path, file=ConfigFile.read(path)))


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://10.0.0.5:8080", "http://10.0.0.5:8080"),
        ("HTTPS://hub-1.example/", "https://hub-1.example"),
        ("http://[fd00::5]:8080", "http://[fd00::5]:8080"),
    ],
)
def test_hubs_reach_each_other_at_a_url(text: str, url: str) -> None:
    assert parse_advertised(text) == url


@pytest.mark.parametrize(
    "text",
    [
        *("", "10.0.0.5:8080", "hub-1", "http://", "ws://hub-1", "postgresql://hub-1", "http://hub-1:0"),
        *("http://hub-1/sub/x", "http://hub-1?s3cret", "http://hub-1/#s3cret", "http://s3cret@hub-1", "http://a b"),
    ],
)
def test_what_is_no_url_of_a_hub_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"like http://10\.0\.0\.5:8080") as caught:
        parse_advertised(text)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("store", "reason"),
    [
        ("mysql://user:s3cret@db/hooks", "has no store 'mysql'"),
        ("host=db password=s3cret", "has no such store"),
        ("postgresql://user:s3cret@@db/hooks", "the address of PostgreSQL is malformed"),
        ("postgres://user:s3cret@db/hooks?schema=-", "the schema '-'"),
        ("Memory:", "has no store 'Memory'"),
        ("sqlite", "has no store 'sqlite'"),
        ("", "has no store ''"),
        ("sqlite:/var/lib/hookbot.db", "takes no path"),
    ],
)
def test_another_store_is_refused_without_what_may_be_a_password(store: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_store(store)
    assert reason in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "topic"),
    [("x", "x"), ("/unsafe/x/", "x/"), ("https://h/unsafe/pub/x", "x"), ("none", "none"), (" None", "none")],
)
def test_an_unsafe_topic_may_be_given_as_it_stands_in_urls(text: str, topic: str) -> None:
    assert parse_unsafe(text) == topic


@pytest.mark.parametrize("text", ["all", "*", "", "a//b", "..", "a,b", '["a"]', "[a]"])
def test_what_is_no_unsafe_topic_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="topic"):
        parse_unsafe(text)


def test_an_origin_has_a_scheme_and_no_path() -> None:
    for origin in ("https://pages.example.com", "http://localhost:8000", "null"):
        assert parse_origin(origin) == origin
    for wrong in ("pages.example.com", "https://pages.example.com/", "*", "https://*.example.com", ""):
        with pytest.raises(ConfigError, match="an origin is like"):
            parse_origin(wrong)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("https://pages.example.com:443", "but 'https://pages.example.com'"),
        ("HTTP://localhost:80", "but 'http://localhost'"),
        ("https://bücher.example", "but 'https://xn--bcher-kva.example'"),
        ("https://pages\u200b.example.com", "but 'https://pages.example.com'"),
        ("http://localhost:99999", "'http://localhost:99999'$"),
    ],
)
def test_an_origin_that_no_browser_sends_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"no browser sends the origin .*{reason}"):
        parse_origin(text)


@pytest.mark.parametrize(
    "text", ["HTTPS://Pages.example.com", "http://[::1]:8000", "app://.", "chrome-extension://abc:1"]
)
def test_an_origin_is_taken_as_it_is_otherwise(text: str) -> None:
    assert parse_origin(text) == text


def test_an_error_about_an_option_names_the_place_where_it_is_set() -> None:
    config = Config(StoredSecret("k"), Path(), places={"keep": "hookbot.toml:3: keep"})
    assert str(config.error("keep", "too long")) == "hookbot.toml:3: keep: too long"
    assert str(config.error("bind", "taken")) == "--bind: taken"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://hooks.example.com", "https://hooks.example.com"),
        ("HTTPS://Hooks.example.com/hub/", "https://hooks.example.com/hub"),
        ("http://[fd00::5]:8080", "http://[fd00::5]:8080"),
    ],
)
def test_senders_and_browsers_see_a_hub_at_a_url(text: str, url: str) -> None:
    assert parse_public(text) == url


@pytest.mark.parametrize(
    "text",
    ["", "example.com", "wss://example.com", "https://", "https://s3cret@example.com", "https://example.com/?s3cret"],
)
def test_what_is_no_public_url_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"like https://hooks\.example\.com") as caught:
        parse_public(text)
    assert "s3cret" not in str(caught.value)
