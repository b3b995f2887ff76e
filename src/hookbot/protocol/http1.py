"""HTTP/1.1 (RFC 9112) on bytes: httptools reads requests for the fast path and the app; the fast path's responses.

A request that two parsers could read differently is rejected, because request smuggling (section 11.2) exploits such
differences. A body is taken from the buffer up to its end and no further, so that a connection can be handed over to
the app between any two requests, together with the bytes already read of the next ones.
"""

import re
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import time

import httptools

from ..errors import HeadersTooLarge, Refused
from .fields import MAX_LENGTH_DIGITS, Fields, join_fields, read_plain
from .message import Duplicate, Headers, Message, format_id
from .request import Request
from .response import UNFRAMED, Response, stored_response

# About as much as nginx accepts by default (four buffers of 8 KiB).
MAX_HEAD_BYTES = 32 << 10
# Limit on the size line of a chunk, and on the last one with all trailers. No known client sends that much.
MAX_LINE_BYTES = 4 << 10
# So many tiny chunks take a fraction of a millisecond to parse.
CHUNKS_AT_ONCE = 64
# Any number of 15 hexadecimal digits fits into 64 bits, as one of `MAX_LENGTH_DIGITS` does.
MAX_SIZE_DIGITS = 15

HOST = re.compile(r"[A-Za-z0-9._~:\[\]%!$&'()*+,;=-]*")
TARGET = re.compile(rb"(?:(?i:https?)://[^/?#\s]+)?(/[!-~]*)")
"""A request target: path and query, optionally after scheme and host, as a proxy receives it (section 3.2.2)."""

_REQUEST_LINE = re.compile(rb"([A-Z][A-Z-]*) " + TARGET.pattern + rb" HTTP/(1\.[01])\r\n")
# What httptools is shown instead: it knows only some methods, and would read CONNECT in its own way.
_SHOWN_LINE = b"POST / HTTP/1.1\r\n"

_EMPTY_LINES = re.compile(rb"(?:\r\n)*")
_LONG_SIZE = re.compile(rb"[0-9A-Fa-f]{%d}" % (MAX_SIZE_DIGITS + 1))

# All ids have the same length.
_ANY_ID = format_id("anylog--", 0)
_REASONS = {status.value: status.phrase for status in HTTPStatus}

Write = Callable[[bytes], None]


class BadRequest(Refused):
    """Malformed or ambiguous HTTP/1.1; the connection is closed after the response."""


def skip_empty_lines(buffer: bytearray) -> None:
    """Drop the empty lines before a request: old clients send one after a body (section 2.2)."""
    if buffer.startswith(b"\r"):
        empty = _EMPTY_LINES.match(buffer)
        end = empty.end() if empty else 0
        # The match refers to the buffer, which could not be resized.
        del empty
        del buffer[:end]


def head_end(buffer: bytearray) -> int:
    """Length of the request head at the start of the buffer; 0 if it is incomplete.

    Raises `HeadersTooLarge`, and for an incomplete one that is malformed `BadRequest`.
    """
    end = buffer.find(b"\r\n\r\n") + 4
    if (end if end > 3 else len(buffer)) > MAX_HEAD_BYTES:
        raise HeadersTooLarge(f"request line and headers are longer than {MAX_HEAD_BYTES} bytes together")
    if end > 3:
        return end
    # At once, because another client may never send an empty line that ends with CR LF.
    _check_line_ends(buffer)
    # At once, because another protocol may never send an empty line. A CR may be half of one before the request.
    if buffer and buffer != b"\r" and not buffer[:1].isupper():
        raise BadRequest("the request does not begin with a method in capital letters")
    return 0


class Head:
    """Head of a request: request line and headers, parsed and checked."""

    __slots__ = ("chunked", "expects_continue", "keep_alive", "length", "request", "version")

    def __init__(self, data: bytes, client: str = "", secure: bool = False, certificate: bytes | None = None) -> None:
        """Parse a complete head, and nothing after it; raises `BadRequest`. The rest is as for `Request`."""
        line = _REQUEST_LINE.match(data)
        if line is None:
            raise BadRequest("the request line is not '<method> <path> HTTP/1.1'")
        headers, fields = read_plain(data, line.end()) or _parse(data[line.end() :])
        method, target, version = line.groups()
        self.version: str = version.decode()
        self.request = request = Request(method.decode(), target, headers, client, secure, certificate, fields)
        self._check(request)
        self.chunked = "transfer-encoding" in fields
        self.length = int(fields.get("content-length", 0))
        options = request.tokens("connection")
        self.keep_alive = "close" not in options and (self.version == "1.1" or "keep-alive" in options)
        self.expects_continue = self.version == "1.1" and "100-continue" in request.tokens("expect")
        """True if the client waits for ``100 Continue`` before it sends the body (RFC 9110, section 10.1.1)."""

    @property
    def has_body(self) -> bool:
        """True if a body follows the head."""
        return self.chunked or self.length > 0

    def body(self) -> "Counted | Chunked":
        """Reader that finds the end of the body."""
        return Chunked() if self.chunked else Counted(self.length)

    def _check(self, request: Request) -> None:
        """Reject what httptools accepts and other parsers could read differently.

        Repeated headers are joined by now, so that a second Host fails as well.
        """
        host = request.sent("host")
        if not HOST.fullmatch(host or "") or (host is None and self.version == "1.1"):
            raise BadRequest("the Host header is missing, repeated or not a host")
        coding = request.sent("transfer-encoding")
        if coding is not None and (coding.lower() != "chunked" or self.version == "1.0"):
            raise BadRequest(f"HTTP/{self.version} with the Transfer-Encoding {coding[:40]!r} is not supported")
        if len(request.header("content-length")) > MAX_LENGTH_DIGITS:
            raise BadRequest(f"Content-Length has more than {MAX_LENGTH_DIGITS} digits")


def _check_line_ends(data: bytes | bytearray) -> None:
    """Raise `BadRequest` for a bare LF: it is a line end to some parsers and not to others (section 2.2)."""
    if data.count(b"\n") != data.count(b"\r\n"):
        raise BadRequest("a line of the request ends with LF alone, not with CR LF")


def _parse(lines: bytes) -> tuple[Headers, Fields]:
    """The headers of a head, by httptools; raises `BadRequest`."""
    _check_line_ends(lines)
    parsing = _Parsing()
    parsing.feed(_SHOWN_LINE + lines)
    parsing.release()
    headers = tuple(parsing.fields)
    return headers, join_fields(headers)


class _Parsing:
    """One run of httptools over a request: it calls the ``on_`` methods, which collect its results."""

    __slots__ = ("chunks", "complete", "fields", "parser")

    def __init__(self) -> None:
        self.fields: list[tuple[str, str]] = []
        self.chunks: list[bytes] = []
        self.complete = False
        self.parser = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> None:
        """Parse some bytes; raises `BadRequest`."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Raised for any protocol in Upgrade; `websocket.is_handshake` decides later whether it is a handshake.
            pass
        except httptools.HttpParserError as error:
            raise BadRequest(f"the request is not HTTP/1.1: {error}") from None

    def release(self) -> None:
        """Drop the parser when nothing is left to parse."""
        # It refers back to its callbacks, and would wait with them for the garbage collector.
        del self.parser

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.decode("latin-1"), value.decode("latin-1").rstrip("\t ")))

    def on_body(self, chunk: bytes) -> None:
        self.chunks.append(chunk)

    def on_message_complete(self) -> None:
        self.complete = True


class Counted:
    """Body with a declared length; empty if none was declared."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, buffer: bytearray, write: Write) -> bool:
        """Move the bytes of the body that are in the buffer to `write`; True if the body is complete.

        After an error of `write`, the rest can still be taken with a `write` that discards it.
        """
        if self.left:
            here = bytes(buffer[: self.left])
            write(here)
            del buffer[: len(here)]
            self.left -= len(here)
        return not self.left


class Chunked:
    """Chunked body (RFC 9112, section 7.1), fed to a parser up to its end and no further.

    Chunk extensions and trailers are checked and discarded. The parser is not that of the head, which takes a request
    with Upgrade as complete and would read no body.
    """

    __slots__ = ("_left", "_line_bytes", "_parsing")

    def __init__(self) -> None:
        self._parsing = _Parsing()
        self._parsing.feed(_SHOWN_LINE + b"Transfer-Encoding: chunked\r\n\r\n")
        self._left = 0
        """Bytes left of the current chunk, its CR LF included."""
        self._line_bytes = 0
        """Bytes of trailers so far, counted from the size line of the last chunk; 0 before it."""

    def take(self, buffer: bytearray, write: Write) -> bool:
        """As `Counted.take`, but at most about `CHUNKS_AT_ONCE`: after that, take again.

        Raises `BadRequest` if the chunks are malformed or a line is too long.
        """
        parts = 0
        while not self._parsing.complete and parts < CHUNKS_AT_ONCE:
            size = min(self._left, len(buffer)) or self._line_size(buffer)
            if not size:
                break
            data = bytes(buffer[:size])
            self._parsing.feed(data)
            del buffer[:size]
            if self._left:
                self._left -= size
                self._write(write)
                parts += 1
            elif self._parsing.complete:
                self._parsing.release()
            else:
                self._begin_chunk(data)
        return self._parsing.complete

    def _line_size(self, buffer: bytearray) -> int:
        """Length of the line at the start of the buffer; 0 if it is incomplete, or the rest of a chunk comes first.

        Raises `BadRequest` if the line, all trailers together, or the size of a chunk are too long.
        """
        if self._left:
            return 0
        end = buffer.find(b"\n") + 1
        if self._line_bytes + (end or len(buffer)) > MAX_LINE_BYTES:
            raise BadRequest(f"a chunk extension or the trailers are longer than {MAX_LINE_BYTES} bytes")
        if not self._line_bytes and _LONG_SIZE.match(buffer):
            raise BadRequest(f"the size of a chunk has more than {MAX_SIZE_DIGITS} digits")
        return end

    def _begin_chunk(self, line: bytes) -> None:
        """Note the size of the next chunk; after the last one, which has size 0, count the trailers instead."""
        if self._line_bytes:
            self._line_bytes += len(line)
            return
        size = int(line.partition(b";")[0], 16)
        self._left = size + 2 if size else 0
        self._line_bytes = 0 if size else len(line)

    def _write(self, write: Write) -> None:
        chunks, self._parsing.chunks = self._parsing.chunks, []
        for chunk in chunks:
            write(chunk)


def encode_response(response: Response, *, version: str, close: bool) -> bytes:
    """The bytes of a response, with ``Date``, ``Content-Length`` and, where needed, ``Connection`` added.

    `version` is that of the request. `close`: the connection is closed after the response.
    """
    options = "close" if close else "keep-alive" if version == "1.0" else ""
    # A listener may answer with a status that no standard has.
    lines = [f"HTTP/1.1 {response.status} {_REASONS.get(response.status, '')}"]
    lines += [*(f"{name}: {value}" for name, value in response.headers), f"Date: {_date(int(time()))}"]
    lines += [f"Content-Length: {len(response.body)}"] if response.status not in UNFRAMED else []
    lines += [f"Connection: {options}"] if options else []
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + response.body


def encode_stored(outcome: Message | Duplicate, *, json: bool, version: str, close: bool) -> bytes:
    """The bytes of the response to a publish that is stored or a duplicate, as from `encode_response`."""
    around_id = _around_id(isinstance(outcome, Duplicate), json, version, close, int(time()))
    return outcome.id.encode().join(around_id)


# Everything but the id is the same for all of a second.
@lru_cache(maxsize=16)
def _around_id(duplicate: bool, json: bool, version: str, close: bool, now_s: int) -> list[bytes]:
    response = stored_response(Duplicate(_ANY_ID) if duplicate else Message("", id=_ANY_ID), json=json)
    return encode_response(response, version=version, close=close).split(_ANY_ID.encode())


# The text of the date takes longer than the rest of a response.
@lru_cache(maxsize=1)
def _date(now_s: int) -> str:
    return formatdate(now_s, usegmt=True)
