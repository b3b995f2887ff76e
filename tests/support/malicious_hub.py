"""A hub that wants to hurt its clients: real sockets, and tables of what it answers to requests and on websockets."""

import gzip
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from hookbot.protocol.envelope import encode_json
from hookbot.protocol.message import format_id
from hookbot.protocol.request import Request
from hookbot.protocol.websocket import BINARY, PING, TEXT, accept_handshake, close_frame, frame

EVIL = "\x1b]0;owned\x07\x9b2J\x9d8;;http://a\x9c\x84\u202e\u2066\u200b\ufeff\U000e0041\u2028\t\rCR\r\nhookbot: forged"
"""Sets the title of a terminal, erases it, makes a link, turns the direction of text, hides, and forges a line."""
ID = format_id("abcdefgh", 1)
DEEP = b"[" * 100_000
BOMB = gzip.compress(b"OK" + b" " * (32 << 20))


def response(status: int, body: bytes, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 %d X" % status, b"Content-Length: %d" % len(body), b"Connection: close", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


_LISTS = ("alerts", "budgets", "cursors", "messages", "quotas", "refusals", "routers", "sources", "subscriptions")


def _rows(value: object, **others: object) -> bytes:
    lists = dict.fromkeys((*_LISTS, "sees", "publishes"), value)
    return response(200, json.dumps({**lists, "head": ID, "total": 1, **others}).encode())


def _lines(*values: object) -> bytes:
    """The answer to what counts first, and then tells its progress."""
    return response(200, b"\n".join(json.dumps(value).encode() for value in values))


_ROW = {"kind": EVIL, "path": EVIL, "name": EVIL, "lag": EVIL, "connected": True, "position": EVIL, "error": EVIL}
_NAMES = (*_ROW, "token", "size", "used", "since", "oldest", "time")
LAST = response(403, EVIL.encode())
ANSWERS = {
    "a refusal": LAST,
    "a problem": response(403, json.dumps({"detail": EVIL}).encode()),
    "a problem of another type": response(403, b'{"detail": {"a": [1]}, "title": 5}'),
    "a deep problem": response(400, b'{"detail":' + DEEP),
    "a problem with a huge number": response(400, b'{"detail":' + b"9" * 5000 + b"}"),
    "a redirection": response(307, b"", b"Location: http://127.0.0.1:1/\x1b]0;owned\x07", b"Set-Cookie: \x1b[2J=\xff"),
    "a redirection to nowhere": response(302, b"", b"Location: http://[::1/\xff"),
    "an unknown status": response(799, EVIL.encode()),
    "no HTTP": EVIL.encode(),
    "a header that controls the terminal": response(405, b"", b"Allow: \x1b]0;owned\x07", b"Retry-After: \xb2"),
    "endless headers": b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 100_000,
    "an endless extension of a chunk": b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 1_000_000,
    "a compressed body": response(200, BOMB, b"Content-Encoding: gzip"),
    "a body that is no gzip": response(200, b"\x1b]0;owned\x07", b"Content-Encoding: gzip"),
    "a late date": response(200, b"OK", b"Date: Mon, 99999999999999999999 Jan 2026 00:00:00 GMT"),
    "an id that is none": response(200, b"OK", b"Hookbot-Message-Id: \x1b]0;owned\x07"),
    "deep JSON": response(200, DEEP),
    "a huge number": response(200, b"9" * 5000),
    "no rows": _rows(5),
    "rows of another type": _rows([5, None, [EVIL]]),
    "rows without fields": _rows([{}]),
    "rows that control the terminal": _rows([{**_ROW, "used": EVIL}]),
    "rows of other types": _rows([{**_ROW, "used": 5, "lag": [5, {}], "path": None}]),
    "rows of objects": _rows([{name: {"a": EVIL} for name in _NAMES}]),
    "rows of texts": _rows([dict.fromkeys(_NAMES, EVIL)]),
    "rows of huge numbers": _rows(
        [{**dict.fromkeys(_NAMES, 10**400), "kind": "bytes"}], total=10**400, expires=10**400
    ),
    "texts for numbers": _rows([], total=EVIL, before=[EVIL], expires=[EVIL], operator=EVIL),
    "an id that controls the terminal": response(200, json.dumps({"id": EVIL}).encode()),
    "a page after each": _rows([], before=ID, total=10**9),
    "an endless line": response(200, b'{"number": 1, "complete": true, "until": "' + b"x" * (2 << 20) + b'"}'),
    "a count until nowhere": _lines({"number": 1, "complete": True, "until": EVIL, "done": 1}),
    "a count of text": _lines({"number": EVIL, "complete": EVIL, "until": EVIL}),
    "a count and texts": _lines({"number": 1, "complete": True, "until": ID, "type": EVIL, "done": EVIL}),
    "a count and lists": _lines(
        {"number": 1, "complete": True, "until": ID, "type": "done", "done": 1, "next": EVIL, "of": [1], "before": {}}
    ),
    "a count and an error": _lines(
        {"number": 1, "complete": True, "until": ID, "type": "error", "done": 1, "detail": EVIL, "found": EVIL}
    ),
    "a count and a negative number": _lines(
        {"number": -1, "complete": False, "until": ID, "type": "done", "done": -(10**400), "gone": 5, "next": 7}
    ),
    "a count and topics": _lines(
        {"number": 1, "complete": True, "until": ID, "type": "done", "done": 1, "found": 1, "copies": 1}
        | {"left": 1, "topics": [EVIL], "next": EVIL, "detail": EVIL}
    ),
    "a count and no fields": _lines({"number": 1, "complete": True, "until": ID, "type": "done"}),
    "a count and topics of another type": _lines({"number": 1, "complete": True, "until": "", "done": 1, "topics": 5}),
    "deep rows": response(200, b'{"cursors": [{"lag":' + b"[" * 900 + b"]" * 900 + b"}]}"),
}
"""Answers to any request, by what is malicious in them."""


def _text(**fields: object) -> bytes:
    return frame(TEXT, encode_json(fields).encode())


def _message(**fields: object) -> bytes:
    envelope = {"id": ID, "topic": "t", "time": "2026-01-02T03:04:05Z", "headers": [], "query": "", "body": ""}
    return _text(type="message", **{**envelope, **fields})


_HELLO = _text(type="hello", hub=EVIL, topic=EVIL, last_id=ID)
FRAMES = {
    "texts": _HELLO
    + _text(type="gap", reason=EVIL, after=None, before=ID)
    + _text(type="error", title=EVIL)
    + _message(
        topic=EVIL,
        headers=[["X-Github-Event", EVIL], ["X-A", EVIL]],
        query=EVIL,
        body=EVIL,
        verified={"provider": EVIL, "key": EVIL, "source": EVIL},
        hops=[EVIL],
    )
    + close_frame(4001, EVIL),
    "an unknown close code": _HELLO + close_frame(4999, EVIL),
    "names of files and variables": _HELLO
    + _message(topic="../../../etc/passwd", headers=[["PATH", "/tmp\0"], ["../X", "a\r\nB: c"]], query="a b\r\nC: d")
    + close_frame(4001, ""),
    "NUL everywhere": _HELLO
    + _message(topic="\0", query="\0", headers=[["X-\0", "\0"]], body="\0")
    + close_frame(4001, ""),
    "an id": _HELLO + _message(id=EVIL),
    "a time": _HELLO + _message(time="9999-12-31T23:59:59-23:59"),
    "the last time": _HELLO + _message(time="9999-12-31T23:59:59.999999Z") + close_frame(4001, ""),
    "half a surrogate pair": _HELLO + _message(query="\ud800"),
    "another type": _HELLO + _message(headers={"a": 5}),
    "no fields": _HELLO + _text(type="message"),
    "no object": _HELLO + frame(TEXT, b"[]"),
    "deep JSON": _HELLO + frame(TEXT, DEEP),
    "a deep field": _HELLO + frame(TEXT, b'{"type":"heartbeat","id":' + b"[" * 900 + b"]" * 900 + b"}"),
    "a huge number": _HELLO + frame(TEXT, b'{"type":"message","id":' + b"9" * 5000 + b"}"),
    "no number": _HELLO + _message(verified={"provider": "x", "key": "0", "signed_at": float("inf")}),
    "a deep body": _HELLO + _message(body=DEEP.decode()) + close_frame(4001, ""),
    "a body with a huge number": _HELLO + _message(body="9" * 5000) + close_frame(4001, ""),
    "a binary frame": _HELLO + frame(BINARY, b"\xff"),
    "no text": _HELLO + frame(TEXT, b"\xff\xfe"),
    "a huge frame": _HELLO + b"\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff",
    "a compressed frame": _HELLO + b"\xc1\x02\x00\x00",
    "fragments": _HELLO + b"\x01\x01{" + b"\x00\x00" * 1000,
    "pings": _HELLO + frame(PING, b"x" * 125) * 1000 + close_frame(4001, ""),
    "no hello": frame(TEXT, b"null"),
}
"""What comes on a websocket, by what is malicious in it."""


@dataclass
class MaliciousHub:
    """A hub that gives one answer, or one sequence of frames, and refuses every further one but to operators."""

    port: int
    answer: bytes = LAST
    frames: bytes | None = None
    """Sent after a handshake; None to give the answer instead."""
    requests: int = 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                if not (data := client.recv(65536)):
                    return
                head += data
                # A TLS handshake, to find out whether this port speaks it: it would wait for an answer.
                if head.startswith(b"\x16"):
                    return
            if self.frames is not None and head.startswith((b"POST /target", b"GET /status")):
                client.sendall(response(200, b"OK\n"))
                return
            if self.frames is not None and b"upgrade: websocket" not in head.lower():
                client.sendall(response(426, b"a websocket\n"))
                return
            self.requests += 1
            # What is read in pages would never end. What is done follows what is counted.
            if self.requests > 1 and not head.startswith((b"POST /hookbot/", b"DELETE /hookbot/")):
                client.sendall(LAST)
            elif self.frames is None:
                client.sendall(self.answer)
            else:
                key = re.search(rb"(?i)sec-websocket-key: *([^\r]+)", head)
                assert key
                request = Request("GET", b"/", (("Sec-WebSocket-Key", key[1].decode()),))
                client.sendall(accept_handshake(request, "hookbot.v1") + self.frames)
            # Until the client leaves: closing with unread bytes would reset the connection, and what was sent with it.
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass


@contextmanager
def malicious_hub(**options: bytes) -> Iterator[MaliciousHub]:
    """A hub with an `answer` or with `frames`, until the end of the block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        hub = MaliciousHub(listener.getsockname()[1], **options)  # type: ignore[arg-type]

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threads.append(threading.Thread(target=hub.serve, args=[client], daemon=True))
                    threads[-1].start()

        threads = [threading.Thread(target=accept, daemon=True)]
        threads[0].start()
        yield hub
        # Wakes the thread that accepts.
        listener.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join()
