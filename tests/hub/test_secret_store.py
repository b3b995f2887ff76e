"""Secrets of a hub: their places, and the mode of the files that it creates."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from hookbot.errors import ConfigError
from hookbot.hub.data_dir import NO_HOME
from hookbot.hub.secret_store import (
    StoredSecret,
    find_lines,
    find_secret,
    find_shared_secret,
    known_secret,
    read_at_rest_key,
    read_revoked,
    read_secret_file,
    resolve_secret,
)

NAME = "HOOKBOT_KEY"


@pytest.fixture
def kept_in(tmp_path: Path) -> Path:
    return tmp_path / "data" / "key"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mounted"
    path.write_text("from a file\n")
    return path


def test_a_secret_on_the_command_line_comes_first(kept_in: Path, file: Path) -> None:
    environ = {NAME: "from the environment", f"{NAME}_FILE": str(file)}
    assert find_secret("given", NAME, environ, kept_in) == StoredSecret("given")


def test_then_the_environment_then_the_file_that_it_names(kept_in: Path, file: Path) -> None:
    environ = {NAME: "from the environment", f"{NAME}_FILE": str(file)}
    assert find_secret(None, NAME, environ, kept_in) == StoredSecret("from the environment")
    assert find_secret("", NAME, {**environ, NAME: ""}, kept_in) == StoredSecret("from a file", file)


def test_then_the_data_directory(kept_in: Path) -> None:
    kept_in.parent.mkdir()
    kept_in.write_text("kept\n")
    assert find_secret(None, NAME, {}, kept_in) == StoredSecret("kept", kept_in)


def test_a_secret_that_is_nowhere_is_made_and_kept(kept_in: Path) -> None:
    made = find_secret(None, NAME, {}, kept_in)
    found = find_secret(None, NAME, {}, kept_in)

    assert (made.path, made.new) == (kept_in, True)
    assert (found.value, found.path, found.new) == (made.value, kept_in, False)
    assert len(made.value) == 64
    assert list(kept_in.parent.iterdir()) == [kept_in]


def test_nobody_else_can_read_a_secret_that_was_made(kept_in: Path) -> None:
    find_secret(None, NAME, {}, kept_in)
    assert stat.S_IMODE(kept_in.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept_in.parent.stat().st_mode) == 0o700


def test_each_secret_that_is_made_is_another(tmp_path: Path) -> None:
    assert len({find_secret(None, NAME, {}, tmp_path / str(n)).value for n in range(10)}) == 10


@pytest.mark.slow
def test_all_who_start_at_once_have_the_same_secret(tmp_path: Path) -> None:
    starters = 4
    barrier = Barrier(starters)

    def start(directory: Path) -> StoredSecret:
        barrier.wait()
        return find_secret(None, NAME, {}, directory / "key")

    with ThreadPoolExecutor(starters) as pool:
        for number in range(100):
            directory = tmp_path / str(number)
            found = list(pool.map(start, [directory] * starters))
            assert len({secret.value for secret in found}) == 1
            assert sum(secret.new for secret in found) == 1
            assert [path.name for path in directory.iterdir()] == ["key"]


def test_a_secret_that_cannot_be_kept_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot make the directory"):
        find_secret(None, NAME, {}, tmp_path / "file" / "state" / "key")


def test_who_may_not_make_a_secret_is_told_that_there_is_none(kept_in: Path) -> None:
    with pytest.raises(ConfigError, match="key"):
        find_secret(None, NAME, {}, kept_in, make=False)
    assert not kept_in.exists()


def test_a_secret_that_hubs_share_is_given_at_each_of_them(kept_in: Path, file: Path) -> None:
    assert find_shared_secret("given", NAME, {}, kept_in).value == "given"
    assert find_shared_secret(None, NAME, {NAME: "from the environment"}, kept_in).value == "from the environment"
    assert find_shared_secret(None, NAME, {f"{NAME}_FILE": str(file)}, kept_in).value == "from a file"
    kept = find_secret(None, NAME, {}, kept_in)
    assert find_shared_secret(None, NAME, {}, kept_in) == StoredSecret(kept.value, kept_in)


@pytest.mark.parametrize(
    ("name", "what"),
    [(NAME, "there is no key,"), ("HOOKBOT_GITHUB_SECRET", "there is no secret for GitHub's webhooks,")],
)
def test_a_secret_that_hubs_share_is_not_made_by_one_of_them(name: str, what: str, kept_in: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        find_shared_secret(None, name, {}, kept_in)

    assert str(caught.value).startswith(what)
    assert "openssl rand -hex 32" in str(caught.value)
    assert f"set {name}, or {name}_FILE to the path of a file with it, or put it into {kept_in}" in str(caught.value)
    assert not kept_in.parent.exists()


def test_a_user_without_a_home_is_not_told_to_put_a_secret_there() -> None:
    with pytest.raises(ConfigError, match=r"of a file with it$"):
        find_shared_secret(None, NAME, {}, NO_HOME / "key")


def test_who_only_uses_a_secret_makes_none(kept_in: Path, file: Path) -> None:
    assert known_secret(None, NAME, {}, kept_in) is None
    assert not kept_in.parent.exists()
    assert known_secret("given", NAME, {}, kept_in) == "given"
    assert known_secret(None, NAME, {NAME: "from the environment"}, kept_in) == "from the environment"
    assert known_secret(None, NAME, {f"{NAME}_FILE": str(file)}, kept_in) == "from a file"
    find_secret(None, NAME, {}, kept_in)
    assert known_secret(None, NAME, {}, kept_in) == kept_in.read_text().strip()


@pytest.mark.parametrize(
    ("content", "secret"),
    [("key", "key"), ("key\n", "key"), ("  key \r\n", "key"), ("key\nsomething else\n", "key"), ("clé\n", "clé")],
)
def test_the_secret_is_the_first_line_of_its_file(file: Path, content: str, secret: str) -> None:
    file.write_bytes(content.encode())
    assert read_secret_file(file, "a test") == secret


@pytest.mark.parametrize("content", [b"", b"\n", b" \n\xc2\xa0\n", b"\xff\xfe", "a key".encode("utf-16-le")])
def test_a_file_without_a_secret_is_refused_by_name(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=str(file)):
        find_secret(None, NAME, {f"{NAME}_FILE": str(file)}, file)


def test_a_file_that_is_not_there_is_not_replaced_by_a_new_secret(tmp_path: Path, kept_in: Path) -> None:
    with pytest.raises(ConfigError, match=r"HOOKBOT_KEY_FILE.*cannot be read"):
        find_secret(None, NAME, {f"{NAME}_FILE": str(tmp_path / "missing")}, kept_in)
    assert not kept_in.exists()


def test_a_place_where_nothing_can_be_kept_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(ConfigError, match="/file: "):
        find_secret(None, NAME, {}, tmp_path / "file" / "key")


@pytest.mark.parametrize("key", [" key", "key\n", "key\r\n", "\ufeffkey", '"key"'])
def test_a_key_that_is_given_stays_as_it_is_with_a_warning(
    kept_in: Path, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    assert find_secret(None, NAME, {NAME: key}, kept_in).value == find_secret(key, NAME, {}, kept_in).value == key
    assert "begins or ends with" in caplog.text
    assert "key\n" not in caplog.text.replace("whose key", "")
    assert find_secret(None, "HOOKBOT_GITHUB_SECRET", {"HOOKBOT_GITHUB_SECRET": "s\n"}, kept_in).value == "s"


def test_a_key_that_is_blank_is_refused(kept_in: Path) -> None:
    with pytest.raises(ConfigError, match="is blank"):
        find_secret(" \n", NAME, {}, kept_in)


def test_a_key_in_quotation_marks_stays_as_it_is_in_a_file_too(
    kept_in: Path, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text('"key"\n')
    assert find_secret(None, NAME, {f"{NAME}_FILE": str(file)}, kept_in).value == '"key"'
    assert 'begins or ends with "' in caplog.text


def test_a_secret_in_quotation_marks_is_refused_in_a_file_too(kept_in: Path, file: Path) -> None:
    file.write_text('"secret"\n')
    with pytest.raises(ConfigError, match="HOOKBOT_GITHUB_SECRET is in"):
        find_secret(None, "HOOKBOT_GITHUB_SECRET", {"HOOKBOT_GITHUB_SECRET_FILE": str(file)}, kept_in)


def test_a_key_that_anybody_could_guess_from_a_configuration_is_told(
    kept_in: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert find_secret(None, NAME, {NAME: "${HOOKBOT_KEY}"}, kept_in).value == "${HOOKBOT_KEY}"
    assert "is the name of a variable" in caplog.text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_key_file_and_a_list_are_read_as_they_are_meant(tmp_path: Path, kept_in: Path, encoding: str) -> None:
    file = tmp_path / "mounted"
    file.write_bytes("\r\nfirst\xa0\r\n\ufeffsecond\r\n".encode(encoding))
    assert find_secret(None, NAME, {f"{NAME}_FILE": str(file)}, kept_in).value == "first"
    assert find_lines("HOOKBOT_OLD_KEYS", {}, file) == ("first", "second")


@pytest.mark.parametrize(
    ("text", "lines"),
    [("a\nb\n", ("a", "b")), ("a", ("a",)), (" a \n\n\r\nb", ("a", "b")), ("\n \n", ())],
)
def test_several_secrets_are_a_line_each(tmp_path: Path, text: str, lines: tuple[Any, ...]) -> None:
    name, file = "HOOKBOT_OLD_KEYS", tmp_path / "old-keys"
    assert find_lines(name, {name: text}, file) == lines
    file.write_text(text)
    assert find_lines(name, {f"{name}_FILE": str(file)}, tmp_path / "missing") == lines
    assert find_lines(name, {}, file) == lines


def test_several_secrets_are_checked_like_one(kept_in: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert find_lines("HOOKBOT_OLD_KEYS", {"HOOKBOT_OLD_KEYS": '"key"\nother'}, kept_in) == ('"key"', "other")
    assert 'begins or ends with "' in caplog.text
    for text in ('"secret"', "${OLD_SECRET}"):
        with pytest.raises(ConfigError, match="HOOKBOT_OLD_GITHUB_SECRETS is"):
            find_lines("HOOKBOT_OLD_GITHUB_SECRETS", {"HOOKBOT_OLD_GITHUB_SECRETS": text}, kept_in)


@pytest.mark.parametrize("name", ["HOOKBOT_OLD_KEYS", "HOOKBOT_OLD_GITHUB_SECRETS"])
def test_what_looks_like_a_comment_beside_secrets_is_told(
    name: str, kept_in: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert find_lines(name, {name: "# of 2025\nother"}, kept_in) == ("# of 2025", "other")
    assert "begins with # as a part of it" in caplog.text
    assert "2025" not in caplog.text


def test_several_secrets_may_be_none(tmp_path: Path, file: Path) -> None:
    name = "HOOKBOT_OLD_KEYS"
    assert find_lines(name, {}, tmp_path / "missing") == ()
    assert find_lines(name, {name: "", f"{name}_FILE": str(file)}, tmp_path / "missing") == ("from a file",)
    with pytest.raises(ConfigError, match="HOOKBOT_OLD_KEYS_FILE"):
        find_lines(name, {f"{name}_FILE": str(tmp_path / "missing")}, file)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-8"])
def test_every_name_in_a_list_is_revoked_whatever_saved_it(tmp_path: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / "revoked").write_bytes(f"{mark}kiosk\u200b\r\n# lost:\t2\xa0of\u200b3\r\n\xa0ann\t".encode(encoding))
    assert read_revoked(tmp_path / "revoked", "--revoked") == {"kiosk", "ann"}


@pytest.mark.parametrize("line", ['"kiosk"', "kiosk,", "kiosk # lost", "kiosk ann", "ki\u200bosk"])
def test_a_line_that_would_revoke_nothing_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "revoked").write_text(f"bob\n{line}\n")
    with pytest.raises(ConfigError, match=str(tmp_path / "revoked")):
        read_revoked(tmp_path / "revoked", "--revoked")


def test_a_configuration_says_where_a_secret_is(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "from the environment")
    file.write_text("-----BEGIN KEY-----\nmany lines\n")
    assert resolve_secret("env:A_SECRET") == "from the environment"
    assert resolve_secret(f"file:{file}") == "-----BEGIN KEY-----\nmany lines"
    assert resolve_secret("itself: yes") == "itself: yes"


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", " ", "\xa0", "\u200b"])
def test_a_secret_is_the_same_from_a_file_and_from_a_variable(
    file: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setenv("A_SECRET", f"\ufeffs3cr3t{end}")
    file.write_bytes(f"s3cr3t{end}".encode("utf-16"))
    for value in ("env:A_SECRET", f"file:{file}", f" file:{file}", f"s3cr3t{end}"):
        assert resolve_secret(value) == "s3cr3t"


@pytest.mark.parametrize("text", ["s3c\u200bret", '"s3cret"', "s3c\nret"])
def test_a_secret_that_would_have_to_be_guessed_is_refused_with_its_place(
    file: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("A_SECRET", text)
    file.write_text(text)
    for value, place in (("env:A_SECRET", "A_SECRET"), (f"file:{file}", str(file)), (text, "the secret")):
        with pytest.raises(ConfigError, match=place) as refused:
            resolve_secret(value)
        assert "s3c" not in str(refused.value)


@pytest.mark.parametrize(
    "value", ["env:NO_SUCH_SECRET", "env:BLANK", "env:", "file:/no/such/file", "file:/dev/null", "file:a\0b"]
)
def test_a_secret_that_is_not_where_it_should_be_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLANK", " \n")
    with pytest.raises(ConfigError):
        resolve_secret(value)


def test_a_key_at_rest_is_64_digits_somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("0123456789abcdefABCDEF" + "0" * 42 + "\n")
    monkeypatch.setenv("AT_REST", "f" * 64)

    assert read_at_rest_key(f"file:{tmp_path / 'key'}").startswith(b"\x01\x23\x45\x67\x89\xab\xcd\xef\xab\xcd\xef\x00")
    assert read_at_rest_key("env:AT_REST") == b"\xff" * 32


@pytest.mark.parametrize("wrong", ["f" * 63, "f" * 65, "g" * 64, "f" * 32 + " " + "f" * 31])
def test_anything_else_is_no_key_at_rest_and_is_not_shown(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AT_REST", wrong)

    for given, told in (("env:AT_REST", "must be 64 hexadecimal digits"), (wrong, "not as it is")):
        with pytest.raises(ConfigError, match=told) as caught:
            read_at_rest_key(given)
        assert wrong not in str(caught.value)
