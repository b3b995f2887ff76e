"""Sessions of the console: cookies, proofs, and what is made of a token."""

import pytest

from hookbot.access.authorizer import Action, Authorizer
from hookbot.access.narrowed_tokens import NarrowedToken
from hookbot.access.session import (
    SESSION_S,
    add_to_session,
    check_asked_by_page,
    check_same_origin,
    join_session,
    open_session,
    session_fields,
    session_tokens,
    signed_in_with,
)
from hookbot.access.tokens import MAX_TOKENS, make_token
from hookbot.errors import Forbidden, Refused
from hookbot.protocol.message import Headers
from hookbot.protocol.request import Request
from support import KEY

AUTHORIZER = Authorizer([KEY])
NOW_S = 1000.0


def asked(*headers: tuple[str, str], path: bytes = b"/hookbot/v1/cursors") -> Request:
    return Request("POST", path, (("Host", "hub.example.com"), *headers))


@pytest.mark.parametrize("name", ["hookbot", "__Host-hookbot"])
def test_the_tokens_of_a_session_are_in_its_cookie(name: str) -> None:
    assert session_tokens(asked(("Cookie", f"other=1; {name}={join_session(['a', 'b', 'a'])}"))) == ["a", "b"]


@pytest.mark.parametrize("path", [b"/pub/a", b"/sub/a", b"/metrics", b"/hookbot"])
def test_a_session_counts_only_beneath_its_path(path: bytes) -> None:
    assert session_tokens(asked(("Cookie", "hookbot=a"), path=path)) == ()


@pytest.mark.parametrize("cookie", ["", "hookbot", "hookbot=", 'x="', "\x7f;;=", ";" * 5000])
def test_a_cookie_without_a_session_is_none(cookie: str) -> None:
    assert not any(session_tokens(asked(("Cookie", cookie))))


def test_cookies_may_come_in_fields_of_their_own() -> None:
    headers = [("Cookie", "other=1"), ("Cookie", "hookbot=a.b"), ("Cookie", "nothookbot=c")]

    assert session_tokens(asked(*headers)) == ["a", "b"]


@pytest.mark.parametrize("other", ['prefs={"a":"b"}', "a[1]=\x01", 'x="', "naïve=1", "=", "\t"])
def test_cookies_of_other_services_do_not_hide_a_session(other: str) -> None:
    assert session_tokens(asked(("Cookie", f"{other}; hookbot=a"))) == ["a"]
    assert session_tokens(asked(("Cookie", f"hookbot=a; {other}"))) == ["a"]
    # As over HTTP/2 (RFC 9113, section 8.2.3).
    assert session_tokens(asked(("Cookie", other), ("Cookie", "hookbot=a"))) == ["a"]


def test_the_cookie_that_no_other_service_can_set_counts_alone() -> None:
    assert session_tokens(asked(("Cookie", "hookbot=theirs; __Host-hookbot=a.b; hookbot=theirs"))) == ["a", "b"]


def test_the_end_of_a_cookie_that_is_quoted_is_not_searched_for() -> None:
    assert len(session_tokens(asked(("Cookie", 'hookbot="' + '\\"' * 10_000)))) == 1


def test_a_cookie_of_another_maker_is_bounded() -> None:
    both = f"hookbot={'a.' * 1000}; __Host-hookbot={'b.' * 1000}"

    assert session_tokens(asked(("Cookie", both))) == ["b"] * MAX_TOKENS


@pytest.mark.parametrize("tokens", [[str(n) for n in range(MAX_TOKENS + 1)], ["a" * 2000, "b" * 2000]])
def test_a_session_is_no_larger_than_a_cookie(tokens: list[str]) -> None:
    with pytest.raises(Refused, match="a session has at most 4 tokens"):
        join_session(tokens)


@pytest.mark.parametrize("path", ["/", "/hookbot/v1/", "/sub/", "/sub/acme/", "/pub/acme", "/unsafe/sub/x/"])
def test_a_session_opens_what_its_token_opens_until_it_ends(path: str) -> None:
    token = open_session(AUTHORIZER, make_token(KEY, path), path, now_s=NOW_S)

    assert token
    action: Action = "operate" if "hookbot" in path else "publish" if "pub" in path else "subscribe"
    assert AUTHORIZER.grant(token, path, action, now_s=NOW_S + SESSION_S - 1)
    assert not AUTHORIZER.grant(token, path, action, now_s=NOW_S + SESSION_S)


def test_the_path_of_a_token_need_not_be_said_exactly() -> None:
    token = open_session(AUTHORIZER, make_token(KEY, "/sub/acme/"), "/sub/acme/builds", now_s=NOW_S)

    assert token
    assert NarrowedToken.parse(token).path == "/sub/acme/"


def test_the_commonest_paths_need_not_be_said() -> None:
    assert open_session(AUTHORIZER, make_token(KEY, "/hookbot/v1/"), "", now_s=NOW_S)
    assert not open_session(AUTHORIZER, make_token(KEY, "/sub/acme/"), "", now_s=NOW_S)


def test_a_narrowed_token_tells_its_path() -> None:
    own = NarrowedToken.of(make_token(KEY, "/sub/"), "/sub/").narrow("path", "/sub/acme/").narrow("name", "ann")

    token = open_session(AUTHORIZER, str(own), "", now_s=NOW_S)

    assert token
    assert NarrowedToken.parse(token).caveats[:-1] == own.caveats
    assert signed_in_with(token, KEY) == own


def test_a_narrowed_token_may_be_as_long_as_a_plain_one() -> None:
    own = str(NarrowedToken.of(make_token(KEY, "/"), "/").narrow("only", "sub"))

    assert len(own) == len(make_token(KEY, "/", "sha256"))
    assert open_session(AUTHORIZER, own, "", now_s=NOW_S)


@pytest.mark.parametrize("caveat", ["expires=2000", "name=ann", "path=/sub/acme/", "only=sub"])
def test_a_token_that_was_put_into_the_cookie_keeps_its_restrictions(caveat: str) -> None:
    own = NarrowedToken.of(make_token(KEY, "/sub/"), "/sub/").narrow(*caveat.split("="))

    assert signed_in_with(str(own), KEY) == own
    assert signed_in_with(str(own.narrow("session", "1500")), KEY) == own
    assert signed_in_with(str(own.narrow("session", "1500").narrow("live", "1")), KEY).caveats[-1] == "live=1"


def test_a_session_keeps_what_is_valid_and_has_each_token_once() -> None:
    ann, bob, eve = (
        open_session(AUTHORIZER, make_token(KEY, path), path, now_s=now_s) or ""
        for path, now_s in (("/sub/ann/", NOW_S), ("/sub/bob/", NOW_S), ("/sub/eve/", NOW_S - SESSION_S))
    )
    again = open_session(AUTHORIZER, make_token(KEY, "/sub/ann/"), "/sub/ann/", now_s=NOW_S + 1) or ""

    added = add_to_session(AUTHORIZER, [ann, make_token(KEY, "/"), "no token", eve, bob], again, now_s=NOW_S + 1)

    assert added == [bob, again]


@pytest.mark.parametrize("token", ["", "a" * 40, "no token", make_token("another key", "/")])
def test_no_session_is_made_of_a_wrong_token(token: str) -> None:
    assert open_session(AUTHORIZER, token, "/", now_s=NOW_S) is None


def test_a_token_that_is_narrowed_too_often_makes_no_session() -> None:
    own = NarrowedToken.of(make_token(KEY, "/"), "/")
    while len(str(own)) < 1010:
        own = own.narrow("live", "1")
    with pytest.raises(Refused, match="narrowed too often"):
        open_session(AUTHORIZER, str(own), "/sub/a", now_s=NOW_S)


ORIGIN = ("Origin", "http://hub.example.com")
SAME = ("Sec-Fetch-Site", "same-origin")


@pytest.mark.parametrize("headers", [[SAME], [ORIGIN], [SAME, ("Origin", "https://other.example")]])
def test_a_page_of_the_hub_proves_itself(headers: Headers) -> None:
    check_same_origin(asked(*headers), "")


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Origin", "null")],
        [("Origin", "http://hub.example.com:81")],
        [("Origin", "http://other.example.com")],
        [("Sec-Fetch-Site", "same-site"), ORIGIN],
        [("Sec-Fetch-Site", "cross-site"), ORIGIN],
        [("Sec-Fetch-Site", "none"), ORIGIN],
    ],
)
def test_no_other_page_does(headers: Headers) -> None:
    with pytest.raises(Forbidden, match="only for its own pages"):
        check_same_origin(asked(*headers), "")


def test_the_hub_is_known_by_its_public_url_too() -> None:
    check_same_origin(asked(("Origin", "https://www.example.com")), "https://www.example.com/hooks")


def test_a_change_needs_a_header_that_no_form_can_send() -> None:
    check_asked_by_page(asked(SAME, ("Hookbot-Console", "1")), "")
    with pytest.raises(Forbidden, match="needs the header Hookbot-Console"):
        check_asked_by_page(asked(SAME), "")


def test_another_hub_of_the_family_takes_the_session_of_a_request() -> None:
    relayed = asked(*session_fields(asked(("Cookie", "__Host-hookbot=a.b; other=c"))))

    assert session_tokens(relayed) == ["a", "b"]
    check_asked_by_page(relayed, "")


def test_a_request_without_a_session_relays_none() -> None:
    assert session_fields(asked(("Cookie", "other=c"))) == ()
