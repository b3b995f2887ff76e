"""Grants of tokens, plain ones and narrowed ones of every kind."""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from itertools import combinations
from math import inf
from typing import Any

import pytest

from hookbot.access.admitted import AdmittedPublish, AdmittedSubscription
from hookbot.access.authorizer import Authorizer, Grant
from hookbot.access.control import AccessControl
from hookbot.access.narrowed_tokens import SIGNATURE_BYTES, NarrowedToken
from hookbot.access.rate_limits import Rate
from hookbot.access.tokens import Digest, make_token
from hookbot.errors import Forbidden, Refused, Unauthorized
from hookbot.protocol.request import Request
from hookbot.protocol.subscribe import UNSAFE_HEADER_VALUE
from hookbot.web.api.admission import admit
from support import KEY

OLD_KEY = "old key"
NOW_S = 1_700_000_000
HOUR = 3600
SINCE = str(NOW_S - HOUR)
V1 = {"Sec-WebSocket-Protocol": "hookbot.v1"}


def make_access(**options: Any) -> AccessControl:
    return AccessControl(
        Authorizer([KEY, OLD_KEY], **options), clock_us=lambda: NOW_S * 1_000_000, failures=Rate(10**9, 1)
    )


def narrowed(*caveats: str, path: str = "/", key: str = KEY, digest: Digest = "sha1") -> str:
    token = NarrowedToken.of(make_token(key, path, digest), path)
    for caveat in caveats:
        token = token.narrow(*caveat.split("=", 1))
    return str(token)


def with_unknown(caveat: str) -> str:
    """A token with a caveat that `NarrowedToken.narrow` would not bind, bound all the same."""
    return str(NarrowedToken.parse(narrowed())._bind(caveat))


def ask(
    access: AccessControl, target: str, token: str, headers: Mapping[str, str] = {}
) -> AdmittedPublish | AdmittedSubscription | None:
    method, _, path = target.partition(" ")
    fields = {"X-Hookbot-Unsafe-Is-Ok": UNSAFE_HEADER_VALUE, "Authorization": f"Bearer {token}", **headers}
    request = Request(method, path.encode(), tuple(fields.items()))
    if path.startswith("/hookbot/v1/messages"):
        admit(access, request)
        return None
    if path.startswith(("/hookbot/", "/metrics")):
        access.tokens.admit_operator(request)
        return None
    return access.admit_publish(request) if method == "POST" else access.admit_subscription(request, websocket=True)


def subscribe(access: AccessControl, target: str, token: str, headers: Mapping[str, str] = {}) -> AdmittedSubscription:
    admitted = ask(access, target, token, headers)
    assert isinstance(admitted, AdmittedSubscription)
    return admitted


def granted(authorizer: Authorizer, token: str, path: str = "/sub/foo") -> Grant:
    grant = authorizer.grant(token, path, "subscribe", now_s=NOW_S)
    assert grant
    return grant


def is_let_in(access: AccessControl, target: str, token: str, headers: Mapping[str, str] = {}) -> bool:
    try:
        ask(access, target, token, headers)
    except Unauthorized:
        return False
    return True


# --- the matrix: what is left of a token for a path when it is narrowed

TARGETS = [
    "POST /pub/foo",
    "POST /pub/foo/bar",
    "POST /pub/foobar",
    "POST /foo/bar",
    "GET /sub/foo",
    "GET /sub/foo/",
    "GET /sub/foo/bar",
    "GET /sub/",
    "GET /foo/bar",
    "GET /unsafe/sub/foo/bar",
    "GET /metrics",
    "GET /hookbot/v1/cursors",
]
PUBLISH = {target for target in TARGETS if target.startswith("POST")}
OPERATE = {"GET /metrics", "GET /hookbot/v1/cursors"}
SUBSCRIBE = set(TARGETS) - PUBLISH - OPERATE
FOO = {"POST /pub/foo/bar", "POST /foo/bar", "GET /sub/foo/", "GET /sub/foo/bar", "GET /foo/bar"}
"""What a token for ``/foo/`` opens."""

OPENED = {
    "/": set(TARGETS),
    "/pub/": {"POST /pub/foo", "POST /pub/foo/bar", "POST /pub/foobar"},
    "/sub/": {"GET /sub/foo", "GET /sub/foo/", "GET /sub/foo/bar", "GET /sub/"},
    "/foo/": FOO,
    "/sub/foo/": {"GET /sub/foo/", "GET /sub/foo/bar"},
    "/foo/bar": {"POST /pub/foo/bar", "POST /foo/bar", "GET /sub/foo/bar", "GET /foo/bar"},
    "/unsafe/": {"GET /unsafe/sub/foo/bar"},
    "/hookbot/": {"GET /hookbot/v1/cursors"},
    "/nothing/": set(),
}
LEFT = {
    "only=pub": PUBLISH,
    "only=sub": SUBSCRIBE,
    f"expires={NOW_S + 1}": set(TARGETS),
    f"expires={NOW_S}": set(),
    "name=ann": set(TARGETS),
    "name=revoked": set(),
    "live=1": PUBLISH | SUBSCRIBE,
    f"since={SINCE}": PUBLISH | SUBSCRIBE,
    **{f"path={path}": opened for path, opened in OPENED.items()},
}


@pytest.fixture(scope="module")
def access() -> AccessControl:
    return make_access(revoked=["revoked"])


def opened_by(access: AccessControl, token: str) -> set[str]:
    return {target for target in TARGETS if is_let_in(access, target, token)}


@pytest.mark.parametrize("digest", ["sha1", "sha256"])
@pytest.mark.parametrize("key", [KEY, OLD_KEY])
@pytest.mark.parametrize("path", OPENED)
def test_a_narrowed_token_opens_what_its_root_opens_as_far_as_its_caveats_leave(
    access: AccessControl, path: str, key: str, digest: Digest
) -> None:
    assert opened_by(access, narrowed(path=path, key=key, digest=digest)) == OPENED[path]
    for caveat, left in LEFT.items():
        assert opened_by(access, narrowed(caveat, path=path, key=key, digest=digest)) == OPENED[path] & left, caveat


def test_caveats_together_leave_what_each_of_them_leaves(access: AccessControl) -> None:
    for one, other in combinations(LEFT, 2):
        assert opened_by(access, narrowed(one, other)) == LEFT[one] & LEFT[other], (one, other)
        assert opened_by(access, narrowed(other, one)) == LEFT[one] & LEFT[other], (other, one)


@pytest.mark.parametrize("target", TARGETS)
def test_a_token_made_with_another_key_opens_nothing(access: AccessControl, target: str) -> None:
    assert not is_let_in(access, target, narrowed(key="another key"))
    assert not is_let_in(access, target, narrowed(path=target.split()[1], key="another key"))


@pytest.mark.parametrize("caveat", ["colour=blue", "", "live", "live=", "live=0", "only=", "expires=nan", "since=-1"])
def test_a_caveat_that_this_hub_does_not_understand_takes_everything_away(access: AccessControl, caveat: str) -> None:
    assert opened_by(access, with_unknown(caveat)) == set()


def test_the_ancestors_kind_of_token_can_be_refused_narrowed_or_not() -> None:
    access = make_access(digests=["sha256"])
    assert opened_by(access, narrowed(digest="sha1")) == set()
    assert opened_by(access, narrowed(digest="sha256")) == set(TARGETS)


def test_a_narrowed_token_as_long_as_a_plain_one_is_told_from_it(access: AccessControl) -> None:
    """64 characters, all of which could be hexadecimal."""
    path = "/" + "a" * (48 - SIGNATURE_BYTES - len("sha1\n/\n"))
    token = narrowed(path=path)
    assert len(token) == 64
    assert is_let_in(access, f"GET {path}", token)


# --- how it is shown


SHOWN: dict[str, Callable[[str], tuple[str, dict[str, str]]]] = {
    "Basic": lambda token: ("", {"Authorization": f"Basic {b64encode(f'{token}:'.encode()).decode()}"}),
    "Bearer": lambda token: ("", {"Authorization": f"Bearer {token}"}),
    "subprotocol": lambda token: ("", {"Sec-WebSocket-Protocol": f"hookbot.v1, hookbot.token.{token}"}),
    "query": lambda token: (f"?token={token}", {}),
}


@pytest.mark.parametrize("shown", SHOWN)
def test_the_longest_token_can_be_shown_in_every_way(access: AccessControl, shown: str) -> None:
    token = narrowed(*["name=" + "n" * 120] * 5, "only=sub")
    assert 900 < len(token) <= 1024
    query, headers = SHOWN[shown](token)
    request = Request("GET", f"/sub/foo{query}".encode(), tuple(headers.items()))
    assert access.admit_subscription(request, websocket=True).grant.names[0] == "n" * 120


@pytest.mark.parametrize("shown", SHOWN)
def test_a_forged_token_can_be_shown_in_no_way(access: AccessControl, shown: str) -> None:
    forged = narrowed("only=sub")[:-4] + "AAAA"
    query, headers = SHOWN[shown](forged)
    with pytest.raises(Unauthorized):
        access.admit_subscription(Request("GET", f"/sub/foo{query}".encode(), tuple(headers.items())), websocket=True)


# --- history


NO_HISTORY = ["?since=10m", "?since=all", "?since=2023-01-01T00:00:00Z", "?follow=0", "?follow=0&order=newest"]


@pytest.mark.parametrize("query", NO_HISTORY)
def test_a_live_token_shows_no_history(access: AccessControl, query: str) -> None:
    with pytest.raises(Forbidden, match="only new messages"):
        ask(access, f"GET /sub/foo{query}", narrowed("live=1"))
    assert ask(access, f"GET /sub/foo{query}", narrowed("name=ann"))


@pytest.mark.parametrize(
    "how", [("?since=abcdefgh-000000000000001", {}), ("", {"Last-Event-ID": "abcdefgh-000000000000001"})]
)
def test_who_comes_back_with_a_live_token_goes_on_with_what_is_new(
    access: AccessControl, how: tuple[str, dict[str, str]]
) -> None:
    query, headers = how
    assert subscribe(access, f"GET /sub/foo{query}", narrowed("live=1"), headers).request.since is None
    assert subscribe(access, f"GET /sub/foo{query}", narrowed("name=ann"), headers).request.since is not None


@pytest.mark.parametrize("caveat", ["live=1", f"since={SINCE}"])
@pytest.mark.parametrize("query", ["?cursor=deploy", "?group=deploy"])
def test_a_token_that_hides_history_cannot_use_what_remembers_a_place_in_it(
    access: AccessControl, caveat: str, query: str
) -> None:
    for caveats in ([caveat], [caveat, "cursor=deploy"]):
        with pytest.raises(Forbidden, match="cursor or group"):
            ask(access, f"GET /sub/foo{query}", narrowed(*caveats), V1)


def test_nothing_before_the_latest_since_is_shown(access: AccessControl) -> None:
    token = narrowed(f"since={NOW_S - 60}", f"since={SINCE}", f"since={NOW_S - 30}")
    assert subscribe(access, "GET /sub/foo?since=all", token).grant.since_us == (NOW_S - 30) * 1_000_000


def test_a_token_whose_since_is_to_come_shows_nothing_yet(access: AccessControl) -> None:
    with pytest.raises(Forbidden, match="is not valid before 2023-11-14T22:13:21"):
        ask(access, "GET /sub/foo", narrowed(f"since={NOW_S + 1}"))
    with pytest.raises(Forbidden, match="is not valid before 9999-12-31"):
        ask(access, "GET /sub/foo", narrowed("since=999999999999"))
    assert ask(access, "GET /sub/foo", narrowed(f"since={NOW_S}"))


@pytest.mark.parametrize("digest", ["sha1", "sha256"])
def test_the_ancestors_tokens_can_be_kept_from_history_and_all_that_is_narrowed_from_them(digest: Digest) -> None:
    access = make_access(live_only=["sha1"])
    for token in (make_token(KEY, "/", digest), narrowed(digest=digest), narrowed("name=ann", digest=digest)):
        assert subscribe(access, "GET /sub/foo", token).grant.live_only is (digest == "sha1")
        for target in ("GET /sub/foo?since=all", "GET /hookbot/v1/messages/abcdefgh-000000000000001"):
            if digest == "sha1":
                with pytest.raises(Forbidden, match="only new messages"):
                    ask(access, target, token)
            else:
                ask(access, target, token)


# --- cursors


@pytest.mark.parametrize(
    ("query", "allowed"),
    [("?cursor=deploy", True), ("?group=deploy", True), ("?cursor=other", False), ("?group=other", False), ("", False)],
)
def test_a_token_for_a_cursor_is_for_that_one(access: AccessControl, query: str, allowed: bool) -> None:
    if allowed:
        assert ask(access, f"GET /sub/foo{query}", narrowed("cursor=deploy", "cursor=deploy"), V1)
    else:
        with pytest.raises(Forbidden, match="deploy"):
            ask(access, f"GET /sub/foo{query}", narrowed("cursor=deploy"), V1)


def test_a_token_for_two_cursors_is_for_none(access: AccessControl) -> None:
    for query in ("?cursor=one", "?cursor=two", ""):
        assert not is_let_in(access, f"GET /sub/foo{query}", narrowed("cursor=one", "cursor=two"), V1)


# --- what ends


@pytest.mark.parametrize(
    ("caveats", "stands_with"),
    [
        ([], {}),
        (["name=ann"], {"revoked": ["bob"]}),
        ([f"expires={NOW_S + 1}", f"expires={NOW_S + HOUR}"], {}),
    ],
)
def test_a_grant_stands_for_as_long_as_its_token_would(caveats: list[str], stands_with: dict[str, Any]) -> None:
    grant = granted(Authorizer([KEY]), narrowed(*caveats))
    assert Authorizer([KEY, "new"], **stands_with).is_valid(grant, now_s=NOW_S)
    assert not Authorizer(["new"]).is_valid(grant, now_s=NOW_S)
    assert not Authorizer([KEY], digests=["sha256"]).is_valid(grant, now_s=NOW_S)
    assert Authorizer([KEY], revoked=["ann"]).is_valid(grant, now_s=NOW_S) is (grant.names == ())
    assert Authorizer([KEY]).is_valid(grant, now_s=NOW_S + 1) is (grant.expires_s == inf)


def test_a_name_revokes_everything_that_was_narrowed_after_it() -> None:
    grant = granted(Authorizer([KEY]), narrowed("name=ann", "name=phone"))
    for name in ("ann", "phone"):
        assert not Authorizer([KEY], revoked=[name]).is_valid(grant, now_s=NOW_S)


def test_one_holder_is_whoever_has_the_same_token_or_what_is_narrowed_from_it_until_it_has_a_name() -> None:
    def holder(*caveats: str, **of: Any) -> object:
        return granted(Authorizer([KEY, OLD_KEY]), narrowed(*caveats, **of)).holder

    plain = granted(Authorizer([KEY]), make_token(KEY, "/"))
    assert holder() == holder("live=1") == holder(f"expires={NOW_S + 1}") == plain.holder
    assert holder("name=ann") == holder("name=ann", "name=phone") == holder("name=ann", "live=1")
    # Who may only listen live cannot take the subscriptions of a holder by naming a token alike.
    assert holder("live=1", "name=ann") != holder("name=ann")
    assert holder("live=1", "name=ann") == holder("live=1", "name=ann", f"expires={NOW_S + 1}")
    assert len({holder(), holder("name=ann"), holder("name=bob"), holder(path="/sub/"), holder(key=OLD_KEY)}) == 5


def test_no_representation_shows_a_key() -> None:
    assert "secret" not in repr(Grant(key="secret"))


def test_a_plain_token_is_looked_up_with_each_key() -> None:
    authorizer = Authorizer([KEY, OLD_KEY])
    for key in (KEY, OLD_KEY):
        grant = granted(authorizer, make_token(key, "/sub/"))
        assert (grant.key, grant.digest, grant.path) == (key, "sha1", "/sub/")


def test_a_narrowed_token_with_more_segments_than_anybody_needs_is_still_only_refused(access: AccessControl) -> None:
    path = "/sub" + "/a" * 500
    assert not is_let_in(access, f"GET {path}", urlsafe_b64encode(b"sha1\n/\n" + bytes(SIGNATURE_BYTES)).decode())


def test_whatever_is_refused_is_refused_on_purpose(access: AccessControl) -> None:
    for token in ("\xe9", "=", "A" * 2000, "sha1", "c2hhMQo"):
        with pytest.raises(Refused):
            ask(access, "GET /sub/foo", token)


@pytest.mark.parametrize("token", ["", "junk", str(NarrowedToken.of(make_token("another", "/"), "/")), "é" * 40 + "x"])
def test_what_is_no_token_of_this_hub_opens_nothing_at_all(token: str) -> None:
    assert not Authorizer([KEY]).may_open(token)


@pytest.mark.parametrize("path", ["/", "/sub/acme/"])
def test_every_token_of_this_hub_may_open_something(path: str) -> None:
    token = make_token(KEY, path)

    assert Authorizer([KEY]).may_open(token)
    assert Authorizer(["new", KEY]).may_open(str(NarrowedToken.of(token, path).narrow("name", "ann")))
