"""Text that people paste and save, in every encoding that editors and shells have."""

import codecs
import os
from base64 import b64encode
from pathlib import Path

import pytest

from hookbot.errors import ConfigError
from hookbot.protocol.pasted import (
    check_seen,
    check_unmarked,
    clean_secret,
    decode,
    lines_of,
    read_text,
    trim,
    unquote,
    unseen_in,
)

MARKED = (
    codecs.BOM_UTF8 + "é\n".encode(),
    codecs.BOM_UTF16_LE + "é\n".encode("utf-16-le"),
    codecs.BOM_UTF16_BE + "é\n".encode("utf-16-be"),
    codecs.BOM_UTF32_LE + "é\n".encode("utf-32-le"),
    codecs.BOM_UTF32_BE + "é\n".encode("utf-32-be"),
)
PEM = "-----BEGIN PUBLIC KEY-----\nMFkw\nEwYH\n-----END PUBLIC KEY-----"


@pytest.mark.parametrize(
    "data", [*MARKED, "é\n".encode(), "é\r\n".encode(), "é\r".encode(), codecs.BOM_UTF8 + MARKED[0]]
)
def test_a_file_is_read_whatever_wrote_it(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    assert read_text(tmp_path / "file") == decode(data) == "é\n"


@pytest.mark.parametrize(
    "data", ["é".encode("latin-1"), "é".encode("utf-16-le"), "ab".encode("utf-16-be"), b"\xff\xfea"]
)
def test_what_is_in_no_known_encoding_is_refused_with_what_to_do(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(ConfigError, match=r"^the list cannot be read: it is neither UTF-8 .*: save it as UTF-8$"):
        read_text(tmp_path / "file", "the list")


def test_a_file_without_an_end_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^the list cannot be read: it has more than 64 MiB$"):
        read_text(Path("/dev/zero"), "the list")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere cannot be read: No such file or directory$"):
        read_text(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "edge", [*" \t\r\n\v\f\x85\xa0\xad", *"\u2003\u200b\u200d\u200e\u2028\u202f\u2060\u3000\ufeff\0"]
)
def test_what_cannot_be_seen_is_removed_at_the_edges_and_named_within(edge: str) -> None:
    assert trim(f"{edge}a b{edge}{edge}") == "a b"
    assert trim(edge) == ""
    assert unseen_in("a b") == ""
    assert unseen_in(f"a{edge}b", allowed="").startswith(f"U+{ord(edge):04X} ")


def test_letters_of_any_script_and_bytes_that_are_no_text_can_be_seen() -> None:
    text = "ü 密 \udcff \ue000 🔑"
    assert trim(text) == check_seen(text, "it") == text


def test_an_error_names_the_character_and_the_line() -> None:
    with pytest.raises(ConfigError, match=r"^line 3 of the list contains U\+0009 TAB, which cannot be seen"):
        lines_of("one\r\n\r\ntwo\tthree", "the list")


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_lines_are_trimmed_and_empty_ones_left_out(end: str) -> None:
    assert lines_of(end.join(["\ufeffa", "", " \u200b", "\xa0b c "]), "it") == ("a", "b c")


def test_quotation_marks_and_angle_brackets_are_taken_off_once() -> None:
    assert [unquote(text) for text in ('"a"', "'a'", "“a”", "„a“", "<a>", "< a >")] == ["a"] * 6
    assert [unquote(text) for text in ('"a', '"', "", 'a"', "'a\"")] == ['"a', '"', "", 'a"', "'a\""]


@pytest.mark.parametrize(
    "saved",
    [
        PEM,
        f"\ufeff{PEM}\r\n",
        PEM.replace("\n", "\r\n"),
        PEM.replace("\n", r"\n") + r"\n",
        PEM.replace("\n", r"\r\n"),
        PEM.replace("\n", " "),
        PEM.replace("\n", "\n    "),
        PEM.replace("\n", "\u200b\n"),
    ],
)
def test_a_key_in_pem_has_its_lines_again(saved: str) -> None:
    assert clean_secret(saved, "it") == PEM


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n  ", " "])
@pytest.mark.parametrize("width", [64, 76])
@pytest.mark.parametrize("size", [60, 64, 65, 95, 96, 300])
def test_base64_that_was_wrapped_is_one_line_again(size: int, width: int, end: str) -> None:
    secret = b64encode(bytes(range(256)) * 2)[40 : 40 + size // 3 * 4].decode() + "ag=="
    lines = [secret[start : start + width] for start in range(0, len(secret), width)]

    assert clean_secret(end.join(lines) + "\n", "it") == secret


@pytest.mark.parametrize(
    "lines", [["0f" * 32, "a1" * 16], ["q" * 64, "q" * 63], ["q" * 60, "qq=="], ["q" * 64, "-qqq"]]
)
def test_lines_that_may_be_several_secrets_are_not_joined(lines: list[str]) -> None:
    with pytest.raises(ConfigError, match="LINE FEED"):
        clean_secret("\n".join(lines), "it")


def test_a_bundle_in_pem_keeps_its_comments() -> None:
    bundle = f"# é\n{PEM}\n\n# two\n{PEM}"
    assert clean_secret(bundle, "it") == bundle


@pytest.mark.parametrize(
    "secret",
    ["s3cr3t", "two words", "$s3cr3t", "$2b$10$", "100%", "a${B}", '{\n\t"kty": "oct"\r\n}', "it's", '"', 'a"b'],
)
def test_a_secret_is_kept_within(secret: str) -> None:
    assert clean_secret(f"\ufeff {secret}\r\n", "it") == secret


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("s3c\u200bret", r"^the file contains U\+200B ZERO WIDTH SPACE, which cannot be seen: remove it$"),
        ("s3c\nret", r"contains U\+000A LINE FEED"),
        ("s3c\xa0ret", r"contains U\+00A0 NO-BREAK SPACE"),
        ("s3c\x1bret", r"contains U\+001B CONTROL"),
        ('"s3cret"', r'^the file is in "", which would be a part of it: remove them$'),
        ("‘s3cret’", "is in ‘’"),
        ("$S3CRET", "^the file is the name of a variable or file, not its value: "),
        ("${s3cret}", "is the name of a variable"),
        ("${S3CRET:?not set}", "is the name of a variable"),
        ("$(cat s3cret)", "is the name of a variable"),
        ("%S3CRET%", "is the name of a variable"),
        ("{{ s3cret }}", "is the name of a variable"),
        ("${{ secrets.s3cret }}", "is the name of a variable"),
        ("$env:s3cret", "is the name of a variable"),
        ("ENV:S3CRET", "is the name of a variable"),
        ("File:/run/s3cret", "is the name of a variable"),
    ],
)
def test_a_secret_that_would_have_to_be_guessed_is_refused_without_showing_it(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as refused:
        clean_secret(text, "the file")
    assert "s3c" not in str(refused.value)


@pytest.mark.parametrize("data", MARKED)
def test_a_file_for_openssl_must_not_begin_with_a_mark(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "ca.pem").write_bytes(data)
    with pytest.raises(ValueError, match=r"ca\.pem begins with a byte order mark"):
        check_unmarked(tmp_path / "ca.pem")
    (tmp_path / "ca.pem").write_bytes(b"")
    check_unmarked(tmp_path / "ca.pem")


def test_nothing_is_taken_from_a_pipe() -> None:
    reader, writer = os.pipe()
    with open(reader, "rb") as pipe, open(writer, "wb") as file:
        file.write(MARKED[0])
        file.close()
        check_unmarked(Path(f"/dev/fd/{reader}"))
        assert pipe.read() == MARKED[0]
