"""Protocols of the contestants, as bytes that the load generator prepares before the clock runs."""

from dataclasses import dataclass
from functools import cache
from typing import Protocol as Interface

from hookbot.access.tokens import make_token

KEY = "benchmark"
# Of GitHub's webhook.
SECRET = "benchmark-of-the-webhook"
# An empty frame, masked with zeros (RFC 6455, section 5.5.3).
PONG = b"\x8a\x80\0\0\0\0"

Dialogue = list[tuple[bytes, bytes]]
"""Turns that open a connection: the bytes to send, and the end of the response to wait for."""


class Protocol(Interface):
    """Protocol of a contestant."""

    answer: bytes
    """Bytes that every response to a publish contains once; empty if there are no responses."""
    accepted: bytes
    """Bytes that every response to an accepted publish contains once."""
    alive: bytes
    """Bytes that a subscriber sends now and then to keep its connection, as if it answered a ping."""

    def subscribing(self, topic: str, query: str = "") -> Dialogue:
        """Dialogue that opens a subscription."""

    def publishing(self, connection: int) -> Dialogue:
        """Dialogue that opens a connection to publish on, the one with this number."""

    def publish(self, topic: str, body: bytes, number: int) -> bytes:
        """Request to publish one message; the number makes its head one of its own."""

    def sent_on(self, connection: int, request: bytearray) -> bytearray:
        """The request as this connection sends it."""

    def delivered(self, topic: str, body: bytes) -> int:
        """Least number of bytes that a subscriber receives for a message."""


@dataclass(frozen=True)
class HttpAndWebsockets:
    """HTTP to publish at ``/pub/TOPIC``, a websocket to subscribe at ``/sub/TOPIC``, with hookbot's tokens."""

    answer = b"HTTP/1.1 "
    accepted = b"HTTP/1.1 200"
    alive = PONG

    def subscribing(self, topic: str, query: str = "") -> Dialogue:
        return [(handshake(f"/sub/{topic}", query), b"\r\n\r\n")]

    def publishing(self, connection: int) -> Dialogue:
        return []

    def publish(self, topic: str, body: bytes, number: int) -> bytes:
        path = f"/pub/{topic}"
        head = (
            f"POST {path} HTTP/1.1\r\nHost: hooks.example.com\r\nUser-Agent: sender/1.0\r\nAccept: */*\r\n"
            f"Content-Type: application/json\r\nX-Request-Id: {uuid(number)}\r\n"
            f"traceparent: 00-{number:032x}-{number:016x}-01\r\nAuthorization: Bearer {token(path)}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def sent_on(self, connection: int, request: bytearray) -> bytearray:
        return request

    def delivered(self, topic: str, body: bytes) -> int:
        return frame_size(len(body))


@dataclass(frozen=True)
class OnlyWebsockets:
    """Websockets to subscribe, and to publish: a frame to ``/pub/`` is a message, without a response."""

    answer = accepted = b""
    alive = PONG

    def subscribing(self, topic: str, query: str = "") -> Dialogue:
        return [(handshake(f"/sub/{topic}", query), b"\r\n\r\n")]

    def publishing(self, connection: int) -> Dialogue:
        return [(handshake("/pub/"), b"\r\n\r\n")]

    def publish(self, topic: str, body: bytes, number: int) -> bytes:
        return client_frame(body)

    def sent_on(self, connection: int, request: bytearray) -> bytearray:
        return request

    def delivered(self, topic: str, body: bytes) -> int:
        return frame_size(len(body))


@dataclass(frozen=True)
class Nats:
    """The NATS protocol. Publishers are answered with ``+OK``, which says that the server has read the message."""

    answer = accepted = b"+OK\r\n"
    alive = b"PONG\r\n"

    def subscribing(self, topic: str, query: str = "") -> Dialogue:
        return [(b'CONNECT {"verbose":false}\r\nSUB %b 1\r\nPING\r\n' % subject(topic), b"PONG\r\n")]

    def publishing(self, connection: int) -> Dialogue:
        return [(b'CONNECT {"verbose":true}\r\nPING\r\n', b"PONG\r\n")]

    def publish(self, topic: str, body: bytes, number: int) -> bytes:
        return b"PUB %b %d\r\n%b\r\n" % (subject(topic), len(body), body)

    def sent_on(self, connection: int, request: bytearray) -> bytearray:
        return request

    def delivered(self, topic: str, body: bytes) -> int:
        return len(b"MSG %b 1 %d\r\n\r\n" % (subject(topic), len(body))) + len(body)


@dataclass(frozen=True)
class JetStream(Nats):
    """The NATS protocol with a stream that stores what is published beneath ``bench/``, and says so in its answer."""

    answer = b"MSG _INBOX"
    accepted = b'"seq":'
    inbox = b"_INBOX.ANSWER"

    def publishing(self, connection: int) -> Dialogue:
        stream = b'{"name":"bench","subjects":["bench.>"],"storage":"file"}'
        inbox = b"_INBOX.%d" % connection
        create = b"PUB $JS.API.STREAM.CREATE.bench %b %d\r\n%b\r\n" % (inbox, len(stream), stream)
        return [(b'CONNECT {"verbose":false}\r\nSUB %b 1\r\n%b' % (inbox, create), b"stream_create_response")]

    def publish(self, topic: str, body: bytes, number: int) -> bytes:
        return b"PUB %b %b %d\r\n%b\r\n" % (subject(topic), self.inbox, len(body), body)

    def sent_on(self, connection: int, request: bytearray) -> bytearray:
        return request.replace(self.inbox, b"_INBOX.%d" % connection, 1)


@cache
def token(path: str) -> str:
    """Token for a path of a hub."""
    return make_token(KEY, path)


def uuid(number: int) -> str:
    """UUID of a number, as senders number requests and deliveries."""
    return f"{number:08x}-0000-4000-8000-000000000000"


def handshake(path: str, query: str = "") -> bytes:
    """Request of a websocket handshake."""
    return (
        f"GET {path}{query} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token(path)}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


def client_frame(payload: bytes) -> bytes:
    """Binary frame from a client, masked with zeros."""
    size = len(payload)
    if size < 126:
        head = bytes((0x82, 0x80 | size))
    elif size < 1 << 16:
        head = b"\x82\xfe" + size.to_bytes(2, "big")
    else:
        head = b"\x82\xff" + size.to_bytes(8, "big")
    return head + bytes(4) + payload


def frame_size(payload_size: int) -> int:
    """Size of a frame from a server, which is not masked."""
    return payload_size + (2 if payload_size < 126 else 4 if payload_size < 1 << 16 else 10)


def subject(topic: str) -> bytes:
    """NATS subject of a topic."""
    return topic.replace("/", ".").encode()
