"""Profiles: which is used, and the file that holds them."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import platformdirs
import pytest

from hookbot.client.profiles import Profile, Profiles, change_profiles, profiles_file
from hookbot.errors import ConfigError

WORK = Profile("work", "https://hub.example.com", "secret1")
HOME = Profile("home", "http://localhost:8080/hooks", "secret2")


def file_with(path: Path, *profiles: Profile) -> Path:
    for one in profiles:
        change_profiles(path, lambda all_, one=one: all_.using(one))  # type: ignore[misc]
    return path


def test_the_last_one_is_used_unless_another_is_named(tmp_path: Path) -> None:
    profiles = Profiles.read(file_with(tmp_path / "p", HOME, WORK))

    assert profiles.find(None) == WORK
    assert profiles.find("home") == HOME
    with pytest.raises(ConfigError, match=r"no profile 'wkor'; did you mean 'work'"):
        profiles.find("wkor")


def test_without_any_there_is_none_but_for_one_that_is_named(tmp_path: Path) -> None:
    assert Profiles.read(tmp_path / "no" / "file").find(None) is None
    with pytest.raises(ConfigError, match=r"there is no profile 'work'; `hookbot profiles` lists them"):
        Profiles().find("work")


def test_another_one_is_chosen_as_the_default() -> None:
    both = Profiles().using(HOME).using(WORK)

    assert both.choosing("home").find(None) == HOME
    with pytest.raises(ConfigError, match="there is no profile 'other'"):
        both.choosing("other")


def test_when_the_default_goes_the_only_one_left_takes_its_place() -> None:
    three = Profiles().using(HOME).using(Profile("other", "https://other", "x")).using(WORK)

    assert three.without(WORK).default == ""
    with pytest.raises(ConfigError, match="no profile is the default: add --profile NAME"):
        three.without(WORK).find(None)
    assert three.without(WORK).without(HOME).default == "other"
    assert three.without(HOME).default == "work"


@pytest.mark.parametrize("name", ["", "a b", "a/b", "\x1b[31m", "x" * 101])
def test_a_name_is_one_that_can_be_typed_and_shown(name: str) -> None:
    with pytest.raises(ConfigError, match="a profile has a name of letters"):
        Profiles().using(Profile(name, "https://h", "t"))


def test_only_its_owner_can_read_the_file_and_what_is_new_there(tmp_path: Path) -> None:
    path = file_with(tmp_path / "a" / "b" / "profiles.json", WORK)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_can_read_or_write_is_not_used(tmp_path: Path, mode: int) -> None:
    path = file_with(tmp_path / "p", WORK)
    path.chmod(mode)

    with pytest.raises(ConfigError, match=r"others can read .*/p, which holds tokens: run `chmod 600"):
        Profiles.read(path)
    with pytest.raises(ConfigError, match="others can read"):
        change_profiles(path, lambda profiles: profiles.using(HOME))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_not_used(tmp_path: Path) -> None:
    path = file_with(tmp_path / "p", WORK)
    os.chown(path, 12345, 0)

    with pytest.raises(ConfigError, match="belongs to another user"):
        Profiles.read(path)


@pytest.mark.parametrize(
    "text",
    [
        *("", "secret1", "[]", "{}", "[" * 100_000, '{"default": "", "profiles": ["secret1"]}'),
        '{"default": "a", "profiles": {"a": {"url": "https://h"}}}',
        '{"default": "a", "profiles": {"a": "secret1"}}',
    ],
)
def test_a_damaged_file_is_told_without_what_is_in_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p"
    path.touch(0o600)
    path.write_text(text)

    with pytest.raises(ConfigError, match=r"is damaged: delete it, and log in again$") as error:
        Profiles.read(path)
    assert "secret1" not in str(error.value)


def test_what_cannot_be_read_or_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir(mode=0o700)
    with pytest.raises(ConfigError, match=r"cannot read .*: Is a directory"):
        Profiles.read(tmp_path / "directory")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot write .*/file/p: "):
        change_profiles(tmp_path / "file" / "p", lambda profiles: profiles.using(WORK))


def test_a_change_that_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    path = file_with(tmp_path / "p", WORK)

    def fail(_: Profiles) -> Profiles:
        return Profiles({"bad": Profile("bad", "https://h", b"no text")}, "bad")  # type: ignore[arg-type]

    with pytest.raises(TypeError):
        change_profiles(path, fail)

    assert Profiles.read(path).find(None) == WORK
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_to_the_file_stays_one(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "kept" / "p")

    file_with(link, WORK)

    assert link.is_symlink()
    assert Profiles.read(tmp_path / "kept" / "p").find(None) == WORK


def test_of_many_changes_at_once_none_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "p"
    each = [Profile(f"p{number}", "https://h", "t") for number in range(20)]
    threads = [Thread(target=file_with, args=(path, one)) for one in each]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(Profiles.read(path).by_name) == {one.name for one in each}


def test_urls_have_the_token_and_the_place_of_the_hub() -> None:
    assert WORK.url_at("/sub/a b/ü?") == "https://secret1@hub.example.com/sub/a%20b/%C3%BC%3F"
    assert HOME.url_at("/pub/x", "narrowed") == "http://narrowed@localhost:8080/hooks/pub/x"
    assert HOME.at("/hookbot/v1/session").path == "/hooks/hookbot/v1/session"
    assert "secret" not in repr(WORK) + str(WORK.at("/sub/x"))


def test_it_is_where_the_platform_keeps_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert profiles_file().name == "profiles.json"
    assert profiles_file().parent.name == "hookbot"


def raising(_: str) -> str:
    raise RuntimeError


@pytest.mark.parametrize("found", [raising, lambda name: f"~/.config/{name}"])
def test_who_has_no_home_has_no_profiles(monkeypatch: pytest.MonkeyPatch, found: Callable[[str], str]) -> None:
    monkeypatch.setattr(platformdirs, "user_config_dir", found)
    with pytest.raises(ConfigError, match="this user has no home directory, and so no profiles: give the whole URL"):
        profiles_file()


def test_a_link_to_itself_is_told(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(link)

    with pytest.raises(ConfigError, match=r"cannot read .*link: Too many levels of symbolic links"):
        file_with(link, WORK)
