"""Decisions about requests: every kind of token, presented in every way, at every path."""

import tracemalloc
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_network
from itertools import product
from typing import Any

import pytest

from hookbot.access.admitted import AdmittedPublish, AdmittedSubscription
from hookbot.access.authorizer import Authorizer
from hookbot.access.client_address import TrustedProxies
from hookbot.access.control import AccessControl
from hookbot.access.narrowed_tokens import NarrowedToken
from hookbot.access.near_misses import COMPARISONS
from hookbot.access.permits import key_of
from hookbot.access.rate_limits import Rate
from hookbot.access.senders import Standing
from hookbot.access.sources import Source, Sources
from hookbot.access.tokens import Digest, make_token
from hookbot.errors import (
    BadSignature,
    BodyTooLarge,
    Forbidden,
    InvalidTopic,
    MethodNotAllowed,
    NotFound,
    Refused,
    TooManyRequests,
    Unauthorized,
    UpgradeRequired,
)
from hookbot.log.trusted_clock import TrustedClock
from hookbot.protocol.message import Draft, Headers, Once
from hookbot.protocol.request import Request
from hookbot.protocol.response import Response
from hookbot.protocol.subscribe import UNSAFE_HEADER_VALUE
from hookbot.signatures import load_provider
from support import KEY, SECRET
from support.subscriptions import Unconnected

OLD_KEY = "old key"
I_UNDERSTAND = {"X-Hookbot-Unsafe-Is-Ok": UNSAFE_HEADER_VALUE}

# For each request the paths whose tokens let it in; all other paths in the table must not.
OPENED_BY = {
    "POST /pub/x": {"/", "/pub/", "/pub/x", "/x"},
    "POST /pub/foo/bar": {"/", "/pub/", "/pub/foo/", "/foo/", "/pub/foo/bar", "/foo/bar"},
    "POST /pub/foo/": {"/", "/pub/", "/pub/foo/", "/foo/"},
    "POST /pub/foo": {"/", "/pub/", "/pub/foo", "/foo"},
    "POST /pub/foobar": {"/", "/pub/"},
    "POST /pub/": {"/", "/pub/"},
    "POST /pub/sub/x": {"/", "/pub/", "/pub/sub/", "/pub/sub/x", "/sub/", "/sub/x"},
    "POST /pub/pub/x": {"/", "/pub/", "/pub/x"},
    "POST /foo/bar": {"/", "/foo/", "/foo/bar"},
    "POST /x": {"/", "/x"},
    "POST /public/x": {"/"},
    "GET /sub/x": {"/", "/sub/", "/sub/x", "/x"},
    "GET /sub/foo/bar": {"/", "/sub/", "/sub/foo/", "/foo/", "/foo/bar"},
    "GET /sub/foo/": {"/", "/sub/", "/sub/foo/", "/foo/"},
    "GET /sub/foo%3Frecursive": {"/", "/sub/", "/sub/foo?recursive"},
    "GET /sub/": {"/", "/sub/"},
    "GET /foo/": {"/", "/foo/"},
    "GET /foo/bar": {"/", "/foo/", "/foo/bar"},
    "GET /x": {"/", "/x"},
    "GET /unsafe/sub/x": {"/", "/unsafe/", "/unsafe/sub/", "/unsafe/sub/x"},
    "GET /unsafe/sub/": {"/", "/unsafe/", "/unsafe/sub/"},
}
TOKEN_PATHS = sorted(
    set().union(*OPENED_BY.values()) | {"", "/pub", "/sub", "pub/x", "/unsafe/pub/", "/unsafe/x", "/unsafe/pub/x"}
)


def basic(token: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{token}:".encode()).decode()}


SHOWN: dict[str, Callable[[str], dict[str, str]]] = {
    "Basic": basic,
    "Bearer": lambda token: {"Authorization": f"Bearer {token}"},
    "subprotocol": lambda token: {"Sec-WebSocket-Protocol": f"hookbot.raw, hookbot.token.{token}"},
}


@pytest.fixture
def access() -> AccessControl:
    return make_access()


def make_access(
    keys: Sequence[str] = (KEY, OLD_KEY),
    digests: Sequence[Digest] = ("sha1", "sha256"),
    **options: Any,
) -> AccessControl:
    options = {"clock_us": lambda: 1_700_000_000_000_000, "failures": Rate(10**9, 1), **options}
    return AccessControl(Authorizer(keys, digests=digests), **options)


def ask(access: AccessControl, target: str, headers: Mapping[str, str] = {}) -> AdmittedPublish | AdmittedSubscription:
    method, _, path = target.partition(" ")
    request = Request(method, path.encode(), tuple(headers.items()), client="192.0.2.1")
    return access.admit_publish(request) if method == "POST" else access.admit_subscription(request, websocket=True)


def publish(access: AccessControl, target: str, headers: Mapping[str, str] = {}) -> AdmittedPublish:
    admitted = ask(access, target, headers)
    assert isinstance(admitted, AdmittedPublish)
    return admitted


def is_let_in(access: AccessControl, target: str, headers: dict[str, str]) -> bool:
    try:
        ask(access, target, headers)
    except Unauthorized:
        return False
    return True


@pytest.mark.parametrize("shown", SHOWN)
@pytest.mark.parametrize("digest", ["sha1", "sha256"])
@pytest.mark.parametrize("key", [KEY, OLD_KEY])
@pytest.mark.parametrize("target", OPENED_BY)
def test_a_token_opens_its_path_and_nothing_else(
    access: AccessControl, target: str, key: str, digest: Digest, shown: str
) -> None:
    tokens = {path: make_token(key, path, digest) for path in TOKEN_PATHS}
    headers = {path: {**I_UNDERSTAND, **SHOWN[shown](token)} for path, token in tokens.items()}

    # A subprotocol is for handshakes.
    opened = set() if target.startswith("POST") and shown == "subprotocol" else OPENED_BY[target]
    # What was let in before is remembered.
    for _ in range(2):
        assert {path for path in TOKEN_PATHS if is_let_in(access, target, headers[path])} == opened


@pytest.mark.parametrize("target", OPENED_BY)
def test_without_a_good_token_nobody_comes_in(access: AccessControl, target: str) -> None:
    good = make_token(KEY, "/")
    bad = [
        make_token("another key", "/"),
        good.upper(),
        good[:-1],
        good + "0",
        f" {good}",
        "",
        "é" * 40,
        KEY,
        make_token("", "/"),
    ]
    for shown, token in product(SHOWN.values(), bad):
        if not (shown is SHOWN["Bearer"] and token == f" {good}"):
            assert not is_let_in(access, target, {**I_UNDERSTAND, **shown(token)})
    assert not is_let_in(access, target, I_UNDERSTAND)


@pytest.mark.slow
def test_clients_without_a_token_and_with_long_paths_leave_nothing_behind(access: AccessControl) -> None:
    tracemalloc.start()
    try:
        for number in range(20):
            assert not is_let_in(access, f"POST /pub/{number}{'/a' * 500}", basic(make_token("another key", "/")))
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "authorization",
    [
        "Basic",
        "Basic !!!",
        "Basic " + b64encode(make_token(KEY, "/").encode()).decode()[:-3],
        "Basic " + b64encode(f":{make_token(KEY, '/')}".encode()).decode(),
        "Digest " + make_token(KEY, "/"),
        make_token(KEY, "/"),
        "Bearer",
        "\xff",
    ],
)
def test_malformed_credentials_are_none(access: AccessControl, authorization: str) -> None:
    assert not is_let_in(access, "POST /pub/x", {"Authorization": authorization})


def test_credentials_are_found_however_they_are_written(access: AccessControl) -> None:
    token = make_token(KEY, "/pub/x")
    for credentials in (f"{token}:", f"{token}:password", f"{token}:with:colons", token):
        encoded = b64encode(credentials.encode()).decode()
        assert is_let_in(access, "POST /pub/x", {"authorization": f"bAsIc {encoded}"})
    assert is_let_in(access, "POST /pub/x", {"AUTHORIZATION": f"bearer {token}"})


def test_one_good_token_among_several_is_enough(access: AccessControl) -> None:
    headers = {"Authorization": "Bearer nonsense", "Sec-WebSocket-Protocol": f"hookbot.token.{make_token(KEY, '/')}"}
    assert is_let_in(access, "GET /sub/x", headers)


def test_a_get_may_bring_its_token_in_the_query_and_nothing_else_may(access: AccessControl) -> None:
    token = make_token(KEY, "/x")
    assert is_let_in(access, f"GET /sub/x?token={token}", {})
    assert not is_let_in(access, f"GET /sub/x?mytoken={token}", {})
    assert not is_let_in(access, f"POST /pub/x?token={token}", {})


def test_a_token_made_with_a_key_that_is_gone_is_good_no_more() -> None:
    access = make_access(keys=[KEY])
    assert is_let_in(access, "POST /pub/x", basic(make_token(KEY, "/pub/x")))
    assert not is_let_in(access, "POST /pub/x", basic(make_token(OLD_KEY, "/pub/x")))


def test_the_ancestors_kind_of_token_can_be_refused() -> None:
    access = make_access(digests=["sha256"])
    assert not is_let_in(access, "POST /pub/x", basic(make_token(KEY, "/pub/x", "sha1")))
    assert is_let_in(access, "POST /pub/x", basic(make_token(KEY, "/pub/x", "sha256")))


def test_anybody_may_publish_to_an_unsafe_topic(access: AccessControl) -> None:
    assert ask(access, "POST /unsafe/pub/x").request.topic == "/unsafe/x"
    assert ask(access, "POST /unsafe/pub/x", basic("nonsense")).request.topic == "/unsafe/x"


@pytest.mark.parametrize(
    "value", ["", "yes", UNSAFE_HEADER_VALUE.lower(), f"{UNSAFE_HEADER_VALUE}!", f"{UNSAFE_HEADER_VALUE} "]
)
@pytest.mark.parametrize("token", ["", make_token(KEY, "/")])
def test_who_hears_unsafe_topics_says_first_that_they_understand(access: AccessControl, value: str, token: str) -> None:
    with pytest.raises(Refused, match=r"400 Bad Request\. X-Hookbot-Unsafe-Is-Ok header required\.") as caught:
        ask(access, "GET /unsafe/sub/x", {"X-Hookbot-Unsafe-Is-Ok": value, **basic(token)})
    assert caught.value.status == 400


def test_who_hears_safe_topics_need_not_understand(access: AccessControl) -> None:
    assert is_let_in(access, "GET /sub/x", basic(make_token(KEY, "/sub/x")))


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("POST /sub/x", MethodNotAllowed),
        ("GET /pub/x", MethodNotAllowed),
        ("POST /unsafe/sub/x", MethodNotAllowed),
        ("GET /unsafe/pub/x", MethodNotAllowed),
        ("GET /", NotFound),
        ("POST /status", NotFound),
        ("POST /unsafe/x", NotFound),
        ("POST /hookbot/v1/cursors", NotFound),
        ("POST /pub/hookbot/routers", InvalidTopic),
        ("POST /unsafe/pub/hookbot/routers", InvalidTopic),
        ("POST /pub/a//b", InvalidTopic),
        ("POST /pub/../sub/x", InvalidTopic),
        ("GET /sub/%2e%2e/x", InvalidTopic),
        ("POST /pub/foo%3Frecursive", InvalidTopic),
    ],
)
def test_the_path_is_looked_at_before_the_token(access: AccessControl, target: str, error: type[Exception]) -> None:
    for headers in ({}, basic(make_token(KEY, "/"))):
        with pytest.raises(error):
            ask(access, target, {**I_UNDERSTAND, **headers})


@pytest.mark.parametrize(
    ("target", "headers", "error"),
    [
        ("POST /pub/x?extra-metadata=gitlab", {}, "bad"),
        ("POST /pub/x?extra-metadata=", {}, "bad"),
        ("POST /pub/x", {"Idempotency-Key": "k" * 256}, "Idempotency-Key"),
        ("POST /pub/x", {"Hookbot-Hops": ",".join("abcdefghijklmnopq")}, "more than 16"),
        ("GET /sub/x?since=yesterday", {}, "since"),
    ],
)
def test_the_query_and_the_headers_are_looked_at_after_the_token(
    access: AccessControl, target: str, headers: dict[str, str], error: str
) -> None:
    with pytest.raises(Unauthorized):
        ask(access, target, headers)
    with pytest.raises(Refused, match=error):
        ask(access, target, {**headers, **basic(make_token(KEY, "/"))})


def test_a_stream_is_let_in_like_a_websocket(access: AccessControl) -> None:
    request = Request(
        "GET", b"/sub/x", tuple({**basic(make_token(KEY, "/sub/x")), "Accept": "text/event-stream"}.items())
    )
    assert access.admit_subscription(request, websocket=False).request.format == "sse"
    with pytest.raises(UpgradeRequired):
        access.admit_subscription(Request("GET", b"/sub/x", request.headers[:1]), websocket=False)
    with pytest.raises(Unauthorized):
        access.admit_subscription(Request("GET", b"/sub/x", request.headers[1:]), websocket=False)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://hub.example:8080", True),
        ("http://HUB.example:8080", True),
        ("https://friend.example", True),
        ("https://evil.example", False),
        ("https://evilhub.example:8080", False),
        ("https://hub.example", False),
        ("https://hub.example:8080.evil.example", False),
        ("null", False),
        ("", True),
    ],
)
@pytest.mark.parametrize("target", ["GET /sub/x", "POST /pub/x"])
def test_a_foreign_page_may_not_use_saved_credentials(target: str, origin: str, allowed: bool) -> None:
    access = make_access(origins=["https://Friend.example"])
    headers = {"Host": "hub.example:8080", "Origin": origin, **basic(make_token(KEY, "/"))}
    if allowed:
        ask(access, target, headers)
    else:
        with pytest.raises(Forbidden):
            ask(access, target, headers)


def test_a_foreign_page_that_knows_a_token_may_use_it(access: AccessControl) -> None:
    headers = {"Host": "hub.example", "Origin": "https://evil.example"}
    for show in (SHOWN["Bearer"], SHOWN["subprotocol"]):
        assert is_let_in(access, "GET /sub/x", {**headers, **show(make_token(KEY, "/x"))})
    assert is_let_in(access, f"GET /sub/x?token={make_token(KEY, '/x')}", headers)


def test_a_foreign_page_without_a_token_learns_nothing_else(access: AccessControl) -> None:
    assert not is_let_in(
        access, "GET /sub/x", {"Host": "hub.example", "Origin": "https://evil.example", **basic("nonsense")}
    )


@pytest.mark.parametrize(
    ("prefixes", "existing", "missing"),
    [
        ([""], ["POST /unsafe/pub/x", "POST /unsafe/pub/", "GET /unsafe/sub/"], []),
        ([], [], ["POST /unsafe/pub/x", "POST /unsafe/pub/", "GET /unsafe/sub/x/", "GET /unsafe/sub/x"]),
        (
            ["github.com"],
            [
                "POST /unsafe/pub/github.com",
                "POST /unsafe/pub/github.com/org/x",
                "GET /unsafe/sub/github.com/",
                "GET /unsafe/sub/github.com/org/",
                "GET /unsafe/sub/",
                "GET /unsafe/sub/github.com%3Frecursive",
            ],
            ["POST /unsafe/pub/github.com.evil/x", "POST /unsafe/pub/x", "POST /unsafe/pub/", "GET /unsafe/sub/x/"],
        ),
        (
            ["a/b/", "c"],
            ["POST /unsafe/pub/a/b/x", "POST /unsafe/pub/c", "GET /unsafe/sub/a/"],
            ["POST /unsafe/pub/a/b", "POST /unsafe/pub/a/", "POST /unsafe/pub/a/c", "GET /unsafe/sub/a"],
        ),
    ],
)
def test_only_the_unsafe_topics_that_were_asked_for_exist(
    prefixes: list[str], existing: list[str], missing: list[str]
) -> None:
    access = make_access(unsafe_prefixes=prefixes)
    headers = {**I_UNDERSTAND, **basic(make_token(KEY, "/"))}
    for target in existing:
        ask(access, target, headers)
    for target in missing:
        with pytest.raises(NotFound):
            ask(access, target, headers)


@pytest.mark.parametrize("prefixes", [[], ["github.com"]])
def test_the_unsafe_messages_that_routers_failed_at_can_be_read_whichever_unsafe_topics_exist(
    prefixes: list[str],
) -> None:
    access = make_access(unsafe_prefixes=prefixes)
    headers = {**I_UNDERSTAND, **basic(make_token(KEY, "/"))}
    for topic in ("hookbot/failed/github", "hookbot/failed/", "hookbot/failed%3Frecursive", "hookbot/", ""):
        assert ask(access, f"GET /unsafe/sub/{topic}", headers)
    with pytest.raises(InvalidTopic, match="the hub's own"):
        ask(access, "POST /unsafe/pub/hookbot/failed/github")


def test_a_body_that_is_declared_too_large_is_refused_before_it_is_sent() -> None:
    access = make_access(max_body_bytes=1000)
    assert ask(access, "POST /unsafe/pub/x", {"Content-Length": "1000"})
    for declared in ("1001", "9" * 5000):
        with pytest.raises(BodyTooLarge, match="1000 bytes"):
            ask(access, "POST /unsafe/pub/x", {"Content-Length": declared})


def test_a_publish_keeps_what_came_with_it_and_no_secret(access: AccessControl) -> None:
    headers = {
        "Host": "hub.example",
        "X-GitHub-Event": "push",
        "Cookie": "c",
        "Proxy-Authorization": "p",
        "X-Gitlab-Token": "t",
        "Sec-WebSocket-Protocol": "hookbot.token.t",
        "Hookbot-Hops": "github, filter,",
        "Idempotency-Key": "once",
        **basic(make_token(KEY, "/")),
    }
    draft = publish(access, "POST /pub/x?a=%20b&token=secret&extra-metadata=github&token", headers).draft(b"body")

    assert draft == Draft(
        "x",
        b"body",
        headers=(
            ("Host", "hub.example"),
            ("X-GitHub-Event", "push"),
            ("Hookbot-Hops", "github, filter,"),
            ("Idempotency-Key", "once"),
        ),
        query="a=%20b&extra-metadata=github",
        hops=("github", "filter"),
        once=(Once("idempotency", "x", "once", fingerprint=draft.once[0].fingerprint),),
    )


def test_the_same_key_with_another_body_has_another_fingerprint(access: AccessControl) -> None:
    publishing = publish(access, "POST /unsafe/pub/x", {"Idempotency-Key": "once"})
    assert publishing.draft(b"one").once != publishing.draft(b"two").once
    assert publish(access, "POST /unsafe/pub/x").draft(b"one").once == ()


def test_nobody_without_a_token_can_say_which_routers_a_message_went_through(access: AccessControl) -> None:
    assert publish(access, "POST /unsafe/pub/x", {"Hookbot-Hops": "github"}).request.hops == ()


def test_whoever_fails_too_often_is_told_to_wait_but_a_good_token_still_comes_in() -> None:
    access = make_access(failures=Rate(3, 60))
    for _ in range(3):
        assert not is_let_in(access, "POST /pub/x", basic("nonsense"))
    with pytest.raises(TooManyRequests):
        ask(access, "POST /pub/x", {"Authorization": "Basic !!!"})
    assert is_let_in(access, "POST /pub/x", basic(make_token(KEY, "/pub/x")))


def test_a_request_for_one_action_is_not_admitted_to_the_other(access: AccessControl) -> None:
    with pytest.raises(MethodNotAllowed, match="GET is not allowed for '/sub/x'"):
        access.admit_publish(Request("GET", b"/sub/x", ()))
    with pytest.raises(MethodNotAllowed, match="POST is not allowed for '/pub/x'"):
        access.admit_subscription(Request("POST", b"/pub/x", ()), websocket=False)


# --- rates


def test_a_client_that_publishes_too_often_is_refused_and_others_are_not() -> None:
    access = make_access(publishes=Rate(2, 60))
    for _ in range(2):
        publish(access, "POST /unsafe/pub/x")

    with pytest.raises(TooManyRequests, match="too many publishes"):
        publish(access, "POST /unsafe/pub/x")

    assert access.admit_publish(Request("POST", b"/unsafe/pub/x", (), client="192.0.2.2"))


def test_a_publish_without_a_good_token_does_not_count() -> None:
    access = make_access(publishes=Rate(1, 60))
    for _ in range(3):
        assert not is_let_in(access, "POST /pub/x", basic("nonsense"))

    assert publish(access, "POST /pub/x", basic(make_token(KEY, "/")))


def test_what_was_admitted_is_decided_anew_with_another_sender_method_or_origin() -> None:
    access = make_access(sources=Sources([source(topic="acme/", allow_from=(ip_network("192.0.2.1"),))]))
    token = {**basic(make_token(KEY, "/")), "X-Hub-Signature-256": f"sha256={'0' * 64}"}
    assert publish(access, "POST /pub/acme/x", token).has_token
    fields = tuple(token.items())

    with pytest.raises(Forbidden):
        access.admit_publish(Request("POST", b"/pub/acme/x", fields, client="192.0.2.2"))
    with pytest.raises(MethodNotAllowed):
        access.admit_publish(Request("PUT", b"/pub/acme/x", fields, client="192.0.2.1"))
    with pytest.raises(Forbidden):
        publish(access, "POST /pub/acme/x", {**token, "Origin": "https://elsewhere.example"})
    with pytest.raises(Unauthorized):
        publish(access, "POST /pub/acme/x")


def test_what_was_admitted_is_refused_after_a_reload_that_refuses_it() -> None:
    access, token = make_access(), basic(make_token(KEY, "/"))
    assert publish(access, "POST /pub/x", token).has_token

    access.adopt(make_access(["another key"]))

    with pytest.raises(Unauthorized):
        publish(access, "POST /pub/x", token)


def test_what_was_admitted_is_decided_anew_after_a_reload_that_adds_a_source() -> None:
    access, token = make_access(), {**basic(make_token(KEY, "/")), "X-Hub-Signature-256": f"sha256={'0' * 64}"}
    key = key_of(publish(access, "POST /pub/acme/x", token).request.http)
    assert access.find_permit(key, "", 1)

    access.adopt(make_access(sources=Sources([source(topic="acme/")])))
    assert not access.find_permit(key, "", 1)
    assert publish(access, "POST /pub/acme/x", token).source

    assert not access.find_permit(key, "", 1)


def test_a_permit_is_for_bodies_of_the_allowed_size_and_until_its_token_expires() -> None:
    now_s = 1_700_000_000
    access = make_access(clock_us=lambda: now_s * 1_000_000, max_body_bytes=10)
    token = basic(str(NarrowedToken.of(make_token(KEY, "/"), "/").narrow("expires", str(now_s + 60))))
    key = key_of(publish(access, "POST /pub/x", token).request.http)
    assert access.find_permit(key, "", 10)

    assert not access.find_permit(key, "", 11)
    now_s += 60
    assert not access.find_permit(key, "", 10)


def test_a_near_miss_that_is_not_found_at_once_is_told_at_a_later_publish(caplog: pytest.LogCaptureFixture) -> None:
    now_us = 1_700_000_000_000_000
    clock = TrustedClock(lambda: now_us, lambda: now_us)
    access, token = make_access(clock_us=clock, sources=Sources([source(topic="acme/")])), basic(make_token(KEY, "/"))
    for number in range(COMPARISONS.count):
        publish(access, f"POST /pub/{number}", token)
    publish(access, "POST /pub/Acme/x", token)
    publish(access, "POST /pub/Acme/x", token)
    assert not caplog.messages

    now_us += 60_000_000
    publish(access, "POST /pub/Acme/x", token)

    assert "is acme/ meant?" in caplog.text


def test_a_publish_to_a_source_without_a_token_is_checked_each_time() -> None:
    here = (ip_network("192.0.2.1"),)
    access = make_access(sources=Sources([source(topic="/unsafe/acme/", allow_from=here)]))
    signature = (("X-Hub-Signature-256", f"sha256={'0' * 64}"),)

    def publish_from(client: str, headers: Headers = signature) -> AdmittedPublish:
        return access.admit_publish(Request("POST", b"/unsafe/pub/acme/", headers, client=client))

    for admitted in (publish_from("192.0.2.1"), publish_from("192.0.2.1")):
        assert not admitted.has_token
        assert not admitted.request.http.authenticated
    with pytest.raises(Forbidden):
        publish_from("192.0.2.2")
    with pytest.raises(BadSignature):
        publish_from("192.0.2.1", ())

    access.adopt(make_access(unsafe_prefixes=["other"]))
    with pytest.raises(NotFound):
        publish_from("192.0.2.1")


def test_what_was_admitted_is_refused_once_its_token_has_expired() -> None:
    now_s = 1_700_000_000
    access = make_access(clock_us=lambda: now_s * 1_000_000)
    token = basic(str(NarrowedToken.of(make_token(KEY, "/"), "/").narrow("expires", str(now_s + 60))))
    assert publish(access, "POST /pub/x", token).has_token
    now_s += 59
    assert publish(access, "POST /pub/x", token).has_token
    now_s += 1

    with pytest.raises(Unauthorized):
        publish(access, "POST /pub/x", token)


def test_a_subscription_is_decided_once_for_the_same_target_token_and_subprotocols(access: AccessControl) -> None:
    token = basic(make_token(KEY, "/"))
    first = ask(access, "GET /sub/x", token)

    again = Request("GET", b"/sub/x", tuple(token.items()), "192.0.2.7")
    admitted = access.admit_subscription(again, websocket=True)
    assert admitted.request is first.request
    assert admitted.client == "192.0.2.7"
    assert again.authenticated
    assert ask(access, "GET /sub/x", {**token, "Sec-WebSocket-Protocol": "hookbot.v1"}).request != first.request


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        pytest.param("/sub/x?since=1h", {"Sec-WebSocket-Protocol": "hookbot.v1"}, id="a duration counts back from now"),
        pytest.param("/sub/x", {"Last-Event-ID": "abcdefgh-000000000000001"}, id="an id"),
        pytest.param("/unsafe/sub/x", {"X-Hookbot-Unsafe-Is-Ok": UNSAFE_HEADER_VALUE}, id="a header for unsafe topics"),
    ],
)
def test_a_subscription_is_decided_anew_if_something_else_counts(
    access: AccessControl, target: str, headers: dict[str, str]
) -> None:
    headers = {**basic(make_token(KEY, "/")), **headers}

    assert ask(access, f"GET {target}", headers).request is not ask(access, f"GET {target}", headers).request


def test_a_stream_is_not_decided_as_the_websocket_was(access: AccessControl) -> None:
    token = basic(make_token(KEY, "/"))
    assert ask(access, "GET /sub/x", token)

    with pytest.raises(UpgradeRequired):
        access.admit_subscription(Request("GET", b"/sub/x", tuple(token.items())), websocket=False)
    with pytest.raises(Forbidden):
        ask(access, "GET /sub/x", {**token, "Origin": "https://elsewhere.example"})


def test_a_subscription_is_refused_after_a_reload_or_when_its_token_has_expired() -> None:
    now_s = 1_700_000_000
    access = make_access(clock_us=lambda: now_s * 1_000_000)
    token = basic(str(NarrowedToken.of(make_token(KEY, "/"), "/").narrow("expires", str(now_s + 60))))
    assert is_let_in(access, "GET /sub/x", token)
    assert is_let_in(access, "GET /sub/x", basic(make_token(KEY, "/")))
    now_s += 60

    with pytest.raises(Unauthorized, match="expired at"):
        ask(access, "GET /sub/x", token)
    access.adopt(make_access(["another key"]))
    assert not is_let_in(access, "GET /sub/x", basic(make_token(KEY, "/")))


def test_subscriptions_are_counted_though_they_are_decided_once() -> None:
    access = make_access(max_subscribers=1)
    token = basic(make_token(KEY, "/"))
    admitted = ask(access, "GET /sub/x", token)
    assert isinstance(admitted, AdmittedSubscription)
    access.active.add(Unconnected(admitted.grant))

    with pytest.raises(TooManyRequests):
        ask(access, "GET /sub/x", token)


def test_what_is_admitted_again_is_counted_again() -> None:
    access = make_access(publishes=Rate(2, 60))
    token = basic(make_token(KEY, "/"))
    for _ in range(2):
        assert publish(access, "POST /pub/x", token).has_token

    with pytest.raises(TooManyRequests):
        publish(access, "POST /pub/x", token)


# --- sources


def source(provider: str = "github", topic: str = "/unsafe/acme/", **options: Any) -> Source:
    return Source(topic, load_provider(provider), [SECRET], **options)


def test_a_source_is_found_and_limits_the_body_further() -> None:
    access = make_access(sources=Sources([source(max_body_bytes=10)]), max_body_bytes=1000)

    signed = {"X-Hub-Signature-256": "sha256=" + "00" * 32}

    admitted = publish(access, "POST /unsafe/pub/acme/x", {"Content-Length": "10", **signed})

    assert (admitted.source, admitted.max_body_bytes) == (source(max_body_bytes=10), 10)
    with pytest.raises(BodyTooLarge, match="10 bytes"):
        ask(access, "POST /unsafe/pub/acme/x", {"Content-Length": "11", **signed})


def test_a_publish_without_what_a_signature_has_in_the_head_is_refused_before_its_body_and_counted_once() -> None:
    sources = Sources([source("github"), source("microsoft-graph", "/unsafe/graph/")])
    access = make_access(sources=sources, failures=Rate(1, 60))

    with pytest.raises(BadSignature, match="the header X-Hub-Signature is missing"):
        ask(access, "POST /unsafe/pub/acme/x", {"Content-Length": "1000"})
    with pytest.raises(TooManyRequests):
        ask(access, "POST /unsafe/pub/acme/x", {"Content-Length": "1000"})
    assert publish(access, "POST /unsafe/pub/acme/x", {"X-Hub-Signature-256": "sha256=" + "00" * 32})
    assert publish(access, "POST /unsafe/pub/graph/x?validationToken=x")


def test_a_client_that_is_none_of_a_sources_senders_is_refused() -> None:
    access = make_access(sources=Sources([source(allow_from=(ip_network("203.0.113.0/24"),))]))

    with pytest.raises(Forbidden):
        ask(access, "POST /unsafe/pub/acme/x")


# --- challenges by GET (Dropbox asks for ``challenge`` back, Meta only with its verify token)


def challenge(access: AccessControl, target: str, headers: Mapping[str, str] = {}) -> Response | None:
    return access.respond_to_challenge(Request("GET", target.encode(), tuple(headers.items()), client="192.0.2.1"))


@pytest.mark.parametrize("target", ["/foo%3Frecursive", "/sub/foo", "/a//b"])
def test_a_get_that_could_be_no_publish_is_no_challenge(target: str) -> None:
    assert challenge(make_access(), target) is None


def test_a_challenge_is_answered_where_a_publish_would_be_admitted() -> None:
    access = make_access(
        sources=Sources([source("dropbox"), source("dropbox", topic="safe/")]), unsafe_prefixes=["acme/"]
    )

    answer = challenge(access, "/unsafe/pub/acme/x?challenge=abc")

    assert answer
    assert answer.body == b"abc"
    with pytest.raises(Unauthorized):
        challenge(access, "/pub/safe/x?challenge=abc")
    assert challenge(access, "/pub/safe/x?challenge=abc", basic(make_token(KEY, "/")))


@pytest.mark.parametrize(
    "target", ["/sub/x?challenge=abc", "/unsafe/pub/other?challenge=abc", "/unsafe/pub/acme/x", "/hub?challenge=abc"]
)
def test_a_get_that_is_no_challenge_is_left_to_others(target: str) -> None:
    assert challenge(make_access(sources=Sources([source("dropbox")])), target) is None


def test_a_challenge_at_an_unsafe_topic_that_does_not_exist_is_refused() -> None:
    access = make_access(sources=Sources([source("dropbox")]), unsafe_prefixes=["other/"])

    with pytest.raises(NotFound):
        challenge(access, "/unsafe/pub/acme/x?challenge=abc")


def test_a_challenge_that_fails_counts_as_a_failure() -> None:
    meta = Source("/unsafe/acme/", load_provider("meta", {"verify_token": "right"}), [SECRET])
    access = make_access(sources=Sources([meta]), failures=Rate(1, 60))
    asked = "/unsafe/pub/acme/x?hub.mode=subscribe&hub.challenge=abc&hub.verify_token="

    assert challenge(access, f"{asked}right")
    with pytest.raises(BadSignature):
        challenge(access, f"{asked}wrong")
    with pytest.raises(TooManyRequests):
        challenge(access, f"{asked}wrong")


# --- operators


def test_an_operator_needs_a_token_for_the_path() -> None:
    access = make_access()
    for path in ("/hookbot/v1/cursors/", "/metrics"):
        headers = basic(make_token(KEY, path))
        access.tokens.admit_operator(Request("GET", path.encode(), tuple(headers.items())))
        with pytest.raises(Unauthorized):
            access.tokens.admit_operator(Request("GET", path.encode(), ()))


# --- what a token shows


def narrowed(caveat: str) -> dict[str, str]:
    name, _, value = caveat.partition("=")
    return basic(str(NarrowedToken.of(make_token(KEY, "/"), "/").narrow(name, value)))


@pytest.mark.parametrize(
    ("caveat", "query"),
    [
        ("cursor=deploy", ""),
        ("cursor=deploy", "?cursor=other"),
        ("since=1700000001", ""),
        ("since=1600000000", "?cursor=deploy"),
        ("live=1", "?group=deploy"),
        ("live=1", "?since=all"),
        ("live=1", "?follow=0"),
    ],
)
def test_a_subscription_that_wants_more_than_its_token_shows_is_refused(
    access: AccessControl, caveat: str, query: str
) -> None:
    headers = {**narrowed(caveat), "Sec-WebSocket-Protocol": "hookbot.v1"}

    with pytest.raises(Forbidden):
        ask(access, f"GET /sub/x{query}", headers)


def test_a_client_that_resumes_without_history_starts_with_what_is_new(access: AccessControl) -> None:
    admitted = ask(access, "GET /sub/x?since=abcdefgh-000000000000001", narrowed("live=1"))

    assert isinstance(admitted, AdmittedSubscription)
    assert admitted.request.since is None
    assert admitted.grant.live_only


# --- reload


def test_a_reload_replaces_every_rule_but_the_size_of_bodies() -> None:
    access = make_access(max_body_bytes=1000)
    new = make_access(
        keys=["new key"],
        sources=Sources([source(allow_from=(ip_network("203.0.113.0/24"),))]),
        proxies=TrustedProxies(count=1),
        unsafe_prefixes=["acme/"],
        max_body_bytes=1,
    )

    access.adopt(new)

    assert is_let_in(access, "POST /pub/x", basic(make_token("new key", "/")))
    assert not is_let_in(access, "POST /pub/x", basic(make_token(KEY, "/")))
    with pytest.raises(Forbidden):
        ask(access, "POST /unsafe/pub/acme/x")
    with pytest.raises(NotFound):
        ask(access, "POST /unsafe/pub/other")
    forwarded = Request("GET", b"/", (("X-Forwarded-For", "203.0.113.9"),), client="192.0.2.1")
    assert access.clients.resolve(forwarded).client == "203.0.113.9"
    assert publish(access, "POST /pub/x", basic(make_token("new key", "/"))).max_body_bytes == 1000


# --- a clock that jumps


def test_a_jump_of_the_clock_ends_no_token_and_no_limit() -> None:
    now_s = 1_700_000_000
    shown_s = [now_s]
    clock = TrustedClock(lambda: shown_s[0] * 1_000_000, lambda: now_s * 1_000_000)
    access = make_access(clock_us=clock, failures=Rate(1, 60), publishes=Rate(1, 60))
    token = str(NarrowedToken.of(make_token(KEY, "/"), "/").narrow("expires", str(now_s + 60)))
    publish(access, "POST /pub/x", basic(token))
    assert not is_let_in(access, "POST /pub/x", basic("wrong"))

    for shown_s[0] in (now_s + 86_400, now_s - 86_400):
        with pytest.raises(TooManyRequests, match="publishes"):
            publish(access, "POST /pub/x", basic(token))
        with pytest.raises(TooManyRequests, match="valid token"):
            publish(access, "POST /pub/x", basic("wrong"))


# --- challenges by HEAD and OPTIONS


def ask_by(access: AccessControl, method: str, target: str, headers: Mapping[str, str] = {}) -> Response | None:
    asking = {"WebHook-Request-Origin": "events.example", **headers}
    return access.respond_to_challenge(Request(method, target.encode(), tuple(asking.items()), client="192.0.2.1"))


def test_permission_to_deliver_takes_the_token_that_a_publish_would() -> None:
    access = make_access()
    token = basic(make_token(KEY, "/pub/x"))

    assert ask_by(access, "OPTIONS", "/pub/x", token)
    with pytest.raises(Unauthorized):
        ask_by(access, "OPTIONS", "/pub/x")
    with pytest.raises(Unauthorized):
        ask_by(access, "OPTIONS", "/pub/y", token)
    assert ask_by(access, "HEAD", "/pub/x", token) is None


def test_the_token_vouches_also_for_a_sender_whose_provider_knows_no_permission() -> None:
    access = make_access(sources=Sources([source("hmac", "acme/")]))

    assert ask_by(access, "OPTIONS", "/pub/acme/x", basic(make_token(KEY, "/pub/acme/")))
    with pytest.raises(Unauthorized):
        ask_by(access, "OPTIONS", "/pub/acme/x")


def test_nobody_may_deliver_to_the_topics_of_the_hub_itself() -> None:
    with pytest.raises(InvalidTopic, match="own"):
        ask_by(make_access(), "OPTIONS", "/pub/hookbot/x", basic(make_token(KEY, "/pub/hookbot/x")))


def test_nobody_vouches_for_the_senders_of_an_unsafe_topic_without_a_source() -> None:
    assert ask_by(make_access(), "OPTIONS", "/unsafe/pub/x") is None


def test_permission_to_deliver_to_a_source_takes_its_secret() -> None:
    access = make_access(sources=Sources([source("header")]))

    assert ask_by(access, "OPTIONS", "/unsafe/pub/acme/x", {"X-Api-Key": SECRET})
    with pytest.raises(BadSignature):
        ask_by(access, "OPTIONS", "/unsafe/pub/acme/x", {"X-Api-Key": "mine"})


def test_an_address_is_shown_to_be_there_to_the_sender_of_a_source_alone() -> None:
    access = make_access(sources=Sources([source("hmac")]), unsafe_prefixes=["acme/"])

    assert ask_by(access, "HEAD", "/unsafe/pub/acme/x")
    assert ask_by(access, "HEAD", "/unsafe/pub/other") is None


# --- what is known of a sender before its request is admitted


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/pub/topic"),
        ("GET", "/sub/topic"),
        ("GET", "/metrics"),
        ("POST", "/pub/%74opic"),
        ("GET", f"/sub/topic?token={make_token(KEY, '/sub/topic')}"),
    ],
)
def test_a_sender_with_a_good_token_has_the_best_standing(access: AccessControl, method: str, target: str) -> None:
    path = "/" if "token=" not in target else ""
    headers = tuple(basic(make_token(KEY, path)).items()) if path else ()
    request = Request(method, target.encode(), headers)
    assert access.standing(request) is Standing.TOKEN
    assert not request.authenticated


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/pub/topic", {}),
        ("/pub/topic", basic("a guess")),
        ("/pub/topic", basic(make_token(KEY, "/pub/other"))),
        ("/pub//topic", basic(make_token(KEY, "/"))),
        ("/pub/%zz", basic(make_token(KEY, "/"))),
        ("", {}),
    ],
)
def test_a_sender_without_a_good_token_is_unknown_and_no_failure_is_counted(
    target: str, headers: dict[str, str]
) -> None:
    access = make_access(failures=Rate(1, 60))
    for _ in range(3):
        assert access.standing(Request("POST", target.encode(), tuple(headers.items()))) is Standing.UNKNOWN
