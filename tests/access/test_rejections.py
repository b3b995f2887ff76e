"""Reasons for which a request has no valid token."""

from base64 import b64encode

import pytest

from hookbot.access.authorizer import Action, Authorizer
from hookbot.access.control import AccessControl
from hookbot.access.narrowed_tokens import NarrowedToken
from hookbot.access.tokens import Digest, make_token
from hookbot.errors import Unauthorized
from hookbot.protocol.request import Request
from support import KEY

NOW_S = 1_700_000_000


def token(path: str, digest: Digest = "sha1", key: str = KEY) -> str:
    return make_token(key, path, digest)


def narrowed(*caveats: str, path: str = "/", key: str = KEY) -> str:
    weaker = NarrowedToken.of(make_token(key, path), path)
    for caveat in caveats:
        weaker = weaker.narrow(*caveat.split("=", 1))
    return str(weaker)


def reason(target: str, *headers: tuple[str, str], **options: object) -> str:
    method, _, path = target.partition(" ")
    authorizer = Authorizer([KEY], **options)  # type: ignore[arg-type]
    access = AccessControl(authorizer, clock_us=lambda: NOW_S * 1_000_000)
    request = Request(method, path.encode(), headers)
    action: Action = "operate" if path.startswith("/hookbot/") else "publish" if method == "POST" else "subscribe"
    with pytest.raises(Unauthorized) as caught:
        access.tokens.authorize(request, request.raw_path.decode(), action)
    said, _, why = str(caught.value).partition(": ")
    assert said == "401 Unauthorized"
    return why


def basic(user: str, password: str = "") -> tuple[str, str]:
    return "Authorization", f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


def bearer(credentials: str) -> tuple[str, str]:
    return "Authorization", f"Bearer {credentials}"


@pytest.mark.parametrize(
    ("target", "headers", "said"),
    [
        ("GET /sub/a", [], "there is no token"),
        ("GET /sub/a?token=", [], "there is no token"),
        ("POST /pub/a?token=s3cret", [], "a token in the query counts only in a GET"),
        ("POST /pub/a", [("Authorization", "s3cret")], "has to begin with 'Bearer' or 'Basic'"),
        ("POST /pub/a", [("Authorization", "token s3cret")], "has to begin with 'Bearer' or 'Basic'"),
        ("POST /pub/a", [("Authorization", "Bearer")], "nothing after 'Bearer'"),
        ("POST /pub/a", [("Authorization", "basic ")], "nothing after 'Basic'"),
        ("POST /pub/a", [("Authorization", "Basic s3cret")], "not base64"),
        ("POST /pub/a", [basic("", "s3cret")], "no token as their user name"),
        (
            "POST /pub/a",
            [basic("me", "s3cret")],
            "the user name, not from the password: the token is mal",
        ),
        ("POST /pub/a", [basic(token("/sub/a"), "s3cret")], "not from the password: the token is for '/sub/a'"),
    ],
)
def test_a_token_that_is_missing_or_in_the_wrong_place(target: str, headers: list[tuple[str, str]], said: str) -> None:
    why = reason(target, *headers)
    assert said in why
    assert "s3cret" not in why


@pytest.mark.parametrize(
    ("target", "given", "said"),
    [
        ("GET /sub/a", "s3cret", "malformed"),
        ("GET /sub/a", token("/sub/a")[:-1], "malformed"),
        ("GET /sub/a", token("/sub/a").upper(), "capital letters"),
        ("GET /sub/a", f'"{token("/sub/a")}"', """the token contains '"', which no token does"""),
        ("GET /sub/a", f"<{token('/sub/a')}>", "the token contains '<'"),
        ("GET /sub/a", f"{token('/sub/a')}%20", "the token contains '%'"),
        ("GET /sub/a", f"token={narrowed()}", "the token contains '='"),
        ("GET /sub/a", f"{token('/sub/a')[:20]} {token('/sub/a')[20:]}", "the token contains ' '"),
        ("GET /sub/a", f"{token('/sub/a')}\xa0x", r"the token contains '\x"),
        ("GET /sub/a", token("/pub/a"), "the token is for '/pub/a'"),
        ("POST /pub/a", token("/sub/a"), "the token is for '/sub/a'"),
        ("POST /pub/a", token("/sub/"), "the token is for '/sub/'"),
        ("GET /sub/a", token("/sub/a/"), "the token is for '/sub/a/'"),
        ("GET /sub/a/", token("/sub/a"), "the token is for '/sub/a'"),
        ("GET /sub/a", token("/sub/b"), "for another path than '/sub/a', or made with another key"),
        ("GET /sub/a", token("/sub/a", key="other"), "for another path than '/sub/a', or made with another key"),
        ("GET /hookbot/v1/routers", token("/sub/"), "for another path than '/hookbot/v1/routers'"),
        ("GET /sub/a", narrowed("expires=1600000000"), "the token expired at 2020-09-13T12:26:40Z"),
        ("GET /sub/a", narrowed("name=gone"), "the token is revoked"),
        ("GET /sub/a", narrowed("only=pub"), "the token is only for /pub/ paths"),
        ("POST /pub/a", narrowed("only=sub"), "the token is only for /sub/ paths"),
        ("GET /sub/a", narrowed("path=/sub/b"), "the token is for '/sub/b'"),
        ("GET /sub/a", narrowed(path="/sub/b/"), "the token is for '/sub/b/'"),
        ("GET /sub/a", narrowed("cursor=a", "cursor=b"), "limited to two cursors"),
        ("GET /hookbot/v1/routers", narrowed("live=1"), "only a part of the messages"),
        ("GET /sub/a", str(NarrowedToken.parse(narrowed())._bind("moon=full")), "does not know: 'moon=full'"),
    ],
)
def test_a_token_that_is_not_valid_here(target: str, given: str, said: str) -> None:
    for header in (bearer(given), basic(given)):
        assert said in reason(target, header, revoked=["gone"])


@pytest.mark.parametrize("caveat", ["name=gone", "name=known", "expires=1600000000", "only=pub", "path=/sub/b"])
def test_of_a_token_that_is_not_genuine_nothing_is_said(caveat: str) -> None:
    forged = narrowed(caveat, key="other")
    assert reason("GET /sub/a", bearer(forged), revoked=["gone"]) == (
        "the token is malformed or was not made by this hub; was all of it copied?"
    )


def test_a_token_of_a_kind_that_the_hub_does_not_take() -> None:
    assert reason("GET /sub/a", bearer(token("/sub/a")), digests=["sha256"]) == (
        "this hub takes no tokens of 40 digits (sha1)"
    )
    assert reason("GET /sub/a", bearer(narrowed()), digests=["sha256"]) == "this hub takes no tokens made with sha1"
