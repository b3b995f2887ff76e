"""The chain of a narrowed token, and everything a holder might do to it."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from itertools import permutations
from string import ascii_letters, digits
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hookbot.access.narrowed_tokens import CAVEATS, MAX_LENGTH, SIGNATURE_BYTES, NarrowedToken
from hookbot.access.tokens import Digest, make_token
from support import KEY

PATH = "/sub/"
SAMPLES = {
    "path": ["/sub/a/", "/sub/ü"],
    "only": ["sub", "pub"],
    "expires": ["0", "1800000000"],
    "since": ["1700000000"],
    "live": ["1"],
    "cursor": ["deploy"],
    "name": ["ann@example.org"],
    "session": ["1800000000"],
}
CAVEAT = st.sampled_from([(name, value) for name, values in SAMPLES.items() for value in values])
PAIRS = st.lists(CAVEAT, min_size=1, max_size=6)


def root(path: str = PATH, digest: Digest = "sha1", key: str = KEY) -> NarrowedToken:
    return NarrowedToken.of(make_token(key, path, digest), path)


def chain(pairs: list[tuple[str, str]], **of: Any) -> NarrowedToken:
    narrowed = root(**of)
    for name, value in pairs:
        narrowed = narrowed.narrow(name, value)
    return narrowed


def encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def is_read(text: str) -> bool:
    """True if the text has the form of a token."""
    try:
        NarrowedToken.parse(text)
    except ValueError:
        return False
    return True


def is_good(text: str, key: str = KEY) -> bool:
    """True if a hub would accept the text as a token."""
    try:
        return NarrowedToken.parse(text).is_made_with(key)
    except ValueError:
        return False


def test_the_bytes_are_as_documented() -> None:
    token = make_token(KEY, PATH)
    first = hmac.digest(token.encode(), b"hookbot narrowed token", "sha256")
    second = hmac.digest(first, b"only=sub", "sha256")
    third = hmac.digest(second, b"expires=1800000000", "sha256")

    narrowed = chain([("only", "sub"), ("expires", "1800000000")])

    assert str(narrowed) == encode(b"sha1\n/sub/\nonly=sub\nexpires=1800000000\n" + third)


@given(PAIRS, st.sampled_from(["sha1", "sha256"]), st.sampled_from(["/", "/sub/", "/ü/", "/a b", ""]))
def test_what_is_written_is_read_again_and_genuine(pairs: list[tuple[str, str]], digest: str, path: str) -> None:
    narrowed = chain(pairs, digest=digest, path=path)

    read = NarrowedToken.parse(str(narrowed))

    assert read == narrowed
    assert read.caveats == tuple(f"{name}={value}" for name, value in pairs)
    assert (read.digest, read.path) == (digest, path)
    assert read.is_made_with(KEY)


@given(PAIRS, CAVEAT)
def test_whoever_has_one_can_narrow_it_further_without_the_key(
    pairs: list[tuple[str, str]], more: tuple[str, str]
) -> None:
    received = NarrowedToken.parse(str(chain(pairs)))
    assert str(received.narrow(*more)) == str(chain([*pairs, more]))


@given(PAIRS)
def test_no_caveat_can_be_taken_away(pairs: list[tuple[str, str]]) -> None:
    narrowed = chain(pairs)
    for n in range(len(pairs)):
        for fewer in (narrowed.caveats[:n], narrowed.caveats[:n] + narrowed.caveats[n + 1 :]):
            assert not is_good(str(NarrowedToken("sha1", PATH, fewer, narrowed.signature)))


@given(PAIRS)
def test_the_order_of_caveats_cannot_be_changed(pairs: list[tuple[str, str]]) -> None:
    narrowed = chain(pairs[:4])
    for others in permutations(narrowed.caveats):
        if others != narrowed.caveats:
            assert not is_good(str(NarrowedToken("sha1", PATH, others, narrowed.signature)))


@given(PAIRS, PAIRS)
def test_no_caveat_can_be_changed(pairs: list[tuple[str, str]], others: list[tuple[str, str]]) -> None:
    assume(pairs != others)
    narrowed = chain(pairs)
    altered = tuple(f"{name}={value}" for name, value in others)
    assert not is_good(str(NarrowedToken("sha1", PATH, altered, narrowed.signature)))


@given(PAIRS, st.data())
def test_no_byte_can_be_changed_added_or_taken_away(pairs: list[tuple[str, str]], data: st.DataObject) -> None:
    good = decode(str(chain(pairs)))
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, min(len(good), start + 4)))
    other = data.draw(st.binary(max_size=4))
    forged = good[:start] + other + good[end:]
    assume(forged != good)
    assert not is_good(encode(forged))


@given(PAIRS, st.data())
def test_a_token_has_one_spelling(pairs: list[tuple[str, str]], data: st.DataObject) -> None:
    text = str(chain(pairs))
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 2)))
    other = data.draw(st.text(ascii_letters + digits + "-_=+/ \n\u00e4", max_size=3))
    spelling = text[:start] + other + text[end:]
    assume(spelling != text)
    assert not is_good(spelling)


@pytest.mark.parametrize("spell", [lambda t: t + "=", lambda t: t + "==", lambda t: f" {t}", lambda t: t + "\n"])
def test_padding_and_white_space_are_another_spelling(spell: Callable[..., Any]) -> None:
    for pairs in ([("only", "sub")], [("only", "sub"), ("live", "1")], [("name", "a")], [("name", "aa")]):
        assert is_read(str(chain(pairs)))
        assert not is_read(spell(str(chain(pairs))))


def test_bits_that_decode_to_nothing_are_another_spelling() -> None:
    text = next(text for n in range(3) if len(text := str(chain([("name", "a" * (n + 1))]))) % 4)
    alphabet = ascii_letters[26:] + ascii_letters[:26] + digits + "-_"
    same = [text[:-1] + last for last in alphabet if decode(text[:-1] + last) == decode(text)]
    assert len(same) > 1
    assert [is_good(spelling) for spelling in same].count(True) == 1


@given(PAIRS)
def test_neither_path_nor_digest_nor_key_can_be_another(pairs: list[tuple[str, str]]) -> None:
    narrowed = chain(pairs)
    others: list[tuple[Digest, str]] = [("sha256", PATH), ("sha1", "/"), ("sha1", "/sub/a/"), ("sha1", "")]
    for digest, path in others:
        assert not is_good(str(NarrowedToken(digest, path, narrowed.caveats, narrowed.signature)))
    assert not is_good(str(narrowed), key="another key")


def test_a_caveat_cannot_become_a_part_of_the_path_nor_the_other_way_round() -> None:
    narrowed = chain([("only", "sub")], path="/a")
    assert not is_good(encode(b"sha1\n/a\nonly=sub\n" + root(path="/a").signature))
    assert not is_good(encode(b"sha1\n/a only=sub\n" + narrowed.signature))
    with pytest.raises(ValueError, match="not a token"):
        NarrowedToken.of(make_token(KEY, "/a\nonly=sub"), "/a\nonly=sub")


def test_a_signature_is_not_the_root_of_another_chain() -> None:
    narrowed = chain([("only", "sub")])
    hexadecimal = narrowed.signature.hex()
    assert not is_good(str(NarrowedToken.of(hexadecimal, PATH)))
    assert not is_good(str(NarrowedToken.of(hexadecimal, PATH).narrow("only", "pub")))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_token_or_a_value_error(data: bytes) -> None:
    assert not is_good(encode(data))


@given(st.text(max_size=200))
def test_any_text_is_a_token_or_a_value_error(text: str) -> None:
    assert not is_good(text)


@pytest.mark.parametrize("head", [b"", b"sha1\n", b"sha1\n/sub/", b"md5\n/sub/\n", b"sha1\n/sub/\n\xff\n"])
def test_what_only_looks_like_one_is_none(head: bytes) -> None:
    assert is_read(encode(b"sha1\n/sub/\n" + bytes(SIGNATURE_BYTES)))
    assert not is_read(encode(head + bytes(SIGNATURE_BYTES)))


def test_a_token_is_not_read_beyond_the_longest_there_is() -> None:
    narrowed = root()
    while len(str(narrowed)) <= MAX_LENGTH:
        longest, narrowed = narrowed, narrowed.narrow("name", "n" * 20)
    assert is_good(str(longest))
    assert not is_good(str(narrowed))


def test_a_token_that_nobody_reads_is_not_given_away() -> None:
    narrowed = root()
    while len(str(narrowed)) <= MAX_LENGTH:
        longest, narrowed = narrowed, narrowed.narrow("name", "n" * 20)
    assert longest.text() == str(longest)
    with pytest.raises(ValueError, match="narrowed too often"):
        narrowed.text()


def test_any_token_is_read_as_a_narrowed_one() -> None:
    narrowed = root().narrow("only", "sub")
    assert NarrowedToken.read(str(narrowed), "/other") == narrowed
    assert NarrowedToken.read(make_token(KEY, PATH), PATH) == root()
    with pytest.raises(ValueError, match="not a token"):
        NarrowedToken.read("a token", PATH)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("path", "sub/"),
        ("path", "/sub/\nonly=pub"),
        ("only", "operate"),
        ("only", ""),
        ("expires", "tomorrow"),
        ("expires", "-1"),
        ("expires", "1e9"),
        ("expires", "9" * 13),
        ("since", "\u0661"),
        ("live", "0"),
        ("cursor", "a/b"),
        ("name", ""),
        ("name", "a b"),
        ("name", "#a"),
        ("colour", "blue"),
        ("", ""),
    ],
)
def test_nobody_can_be_narrowed_to_what_no_hub_understands(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="a token cannot be narrowed"):
        root().narrow(name, value)


def test_every_kind_of_caveat_can_be_bound() -> None:
    assert SAMPLES.keys() == CAVEATS.keys()
    for name, values in SAMPLES.items():
        for value in values:
            assert root().narrow(name, value).caveats == (f"{name}={value}",)


@pytest.mark.parametrize("token", ["", "a" * 39, "A" * 40, "g" * 40, "0" * 41, "0" * 65, make_token(KEY, "/") + "\n"])
def test_only_a_plain_token_is_a_root(token: str) -> None:
    with pytest.raises(ValueError, match="not a token"):
        NarrowedToken.of(token, "/")
