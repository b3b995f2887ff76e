"""The same bytes through the fast path and through the app: the same answers, and the same in the log."""

import json
import re
import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from secrets import token_hex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Opcode
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from hookbot.access.rate_limits import Rate
from hookbot.access.tokens import make_token
from hookbot.broker.broker import Broker
from hookbot.hub.config import Config
from hookbot.hub.config_file import ConfigFile
from hookbot.hub.hub import open_hub
from hookbot.hub.secret_store import StoredSecret
from hookbot.protocol.message import Message
from hookbot.protocol.request import MAX_PARAMETERS
from hookbot.protocol.topics import TopicFilter
from support import KEY
from support.clients import basic, handshake, masked, post
from support.hubs import ThreadHub

TIMEOUT_S = 30
UNSAFE = "I understand the security implications"
CONTINUE = b"HTTP/1.1 100 "
OF_THE_CONNECTION = {"date", "connection", "keep-alive", "server"}
"""What may differ: whether a connection is kept, and what is said of it. Names in any case."""


@dataclass
class Hub:
    """A hub that runs in another thread."""

    thread: ThreadHub
    port: int
    broker: Broker
    seen: int = 0

    def ask(self, sent: bytes) -> tuple[int, dict[str, str], bytes]:
        """The first answer: status, headers, body."""
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S) as sock,
            sock.makefile("rb") as reader,
        ):
            sock.sendall(sent)
            status = int(reader.readline().split()[1])  # the phrase behind it means nothing (RFC 9112, section 4)
            headers = {}
            while line := reader.readline().decode("latin-1").rstrip("\r\n"):
                name, _, value = line.partition(": ")
                headers[name.lower()] = value.replace(self.broker.log.epoch, "epoch")
            if "upgrade" in headers:
                headers["upgrade"] = headers["upgrade"].lower()
            body = reader.read(int(headers.get("content-length", 0)))
            kept = {name: value for name, value in headers.items() if name not in OF_THE_CONNECTION}
            return status, kept, body.replace(self.broker.log.epoch.encode(), b"epoch")

    def outcome(self, sent: bytes) -> tuple[list[int], bytes, list[Message]]:
        """Outcome of a whole connection: statuses of the answers, what follows a handshake, and what was stored."""
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S) as sock,
            sock.makefile("rb") as reader,
        ):
            sock.sendall(sent)
            sock.shutdown(socket.SHUT_WR)
            received = reader.read()
        statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d\d\d) ", received.replace(CONTINUE, b""))]
        _, _, frames = received.partition(b"HTTP/1.1 101 ")
        return statuses, frames.partition(b"\r\n\r\n")[2], self.taken()

    def taken(self) -> list[Message]:
        """Messages stored since the last call, without the fields in which any two logs differ."""
        everything = TopicFilter(("", "/unsafe/"))
        page = self.thread.call(self.broker.log.read, everything, after=self.seen, limit=1000, max_bytes=1 << 30)
        self.seen = page.next_after
        return [replace(message, id=message.id[8:], time_us=0) for message in page.messages]


@contextmanager
def running(*, fast_path: bool) -> Iterator[Hub]:
    """A hub in a thread of its own, so that the tests can block."""
    config = Config(
        key=StoredSecret(KEY),
        data_dir=Path(),
        bind=("127.0.0.1:0",),
        store="memory:",
        door=fast_path,
        max_body_bytes=10_000,
        failure_rate=Rate(10**6, 1),
        cors_origins=("https://pages.example",),
        reply_prefixes=("a", "/unsafe/pub/"),
        # As the response to any other publish that is stored.
        file=ConfigFile(reply_default={"status": 200, "body": "nobody"}),
        grace_s=0,
    )
    with ThreadHub(open_hub(config)) as thread:
        yield Hub(thread, int(thread.url.rpartition(":")[2]), thread.hub.broker)


@pytest.fixture(scope="module")
def hubs() -> Iterator[tuple[Hub, Hub]]:
    with pytest.MonkeyPatch.context() as patch, running(fast_path=True) as fast_path, running(fast_path=False) as app:
        # Who has closed its side is answered on a busy machine as well.
        for way in ("fastpath", "asgi"):
            patch.setattr(f"hookbot.web.{way}.connection.HALF_CLOSE_S", TIMEOUT_S)
        yield fast_path, app


def compare(hubs: tuple[Hub, Hub], sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send a request to the fast path and to the app, and return both responses."""
    answers = [hub.ask(sent) for hub in hubs]
    taken = [hub.taken() for hub in hubs]
    assert answers[0] == answers[1]
    assert taken[0] == taken[1]
    assert (answers[0][0] == 200) == (len(taken[0]) == 1) or "duplicate" in str(answers[0][1])
    return answers[0]


def chunked(body: bytes) -> bytes:
    return b"%x;x=y\r\n%b\r\n0\r\nX-Trailer: y\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"


def chunked_request(body: str) -> str:
    return post("/unsafe/pub/a", None, "Transfer-Encoding: chunked").decode() + body


SEGMENTS = [
    "a",
    "b.c",
    "pub",
    "sub",
    "unsafe",
    "status",
    "hookbot",
    "%20",
    "%C3%A4",
    "%41",
    "%2F",
    "%00",
    "%ff",
    "%zz",
]
SEGMENTS += ["", ".", "..", "%2e%2e", "a%3Fb", "a%3Frecursive", "~", "a:b", "a;b", "a&b=c", "x" * 1100, "%", "+", "#a"]
PREFIXES = ["/pub/", "/unsafe/pub/", "/", "/sub/", "/unsafe/sub/", "/unsafe/", "//pub/", "/pub//", "/PUB/", "/%70ub/"]
QUERIES = [
    "",
    "?" + "a&" * MAX_PARAMETERS,
    "?",
    "?a=b",
    "?extra-metadata=github",
    "?extra-metadata=no",
    "?token=abc",
    "?a=b&token=x&c",
    "?a=1&a=2",
    "?%ff",
    "??",
    "?sinse=2h",
    "?reply",
    "?a=b&reply=1&token=x",
    "?reply=later",
    "?extra_metadata=github",
]
FIELDS = [
    "Accept: application/json",
    "Accept: */*",
    "Content-Type: application/json",
    "Idempotency-Key: key",
    "Idempotency-Key: " + "k" * 300,
    "Hookbot-Hops: a, b",
    "Hookbot-Method: GET",
    "Hookbot-Hops: " + ",".join("abcdefghijklmnopqrstu"),
    "Origin: https://pages.example",
    "Origin: https://elsewhere.example",
    "Origin: http://hub",
    "Cookie: secret",
    "X-Gitlab-Token: secret",
    "X-Twice: 1",
    "X-Twice:  2  ",
    "x-odd: \xe4\xff",
    "X-Empty:",
    "Expect: 100-something",
    "Connection: keep-alive",
    "Upgrade: h2c",
    "Upgrade: websocket",
    "Last-Event-ID: all",
]
TOKENS = ["right", "wrong", "none", "bearer", "sha256", "garbage", "empty", "prefix", "lower"]


def authorization(kind: str, path: str) -> list[str]:
    right = make_token(KEY, path)
    return {
        "right": [f"Authorization: Basic {basic(path)}"],
        "wrong": ["Authorization: Basic Zm9vOg=="],
        "none": [],
        "bearer": [f"Authorization: Bearer {right}"],
        "sha256": [f"Authorization: bearer {make_token(KEY, path, 'sha256')}"],
        "garbage": ["Authorization: Basic \xff\xfe"],
        "empty": ["Authorization:"],
        "prefix": [f"Authorization: Bearer {make_token(KEY, '/')}"],
        "lower": [f"authorization: basic {basic('/pub/')}"],
    }[kind]


def request(path: str, fields: list[str], body: bytes, coding: str, version: str) -> bytes:
    lines = [f"POST {path} HTTP/{version}", "Host: hub", *fields]
    lines.append(f"Content-Length: {len(body)}" if coding == "counted" else "Transfer-Encoding: chunked")
    head = "\r\n".join([*lines, "", ""])
    return head.encode("latin-1") + (body if coding == "counted" else chunked(body))


# --- publishing


@pytest.mark.parametrize(
    "path", [prefix + segment for prefix in PREFIXES for segment in (*SEGMENTS[:3], "a/", "a/b", "")]
)
@pytest.mark.parametrize("token", ["right", "none"])
def test_every_kind_of_path_is_answered_equally(hubs: tuple[Hub, Hub], path: str, token: str) -> None:
    compare(hubs, request(path, authorization(token, path), b"hello", "counted", "1.1"))


@pytest.mark.parametrize("segment", SEGMENTS)
def test_every_spelling_of_a_topic_is_answered_equally(hubs: tuple[Hub, Hub], segment: str) -> None:
    compare(hubs, request(f"/unsafe/pub/{segment}", [], b"hello", "counted", "1.1"))
    compare(hubs, request(f"/unsafe/pub/a/{segment}/b", [], b"hello", "chunked", "1.1"))


@pytest.mark.parametrize("token", TOKENS)
def test_every_kind_of_token_is_answered_equally(hubs: tuple[Hub, Hub], token: str) -> None:
    compare(hubs, request("/pub/a/b", authorization(token, "/pub/a/b"), b"hello", "counted", "1.1"))


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("token", ["right", "none"])
def test_every_kind_of_header_is_answered_equally(hubs: tuple[Hub, Hub], field: str, token: str) -> None:
    compare(hubs, request("/pub/a", [*authorization(token, "/pub/a"), field], b"hello", "counted", "1.1"))


@pytest.mark.parametrize("query", QUERIES)
def test_every_kind_of_query_is_answered_equally(hubs: tuple[Hub, Hub], query: str) -> None:
    compare(hubs, request(f"/pub/a{query}", authorization("right", "/pub/a"), b"hello", "counted", "1.1"))


@pytest.mark.parametrize("target", ["http://hub/pub/a", "HTTPS://other:1/pub/a?b", "http://user@hub/pub/a"])
def test_a_whole_url_is_answered_equally(hubs: tuple[Hub, Hub], target: str) -> None:
    compare(hubs, request(target, authorization("right", "/pub/a"), b"hello", "counted", "1.1"))


@pytest.mark.parametrize("size", [0, 1, 9_999, 10_000, 10_001, 70_000])
@pytest.mark.parametrize(("coding", "version"), [("counted", "1.1"), ("chunked", "1.1"), ("counted", "1.0")])
def test_every_kind_of_body_is_answered_equally(hubs: tuple[Hub, Hub], size: int, coding: str, version: str) -> None:
    compare(hubs, request("/unsafe/pub/a", [], bytes(size), coding, version))


def compare_connections(hubs: tuple[Hub, Hub], sent: bytes) -> list[int]:
    """Send several requests at once to the fast path and to the app, and return the statuses of both."""
    fast_path, app = [hub.outcome(sent) for hub in hubs]
    assert fast_path == app
    return fast_path[0]


@pytest.mark.parametrize(("field", "other"), [*pairwise(FIELDS), *((one, one) for one in FIELDS)])
def test_a_head_that_is_nearly_the_last_one_is_answered_equally(hubs: tuple[Hub, Hub], field: str, other: str) -> None:
    token = authorization("right", "/pub/a")
    requests = [
        request("/pub/a", [*token, f"X-Id: {number}", one, "X-Last: same"], b"x" * number, "counted", "1.1")
        for number, one in ((1, field), (2, field), (30, other), (4, field), (10_001, field))
    ]

    compare_connections(hubs, b"".join(requests))


@pytest.mark.parametrize("token", TOKENS)
def test_a_head_that_is_the_last_one_but_for_its_token_is_answered_equally(hubs: tuple[Hub, Hub], token: str) -> None:
    kinds = ["right", "right", token, "right"]

    compare_connections(
        hubs, b"".join(request("/pub/a", authorization(kind, "/pub/a"), b"hello", "counted", "1.1") for kind in kinds)
    )


@pytest.mark.parametrize("targets", ["?reply ?reply ?reply", " ?reply ", "?reply  ?reply", "/b /b?reply /b"])
def test_publishes_of_which_some_ask_for_a_reply_are_answered_equally(hubs: tuple[Hub, Hub], targets: str) -> None:
    token = [f"Authorization: Bearer {make_token(KEY, '/')}"]
    requests = [request(f"/pub/a{target}", token, b"hello", "counted", "1.1") for target in targets.split(" ")]

    statuses = compare_connections(hubs, b"".join(requests))

    assert statuses == [400 if "/b?" in target else 200 for target in targets.split(" ")]


@pytest.mark.parametrize("field", ["X-A: 1", "Sec-Fetch-Mode: cors", "Origin: http://hub", "Hookbot-Method: PUT"])
@pytest.mark.parametrize("target", ["/pub/a?reply", "/pub/a?b=c&reply=1", "/unsafe/pub/a?reply", "/pub/a"])
def test_a_get_is_answered_equally(hubs: tuple[Hub, Hub], target: str, field: str) -> None:
    token = f"Authorization: Bearer {make_token(KEY, target.partition('?')[0])}"
    status, _, _ = compare(hubs, f"GET {target} HTTP/1.1\r\nHost: hub\r\n{token}\r\n{field}\r\n\r\n".encode())

    asks = target.startswith("/pub/a?")
    assert status == (405 if not asks else 403 if "Sec-" in field else 200)


@pytest.mark.parametrize("accept", [[], ["Accept: application/json"]])
def test_a_repeated_publish_is_answered_equally(hubs: tuple[Hub, Hub], accept: list[str]) -> None:
    fields = [*authorization("right", "/pub/a"), f"Idempotency-Key: again{len(accept)}", *accept]
    answers = [compare(hubs, request("/pub/a", fields, body, "counted", "1.1")) for body in (b"1", b"1", b"2")]

    assert [status for status, _, _ in answers] == [200, 200, 422]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "BREW", "POSTS", "GETS"])
def test_every_other_method_is_answered_equally(hubs: tuple[Hub, Hub], method: str) -> None:
    answers = [hub.ask(f"{method} /pub/a HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n".encode()) for hub in hubs]

    assert answers[0] == answers[1]


@pytest.mark.slow
@settings(max_examples=400)
@given(
    st.sampled_from(PREFIXES),
    st.lists(st.sampled_from(SEGMENTS), max_size=3),
    st.sampled_from(QUERIES),
    st.sampled_from(TOKENS),
    st.lists(st.sampled_from(FIELDS), max_size=4),
    st.binary(max_size=40),
    st.sampled_from([("counted", "1.1"), ("chunked", "1.1"), ("counted", "1.0")]),
)
def test_whatever_is_published_in_good_form_is_answered_equally(
    hubs: tuple[Hub, Hub],
    prefix: str,
    segments: list[str],
    query: str,
    token: str,
    fields: list[str],
    body: bytes,
    form: tuple[str, str],
) -> None:
    path = prefix + "/".join(segments)
    compare(hubs, request(path + query, [*authorization(token, path), *fields], body, *form))


LINES = [
    *FIELDS,
    "X-Id: 1",
    "X-Id: 2",
    "x-id:3",
    "X-Id: \t4",
    "X-Id: 5\x00",
    "X-Id",
    "Content-Length: 5",
    "",
    "X-Id :6",
]


@pytest.mark.slow
@settings(max_examples=400)
@given(st.lists(st.lists(st.sampled_from(LINES), min_size=3, max_size=3), min_size=2, max_size=4), st.integers(0, 9))
def test_whatever_follows_on_a_connection_is_answered_equally(
    hubs: tuple[Hub, Hub], heads: list[list[str]], size: int
) -> None:
    token = authorization("right", "/pub/a")

    compare_connections(
        hubs, b"".join(request("/pub/a", [*token, *lines], b"x" * size, "counted", "1.1") for lines in heads)
    )


# --- websockets


HANDSHAKES = [
    handshake("/sub/a"),
    handshake("/sub/a/"),
    handshake("/a"),
    handshake("/sub/"),
    handshake("/sub/a%3Frecursive"),
    handshake("/sub/a", token="Zm9vOg=="),
    handshake("/sub/a?since=all"),
    handshake("/sub/a?since=nonsense"),
    handshake("/sub/a?limit=2"),
    handshake("/sub/a?follow=0"),
    handshake("/sub/a?group=g"),
    handshake("/sub/a?cursor=c", "Sec-WebSocket-Protocol: hookbot.v1"),
    handshake("/sub/a?a=1&a=2"),
    handshake("/sub/a", "Sec-WebSocket-Protocol: hookbot.v1"),
    handshake("/sub/a", "Sec-WebSocket-Protocol: nothing, cloudevents.json, hookbot.v1"),
    handshake("/sub/a", "Sec-WebSocket-Protocol: nothing"),
    handshake("/sub/a", f"Sec-WebSocket-Protocol: hookbot.token.{make_token(KEY, '/sub/a')}", token="Zm9vOg=="),
    handshake("/sub/a", "Sec-WebSocket-Extensions: permessage-deflate"),
    handshake("/sub/a", "Origin: https://elsewhere.example"),
    handshake("/sub/a", "Accept: application/json", token="Zm9vOg=="),
    handshake("/unsafe/sub/a"),
    handshake("/unsafe/sub/a", "X-Hookbot-Unsafe-Is-Ok: I understand the security implications"),
    handshake("/pub/a"),
    handshake("/sub/a//b"),
    handshake("/sub/%2F"),
    handshake("/status"),
    handshake("/hookbot/v1/cursors"),
    handshake("/sub/hookbot/a"),
    handshake("/sub/a").replace(b"Upgrade: websocket", b"Upgrade: WebSocket, h2c"),
    handshake("/sub/a").replace(b"Connection: Upgrade", b"Connection: keep-alive, upgrade"),
    handshake("/sub/a", "Connection: keep-alive"),
    handshake("/sub/a").replace(b"Upgrade: websocket", b"Upgrade: websockets"),
    handshake("/sub/a").replace(b"Connection: Upgrade", b"Connection: close"),
    handshake("/sub/a").replace(b"HTTP/1.1", b"HTTP/1.0"),
    handshake("/sub/a").replace(b"GET", b"POST"),
    handshake("/sub/a", "Content-Length: 0"),
]


@pytest.mark.parametrize("sent", HANDSHAKES)
def test_every_kind_of_handshake_is_answered_equally(hubs: tuple[Hub, Hub], sent: bytes) -> None:
    answers = [hub.ask(sent) for hub in hubs]

    assert answers[0] == answers[1]


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/sub/a", "/sub/a/", "/a%3Frecursive", "/unsafe/sub/a/", "/sub/a/?since=all"])
@pytest.mark.parametrize("subprotocol", [None, "hookbot.v1", "cloudevents.json"])
def test_every_kind_of_subscription_hears_the_same(hubs: tuple[Hub, Hub], path: str, subprotocol: str | None) -> None:
    wrapped = "?extra-metadata=github"
    sent = [
        post("/pub/a", b"\0\xff", "X-Odd: \xe4"),
        post(f"/pub/a/b{wrapped}", b"{}", "X-GitHub-Event: push"),
        post("/unsafe/pub/a/b", b"x" * 5000),
        post("/pub/a/", b"", "Content-Type: text/plain", "Hookbot-Hops: one"),
    ]

    # Behind these, one to each of their topics; no other test sends the same.
    end = token_hex()
    sent += [post(each, end.encode()) for each in ("/pub/a", "/pub/a/b", "/unsafe/pub/a/b")]

    heard = [hear(hub, path, subprotocol, sent, end) for hub in hubs]

    assert heard[0] == heard[1]
    assert len(heard[0]) > 1
    assert hubs[0].taken() == hubs[1].taken()


def hear(hub: Hub, path: str, subprotocol: str | None, sent: list[bytes], end: str) -> list[str]:
    """Frames that a subscriber receives up to the body `end`, without the parts in which any two logs differ."""
    headers = {"Authorization": f"Basic {basic(path)}", "X-Hookbot-Unsafe-Is-Ok": UNSAFE}
    url = f"ws://127.0.0.1:{hub.port}{path}"
    subprotocols = [Subprotocol(subprotocol)] if subprotocol else None
    with connect(url, additional_headers=headers, subprotocols=subprotocols, proxy=None) as listener:
        for request in sent:
            assert hub.ask(request)[0] == 200
        told: list[str] = []
        while not told or not (end in told[-1] or b64encode(end.encode()).decode() in told[-1]):
            told.append(str(listener.recv(TIMEOUT_S)))
    return [re.sub(r"[a-z]{8}-(\d{15})|\d{4}-\d\d-\d\dT[\d:.]+Z", r"\1", one) for one in told]


# --- what is malformed


MALFORMED = [
    post("/unsafe/pub/ä"),
    post("/unsafe/pub/a", None, "Transfer-Encoding: chunked", version="1.0") + chunked(b"hello"),
    post("/unsafe/pub/a", b"hello", "Transfer-Encoding: chunked"),
    post("/unsafe/pub/a", b"hello", "Content-Length: 5"),
    post("/unsafe/pub/a", b"hello", "Host: again"),
    post("/unsafe/pub/a", b"hello", "X: a\r\n b"),
    post("/unsafe/pub/a", b"hello").replace(b"\r\n", b"\n"),
    post("/unsafe/pub/a", b"hello", "X: \0"),
    post("/unsafe/pub/a", b"hello", "X: \x01"),
    post("/unsafe/pub/a", b"hello", "X : a"),
    post("/unsafe/pub/a", b"hello", "X"),
    post("/unsafe/pub/a", None, "Content-Length: +5") + b"hello",
    post("/unsafe/pub/a", None, "Transfer-Encoding: gzip") + b"hello",
    post("/unsafe/pub/a", None, "Transfer-Encoding: gzip, chunked") + chunked(b"hello"),
    post("/unsafe/pub/a", None, "Transfer-Encoding: chunked") + b"x\r\nhello\r\n0\r\n\r\n",
    post("/unsafe/pub/a", None, "Transfer-Encoding: chunked") + b"2\r\nhello\r\n0\r\n\r\n",
    post("/unsafe/pub/a", None, "Transfer-Encoding: chunked") + b"0x5\r\nhello\r\n0\r\n\r\n",
    post("/unsafe/pub/a", version="1.2"),
    post("/unsafe/pub/a", version="2.0"),
    post("unsafe/pub/a"),
    post("*"),
    post("http:///unsafe/pub/a"),
    handshake("/sub/a").replace(b"Version: 13", b"Version: 12"),
    handshake("/sub/a").replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"c2hvcnQ="),
    handshake("/sub/a").replace(b"dGhlIHNhbXBsZSBub25jZQ==", b""),
    b"POST  /unsafe/pub/a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    b"POST /unsafe/pub/a HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    b"POST /unsafe/pub/a HTTP/1.1\r\nHost: a b\r\nContent-Length: 0\r\n\r\n",
    b"POST /unsafe/pub/a\r\n\r\n",
    b"-POST /unsafe/pub/a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    b"post /unsafe/pub/a HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"POST /unsafe/pub/a HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 40_000 + b"\r\n\r\n",
    post(f"/unsafe/pub/a?{'a&' * MAX_PARAMETERS}"),
    handshake("/sub/a", "Content-Length: 5") + b"hello",
    handshake("/sub/a", "Transfer-Encoding: chunked") + chunked(b"hello"),
]


@pytest.mark.parametrize("sent", MALFORMED)
def test_what_is_malformed_gets_the_same_status_and_is_published_by_neither(hubs: tuple[Hub, Hub], sent: bytes) -> None:
    answers = [hub.ask(sent) for hub in hubs]

    assert answers[0][0] == answers[1][0]
    assert answers[0][0] in (400, 431)
    assert [hub.taken() for hub in hubs] == [[], []]


VECTORS = json.loads((Path(__file__).parents[1] / "vectors/http1.json").read_text())
VECTORS |= {
    "many empty lines": "\r\n" * 20_000,
    "long extension": chunked_request("5;" + "x" * 5000 + "\r\nhello\r\n0\r\n\r\n"),
    "longer extension": chunked_request("5;" + "x" * 40_000 + "\r\nhello\r\n0\r\n\r\n"),
    "long trailer": chunked_request("5\r\nhello\r\n0\r\nX: " + "x" * 4090 + "\r\n\r\n"),
    "longer trailer": chunked_request("5\r\nhello\r\n0\r\nX: " + "x" * 40_000 + "\r\n\r\n"),
    "many trailers": chunked_request("5\r\nhello\r\n0\r\n" + "X: y\r\n" * 1000 + "\r\n"),
    "many chunks": chunked_request("1\r\nx\r\n" * 500 + "0\r\n\r\n"),
    "many headers": post("/unsafe/pub/a", b"hello", *["X: y"] * 2000).decode(),
    "too many headers": post("/unsafe/pub/a", b"hello", *["X: y"] * 6000).decode(),
    "refused and malformed": post("/pub/a", None, "Transfer-Encoding: chunked", token="no").decode() + "x",
    "large and malformed": chunked_request("2711\r\n" + "x" * 10_001 + "\r\nx"),
    "large and not whole": chunked_request("2711\r\n" + "x" * 10_001),
    "said to be large": post("/unsafe/pub/a", None, "Content-Length: 10001").decode(),
    "not whole, as JSON": post("/unsafe/pub/a", None, "Content-Length: 5", "Accept: application/json").decode(),
    "body too large": post("/unsafe/pub/a", b"x" * 10_001).decode(),
    "too many parameters": post(f"/unsafe/pub/a?{'a&' * MAX_PARAMETERS}").decode(),
    "target too long": post("/unsafe/pub/" + "a" * 33_000).decode(),
}


@pytest.mark.parametrize("vector", VECTORS.values(), ids=list(VECTORS))
def test_bytes_of_any_kind_have_the_same_outcome_for_them_and_for_the_request_behind(
    hubs: tuple[Hub, Hub], vector: str
) -> None:
    behind = post("/unsafe/pub/behind", b"behind", "Connection: close")
    outcomes = [hub.outcome(vector.encode("latin-1") + behind) for hub in hubs]

    assert outcomes[0] == outcomes[1]


CLOSE = masked(Opcode.CLOSE, b"\x03\xe8")
BEHIND_A_HANDSHAKE = {
    "ping": masked(Opcode.PING, b"early") + CLOSE,
    "message": masked(Opcode.TEXT, b"early") + CLOSE,
    "not masked": b"\x81\x02hi",
    "reserved bit": b"\xc1\x80abcd",
    "empty line": b"\r\n",
    "half a frame": b"\x89",
    "request": post("/unsafe/pub/behind", b"behind"),
}


@pytest.mark.parametrize("behind", BEHIND_A_HANDSHAKE.values(), ids=list(BEHIND_A_HANDSHAKE))
@pytest.mark.parametrize(
    "sent",
    [
        handshake("/sub/a"),
        handshake("/sub/silent?since=all"),
        handshake("/sub/a", token="Zm9vOg=="),
        handshake("/pub/a"),
        handshake("/nowhere"),
        handshake("/sub/a").replace(b"Version: 13", b"Version: 12"),
    ],
    ids=["accepted", "later", "unauthorized", "not a subscription", "nowhere", "malformed"],
)
def test_what_stands_behind_a_handshake_has_the_same_outcome(hubs: tuple[Hub, Hub], sent: bytes, behind: bytes) -> None:
    outcomes = [hub.outcome(sent + behind) for hub in hubs]

    assert outcomes[0] == outcomes[1]
    assert outcomes[0][2] == []
