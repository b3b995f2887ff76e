"""Requests that h11 accepts and the hub refuses, without a network."""

import h11
import pytest

from hookbot.protocol.http1 import MAX_HEAD_BYTES
from hookbot.web.asgi.strict_h11 import StrictConnection

POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
OK = h11.Response(status_code=200, headers=[("Content-Length", "0")])


def received(data: bytes) -> StrictConnection:
    """A connection with these bytes, whose first request is read."""
    connection = StrictConnection()
    connection.receive_data(data)
    assert isinstance(connection.next_event(), h11.Request)
    return connection


def read_body(connection: StrictConnection) -> bytes:
    """The rest of a body that was received."""
    body = b""
    while isinstance(event := connection.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    return body


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\nHost: a\n\n", "LF alone"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", "not HTTP/1.1"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", "not HTTP/1.1"),
        (POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n", "not HTTP/1.1"),
        (POST + b"Content-Length: 1, 1\r\n\r\n", "not HTTP/1.1"),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", "the request line"),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding"),
        (POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "not HTTP/1.1"),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "Host"),
        (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", "the request line"),
        (b"GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", "the request line"),
        (HANDSHAKE + b"Content-Length: 3\r\n\r\n", "has no body"),
        (HANDSHAKE + b"Transfer-Encoding: chunked\r\n\r\n", "has no body"),
        (HANDSHAKE + b"Sec-WebSocket-Protocol: \xff\r\n\r\n", "must be ASCII"),
        (HANDSHAKE.replace(b": 13", b": 12") + b"\r\n", "must be 13"),
        (HANDSHAKE.replace(b"dGhl", b"") + b"\r\n", "16 bytes in base64"),
    ],
)
def test_a_request_that_two_readers_could_understand_in_two_ways_is_refused(data: bytes, reason: str) -> None:
    connection = StrictConnection()
    connection.receive_data(data)

    with pytest.raises(h11.RemoteProtocolError, match=reason):
        connection.next_event()
    assert reason in str(connection.refusal)


def test_a_body_that_two_readers_could_understand_in_two_ways_is_refused() -> None:
    connection = received(POST + b"Transfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n")
    connection.take_body()

    with pytest.raises(h11.RemoteProtocolError, match="chunk size"):
        connection.next_event()


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
def test_a_head_that_is_too_long_is_refused_before_it_is_whole(end: bytes) -> None:
    connection = StrictConnection()
    connection.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * MAX_HEAD_BYTES + end)

    with pytest.raises(h11.RemoteProtocolError) as refused:
        connection.next_event()
    assert refused.value.error_status_hint == 431


def test_a_plain_request_and_a_handshake_are_read() -> None:
    assert not received(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n").wants_websocket
    assert received(HANDSHAKE + b"\r\n").wants_websocket
    assert not received(HANDSHAKE.replace(b"GET", b"POST") + b"Content-Length: 0\r\n\r\n").wants_websocket
    assert not received(HANDSHAKE.replace(b": websocket", b": websocket, h2c") + b"\r\n").wants_websocket


def test_a_request_that_is_not_whole_waits_for_more() -> None:
    connection = StrictConnection()
    connection.receive_data(b"GET / HTTP/1.1\r\n")

    assert connection.next_event() is h11.NEED_DATA


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 2\r\n\r\n\n\0",
        b"Transfer-Encoding: chunked\r\n\r\n1;a=b\r\n\n\r\n1\r\n\0\r\n0\r\nX-Trailer: 1\r\n\r\n",
        b"Connection: Upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\n\0\r\n0\r\n\r\n",
    ],
)
def test_a_body_is_read_to_its_end_and_a_request_behind_it_waits(body: bytes) -> None:
    connection = received(POST + body + b"GET")
    assert connection.next_event() is h11.PAUSED
    connection.take_body()

    assert read_body(connection) == b"\n\0"
    assert connection.next_event() is h11.PAUSED
    connection.send(OK)
    connection.send(h11.EndOfMessage())
    connection.start_next_cycle()
    assert connection.trailing_data == (b"GET", False)


def test_a_body_that_ends_too_early_is_refused() -> None:
    connection = received(POST + b"Content-Length: 2\r\n\r\na")
    connection.take_body()
    assert connection.next_event() == h11.Data(data=b"a")
    connection.receive_data(b"")

    with pytest.raises(h11.RemoteProtocolError):
        connection.next_event()
    assert str(connection.refusal) == "the request ends before it is complete"


@pytest.mark.parametrize(
    ("body", "state"),
    [
        (b"Content-Length: 2\r\n\r\nab", h11.DONE),
        (b"Content-Length: 2\r\n\r\na", h11.SEND_BODY),
        (b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", h11.DONE),
        (b"Transfer-Encoding: chunked\r\n\r\nx\r\n", h11.ERROR),
    ],
)
def test_a_body_is_skipped_as_far_as_it_has_come(body: bytes, state: object) -> None:
    connection = received(POST + body)

    connection.skip_body()

    assert connection.their_state is state


def test_empty_lines_before_a_request_are_skipped_and_nothing_behind_the_last_one_is_read() -> None:
    connection = received(b"\r\n\r\n" + POST + b"Connection: close\r\n\r\n\r\nGET")

    assert read_body(connection) == b""
    assert connection.next_event() is h11.NEED_DATA
    assert connection.trailing_data == (b"", False)


@pytest.mark.parametrize(
    ("version", "option", "kept"), [("1.0", "keep-alive", True), ("1.0", "x", False), ("1.1", "keep-alive", False)]
)
def test_a_client_of_http_1_0_is_told_that_its_connection_is_kept_if_it_asked(
    version: str, option: str, kept: bool
) -> None:
    connection = received(f"GET / HTTP/{version}\r\nHost: a\r\nConnection: {option}\r\n\r\n".encode())

    assert connection.keeps_1_0_open is kept


def test_hypercorn_never_sees_a_client_that_waits_for_its_invitation() -> None:
    connection = received(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")

    assert not connection.they_are_waiting_for_100_continue
    assert connection.client_is_waiting_for_100_continue


@pytest.mark.parametrize("target", [b"/a?b", b"http://hub/a?b", b"HTTPS://hub:1/a?b"])
def test_scheme_and_host_of_a_target_do_not_count(target: bytes) -> None:
    connection = StrictConnection()
    connection.receive_data(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)

    request = connection.next_event()

    assert isinstance(request, h11.Request)
    assert request.target == b"/a?b"
