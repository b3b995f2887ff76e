"""Tokens, and which path they open."""

import hashlib
import hmac
import json
from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookbot.access.tokens import DIGESTS, MAX_TOKENS, Digest, find_opening, find_tokens, make_token, opening_paths
from hookbot.protocol.request import Request

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/tokens.json").read_text())["vectors"]
PATHS = st.lists(st.sampled_from(["pub", "sub", "unsafe", "x", "foo"]), max_size=6).map(
    lambda parts: "/" + "/".join(parts)
)


@pytest.mark.parametrize(
    "vector", [vector for vector in VECTORS if "%" not in vector["uri"] and "?" not in vector["uri"]]
)
def test_tokens_are_those_of_the_ancestor(vector: dict[str, str]) -> None:
    assert make_token(vector["key"], vector["uri"]) == vector["token"]


@pytest.mark.parametrize("digest", DIGESTS)
def test_a_token_is_the_hmac_of_the_path_in_hexadecimal(digest: Digest) -> None:
    expected = hmac.new(b"key", "/pub/été".encode(), getattr(hashlib, digest)).hexdigest()
    assert make_token("key", "/pub/été", digest) == expected
    assert len(expected) == DIGESTS[digest]


def test_a_key_of_any_bytes_makes_tokens() -> None:
    key = b"\xff\xfe".decode("utf-8", "surrogateescape")  # as the environment has it
    assert make_token(key, "/pub/foo") == hmac.new(b"\xff\xfe", b"/pub/foo", "sha1").hexdigest()


@pytest.mark.parametrize(
    ("path", "opening"),
    [
        ("/pub/foo/bar", {"/", "/pub/", "/pub/foo/", "/pub/foo/bar", "/foo/", "/foo/bar"}),
        ("/sub/foo/", {"/", "/sub/", "/sub/foo/", "/foo/"}),
        ("/sub/", {"/", "/sub/"}),
        ("/foo/bar", {"/", "/foo/", "/foo/bar"}),
        ("/unsafe/sub/foo", {"/", "/unsafe/", "/unsafe/sub/", "/unsafe/sub/foo"}),
        ("/pub/sub/x", {"/", "/pub/", "/pub/sub/", "/pub/sub/x", "/sub/", "/sub/x"}),
        ("/pub/pub/x", {"/", "/pub/", "/pub/pub/", "/pub/pub/x", "/pub/x"}),
        ("/public/x", {"/", "/public/", "/public/x"}),
        ("/subway", {"/", "/subway"}),
        ("/a/pub/x", {"/", "/a/", "/a/pub/", "/a/pub/x"}),
        ("/sub/foo?recursive", {"/", "/sub/", "/sub/foo?recursive", "/foo?recursive"}),
    ],
)
def test_a_path_is_opened_by_its_own_token_and_those_of_the_subtrees_around_it(path: str, opening: set[str]) -> None:
    assert set(opening_paths(path)) == opening


@given(PATHS)
def test_a_token_opens_what_is_beneath_it_with_or_without_pub_or_sub(path: str) -> None:
    stripped = path[4:] if path.startswith(("/pub/", "/sub/")) else path
    expected = {
        whole[:end]
        for whole in (path, stripped)
        for end in range(1, len(whole) + 1)
        if end == len(whole) or whole[end - 1] == "/"
    }
    assert set(opening_paths(path)) == expected


# --- tokens of a request


def request(*headers: tuple[str, str], target: str = "/sub/x", method: str = "GET") -> Request:
    return Request(method, target.encode(), headers)


def basic(user: str) -> str:
    return b64encode(f"{user}:password".encode("latin-1")).decode()


@pytest.mark.parametrize(
    ("authorization", "tokens"),
    [
        ("Bearer abc", ["abc"]),
        ("bearer   abc ", ["abc"]),
        (f"Basic {basic('abc')}", ["abc"]),
        ("BASIC " + basic("\xe9"), ["\xe9"]),
        (f"Basic {basic('')}", []),
        ("Basic !!!", []),
        ("Basic YWJ", []),
        ("Digest abc", []),
        ("abc", []),
        ("", []),
    ],
)
def test_a_token_is_found_in_the_authorization(authorization: str, tokens: list[str]) -> None:
    assert find_tokens(request(("Authorization", authorization))) == tokens


def test_a_browser_sends_its_token_as_a_subprotocol_beside_others() -> None:
    upgrade = request(("Sec-WebSocket-Protocol", "hookbot.v1, hookbot.token.abc, hookbot.token.def"))

    assert find_tokens(upgrade) == ["abc", "def"]
    assert find_tokens(request(("Sec-WebSocket-Protocol", "hookbot.token.abc"), method="POST")) == []


def test_only_some_tokens_of_a_request_count() -> None:
    offered = ", ".join(f"hookbot.token.{n}" for n in range(100))

    assert find_tokens(request(("Sec-WebSocket-Protocol", offered))) == [str(n) for n in range(MAX_TOKENS)]


@pytest.mark.parametrize(
    ("method", "target", "tokens"),
    [
        ("GET", "/sub/x?token=abc", ["abc"]),
        ("GET", "/sub/x?since=all&token=a%62c", ["abc"]),
        ("GET", "/sub/x?mytoken=abc", [""]),
        ("POST", "/pub/x?token=abc", []),
    ],
)
def test_only_a_get_sends_its_token_in_the_query(method: str, target: str, tokens: list[str]) -> None:
    assert find_tokens(request(target=target, method=method)) == tokens


# --- the path that a token opens


@pytest.mark.parametrize("digest", DIGESTS)
def test_a_token_opens_what_is_beneath_the_path_that_it_was_made_for(digest: Digest) -> None:
    token = make_token("key", "/sub/a/", digest)

    assert find_opening(token, "key", "/sub/a/b", DIGESTS) == "/sub/a/"
    assert find_opening(token, "key", "/sub/b", DIGESTS) is None
    assert find_opening(token, "another key", "/sub/a/b", DIGESTS) is None
    assert find_opening(token, "key", "/sub/a/b", DIGESTS.keys() - {digest}) is None


@pytest.mark.parametrize("token", ["", "abc", "\xe9" * 40, "\ud800" * 40, "0" * 41])
def test_what_is_no_token_opens_nothing(token: str) -> None:
    assert find_opening(token, "key", "/sub/a", DIGESTS) is None
