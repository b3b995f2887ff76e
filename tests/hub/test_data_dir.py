"""The data directory: where it is, and who has none."""

import os
import pwd
from pathlib import Path

import platformdirs
import pytest

from hookbot.errors import ConfigError
from hookbot.hub.data_dir import NO_HOME, default_data_dir, make_data_dir


def test_it_is_where_the_platform_keeps_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    if os.name == "posix" and "darwin" not in os.uname().sysname.lower():
        assert default_data_dir() == tmp_path / "hookbot"
    assert isinstance(default_data_dir(), Path)


@pytest.mark.parametrize("home", [None, "relative"])
def test_who_has_no_home_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: str | None) -> None:
    def unknown(_: object) -> None:
        raise KeyError("no such user")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    if home:
        monkeypatch.setenv("HOME", home)
    monkeypatch.chdir(tmp_path)
    assert default_data_dir() == NO_HOME
    with pytest.raises(
        ConfigError, match=r"^this user has no home directory: name a directory in the variable HOOKBOT_DATA_DIR"
    ):
        make_data_dir(default_data_dir())
    assert list(tmp_path.iterdir()) == []


def test_a_relative_one_of_the_platform_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platformdirs, "user_state_dir", lambda name: f"~/.local/state/{name}")
    assert default_data_dir() == NO_HOME


def test_a_new_one_is_readable_for_its_owner_only(tmp_path: Path) -> None:
    assert make_data_dir(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    make_data_dir(tmp_path / "a" / "b")


def test_one_that_cannot_be_made_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot make the directory .*/file/x: Not a directory; name a directory"):
        make_data_dir(tmp_path / "file" / "x")
