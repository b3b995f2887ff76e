"""Requests that h11 accepts and the hub refuses, without a network."""

import h11
import pytest

from hookbot.web.asgi.strict_h11 import StrictConnection, path_and_query, wants_websocket

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def read(data: bytes, *, max_head_bytes: int = 1000) -> h11.Request:
    """The request in these bytes."""
    connection = StrictConnection(max_head_bytes)
    connection.receive_data(data)
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    return event


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\nHost: a\n\n", "a line feed without carriage return"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", "a folded header"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", "a control character"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", "is repeated"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", "is repeated"),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", r"not HTTP/1\.1 or 1\.0"),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", r"not HTTP/1\.1 or 1\.0"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "together"),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "not a host"),
        (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", "not a method"),
        (b"GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", "neither a path nor a URL"),
        (HANDSHAKE + b"Content-Length: 3\r\n\r\n", "with a body"),
        (HANDSHAKE + b"Transfer-Encoding: chunked\r\n\r\n", "with a body"),
        (HANDSHAKE + b"Sec-WebSocket-Protocol: \xff\r\n\r\n", "not ASCII"),
        (HANDSHAKE.replace(b": websocket", b": websocket, h2c") + b"\r\n", "not a websocket handshake"),
        (HANDSHAKE.replace(b": 13", b": 12") + b"\r\n", "must be 13"),
        (HANDSHAKE.replace(b"dGhl", b"") + b"\r\n", "16 bytes in base64"),
    ],
)
def test_a_request_that_two_readers_could_understand_in_two_ways_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(h11.RemoteProtocolError, match=reason):
        read(data)


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
def test_a_head_that_is_too_long_is_refused_before_it_is_whole(end: bytes) -> None:
    with pytest.raises(h11.RemoteProtocolError) as refused:
        read(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 1000 + end)
    assert refused.value.error_status_hint == 431


def test_a_plain_request_and_a_handshake_are_read() -> None:
    assert not wants_websocket(read(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n"))
    assert wants_websocket(read(HANDSHAKE + b"\r\n"))
    assert not wants_websocket(read(HANDSHAKE.replace(b"GET", b"POST") + b"Content-Length: 0\r\n\r\n"))


def test_a_request_that_is_not_whole_waits_for_more() -> None:
    connection = StrictConnection(1000)
    connection.receive_data(b"GET / HTTP/1.1\r\n")

    assert connection.next_event() is h11.NEED_DATA


def test_a_body_is_not_checked_as_if_it_were_a_head() -> None:
    connection = StrictConnection(1000)
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n\n\0")
    connection.next_event()

    assert connection.next_event() == h11.Data(data=b"\n\0")


def test_hypercorn_never_sees_a_client_that_waits_for_its_invitation() -> None:
    connection = StrictConnection(1000)
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    connection.next_event()

    assert not connection.they_are_waiting_for_100_continue
    assert connection.client_is_waiting_for_100_continue


@pytest.mark.parametrize("target", [b"/a?b", b"http://hub/a?b", b"HTTPS://hub:1/a?b"])
def test_scheme_and_host_of_a_target_do_not_count(target: bytes) -> None:
    assert path_and_query(target) == b"/a?b"
