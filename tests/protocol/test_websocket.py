"""Websocket handshakes and frames, compared with those of the websockets and wsproto libraries."""

from collections.abc import Generator
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request as TheirRequest
from websockets.server import ServerProtocol
from websockets.streams import StreamReader
from wsproto.frame_protocol import FrameProtocol

from hookbot.errors import Refused
from hookbot.protocol.http1 import Head
from hookbot.protocol.request import Request
from hookbot.protocol.websocket import (
    BINARY,
    CLOSE,
    NO_CODE,
    PING,
    PONG,
    TEXT,
    accept_handshake,
    check_handshake,
    close_frame,
    frame,
    frames,
    is_handshake,
    is_one_control_frame,
)

T = TypeVar("T")

HANDSHAKE = (
    ("Host", "hub"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
)


def request(**changed: str | None) -> Request:
    """A handshake with some headers changed, or left out where the new value is None."""
    changed = {name.replace("_", "-"): value for name, value in changed.items()}
    kept = tuple(pair for pair in HANDSHAKE if pair[0].lower() not in changed)
    return Request("GET", b"/sub/a", (*kept, *((name, value) for name, value in changed.items() if value is not None)))


def head(**changed: str | None) -> Head:
    """The head of that handshake."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in request(**changed).headers)
    return Head(f"GET /sub/a HTTP/1.1\r\n{lines}\r\n".encode("latin-1"))


def parsed(data: bytes) -> list[Frame]:
    """Frames as the `websockets` library reads them from a server."""
    reader = StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    found = []
    while not result_of(reader.at_eof()):
        found.append(result_of(Frame.parse(reader.read_exact, mask=False, max_size=None)))
    return found


def result_of(generator: Generator[None, None, T]) -> T:
    """Result of a parser that needs no more bytes."""
    try:
        next(generator)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("the frame is incomplete")


def test_joined_frames_are_the_same_as_each_by_itself() -> None:
    payloads = [b"", b"a" * 125, b"b" * 126, b"c" * 70_000]

    assert frames(BINARY, payloads) == b"".join(frame(BINARY, payload) for payload in payloads)


@pytest.mark.parametrize("opcode", [TEXT, BINARY, CLOSE, PING, PONG])
def test_a_frame_is_what_the_opcode_says(opcode: int) -> None:
    assert parsed(frame(opcode, b"ab")) == [Frame(Opcode(opcode), b"ab")]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 100_000])
def test_a_payload_of_any_size_comes_back(size: int) -> None:
    payload = bytes(n % 251 for n in range(size))

    assert parsed(frame(BINARY, payload) * 2) == [Frame(Opcode.BINARY, payload)] * 2


def test_a_close_frame_has_a_code_and_a_reason_that_is_cut_between_characters() -> None:
    [cut] = parsed(close_frame(1001, "ä" * 100))

    assert Close.parse(cut.data) == Close(1001, "ä" * 61)


def test_a_close_frame_without_a_code_is_empty() -> None:
    assert close_frame(NO_CODE, "") == b"\x88\0"


def test_a_handshake_is_accepted_as_the_example_of_rfc_6455_says() -> None:
    answer = accept_handshake(request(), None)

    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n" in answer
    assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"Sec-WebSocket-Protocol" not in answer


def test_the_chosen_subprotocol_is_named_and_no_extension_is() -> None:
    answer = accept_handshake(request(sec_websocket_extensions="permessage-deflate"), "hookbot.v1")

    assert b"\r\nSec-WebSocket-Protocol: hookbot.v1\r\n" in answer
    assert b"xtensions" not in answer


def test_the_websockets_library_would_have_accepted_it_just_so() -> None:
    protocol = ServerProtocol()
    protocol.receive_data(
        b"GET /sub/a HTTP/1.1\r\n" + b"".join(b"%b: %b\r\n" % (n.encode(), v.encode()) for n, v in HANDSHAKE) + b"\r\n"
    )
    [received] = protocol.events_received()
    assert isinstance(received, TheirRequest)
    theirs = protocol.accept(received).headers["Sec-WebSocket-Accept"]

    assert f"Sec-WebSocket-Accept: {theirs}\r\n".encode() in accept_handshake(request(), None)


@pytest.mark.parametrize(
    "changed",
    [
        {"sec_websocket_version": "12"},
        {"sec_websocket_version": None},
        {"sec_websocket_key": None},
        {"sec_websocket_key": "c2hvcnQ="},
        {"sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ"},
        {"sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ=="},
        {"sec_websocket_key": "\xff" * 24},
        {"sec_websocket_protocol": "\xff"},
        {"sec_websocket_extensions": "\xff"},
        {"connection": "Upgrade, \xff"},
        {"content_length": "1"},
        {"transfer_encoding": "chunked"},
    ],
)
def test_a_malformed_handshake_is_refused(changed: dict[str, str | None]) -> None:
    with pytest.raises(Refused):
        check_handshake(head(**changed))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, True),
        ({"upgrade": "WebSocket"}, True),
        ({"upgrade": "h2c, websocket"}, False),
        ({"connection": "keep-alive, UPGRADE"}, True),
        ({"upgrade": "websockets"}, False),
        ({"connection": "noupgrade"}, False),
        ({"connection": None}, False),
        ({"upgrade": None}, False),
    ],
)
def test_a_handshake_is_known_by_whole_words(changed: dict[str, str | None], expected: bool) -> None:
    assert is_handshake(request(**changed)) is expected


def test_only_a_get_is_a_handshake() -> None:
    assert not is_handshake(Request("POST", b"/sub/a", HANDSHAKE))


@pytest.mark.parametrize("payload", [b"", b"x", b"x" * 125])
@pytest.mark.parametrize("kind", ["ping", "pong", "close"])
def test_one_control_frame_is_known_only_if_it_is_whole_and_alone(kind: str, payload: bytes) -> None:
    client = FrameProtocol(client=True, extensions=[])
    sent = bytes(client.close(1000, payload[2:].decode()) if kind == "close" else getattr(client, kind)(payload))

    assert is_one_control_frame(sent)
    assert not any(is_one_control_frame(sent[:size]) for size in range(len(sent)))
    assert not is_one_control_frame(sent + b"\x89")


@given(st.sampled_from(b"\x89\x8a"), st.binary(min_size=4, max_size=4), st.binary(max_size=125))
def test_one_control_frame_leaves_nothing_in_a_parser(first: int, mask: bytes, masked: bytes) -> None:
    data = bytes((first, 0x80 | len(masked))) + mask + masked
    assert is_one_control_frame(data)

    parser = FrameProtocol(client=False, extensions=[])
    parser.receive_bytes(data + data)

    assert len(list(parser.received_frames())) == 2
