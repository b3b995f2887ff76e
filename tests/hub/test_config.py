"""Configurations: their repr, addresses, and the default data directory."""

import os
from pathlib import Path

import pytest

from hookbot.errors import ConfigError
from hookbot.hub.config import Config, default_data_dir, parse_address
from hookbot.hub.secret_store import StoredSecret


def test_a_configuration_does_not_show_its_secrets(tmp_path: Path) -> None:
    config = Config(
        StoredSecret("the key"), tmp_path, old_keys=("an old key",), github_secrets=(StoredSecret("the secret"),)
    )
    assert "the key" not in repr(config)
    assert "an old key" not in repr(config)
    assert "the secret" not in repr(config)
    assert config.keys == ("the key", "an old key")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":8080", ("", 8080)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:80", ("::1", 80)),
        ("hub.example:65535", ("hub.example", 65535)),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "8080", "hub.example", ":", ":http", ":-1", ":65536", "[::1]"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="address"):
        parse_address(text)


def test_the_data_lies_where_the_platform_keeps_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    if os.name == "posix" and "darwin" not in os.uname().sysname.lower():
        assert default_data_dir() == tmp_path / "hookbot"
    assert isinstance(default_data_dir(), Path)


def test_connections_have_to_end_before_the_grace_does(tmp_path: Path) -> None:
    assert Config(StoredSecret("the key"), tmp_path, grace_s=10).leave_s == 9
