"""HTTP/1.1 (RFC 9112) for the fast path, on bytes: httptools reads requests, and responses are written here.

What two readers could understand in two ways is refused: that is how requests are smuggled (section 11.2). Bodies
are taken from a buffer up to their end and no further, so that a connection can be handed over, with all that was
read, at the beginning of any request.
"""

import re
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from http.client import responses
from time import time

import httptools

from ..errors import HeadersTooLarge, Refused
from .request import Request
from .response import Response

MAX_HEAD_BYTES = 32 << 10
MAX_LINE_BYTES = 4 << 10
"""Of a line between two chunks, and of all trailers together."""

MAX_LENGTH_DIGITS = 18

HOST = re.compile(r"[A-Za-z0-9._~:\[\]%!$&'()*+,;=-]*")
TARGET = re.compile(rb"(?:(?i:https?)://[^/?#\s]+)?(/[!-~]*)")
"""A request target: path and query, perhaps behind a scheme and a host, as for a proxy (section 3.2.2)."""

_REQUEST_LINE = re.compile(rb"[A-Z]+ " + TARGET.pattern + rb" HTTP/1\.[01]\r\n")

Write = Callable[[bytes], None]


class BadRequest(Refused):
    """What came is not HTTP/1.1; the connection ends after the response."""


def head_end(buffer: bytearray) -> int:
    """The length of the request head in the buffer; 0 if there is more to come. Raises `Refused`."""
    end = buffer.find(b"\r\n\r\n") + 4
    size = end if end > 3 else len(buffer)
    if buffer.count(b"\n", 0, size) != buffer.count(b"\r\n", 0, size):
        raise BadRequest("a line of a request ends with CR LF")
    if size > MAX_HEAD_BYTES:
        raise HeadersTooLarge(f"the request line and the headers have at most {MAX_HEAD_BYTES} bytes together")
    return end if end > 3 else 0


class Head:
    """The request line and the headers of a GET or POST, and what they say of its body and of the connection."""

    __slots__ = ("_parsing", "chunked", "expects_continue", "keep_alive", "length", "request", "version")

    def __init__(self, data: bytes, client: str = "") -> None:
        """Read a whole head; raises `BadRequest`."""
        line = _REQUEST_LINE.match(data)
        if line is None:  # httptools also knows other protocols and versions
            raise BadRequest("a request begins with a method, a path and HTTP/1.1, a space between them")
        self._parsing = parsing = _Parsing()
        parsing.feed(data)
        self.version: str = parsing.parser.get_http_version()
        method: bytes = parsing.parser.get_method()
        self.request = request = Request(method.decode("ascii"), line[1], tuple(parsing.fields), client)
        self._check(request)
        self.chunked = request.sent("transfer-encoding") is not None
        if not self.chunked:
            parsing.let_go()
        self.length = int(request.header("content-length") or 0)
        options = request.tokens("connection")
        self.keep_alive = "close" not in options and (self.version == "1.1" or "keep-alive" in options)
        self.expects_continue = self.version == "1.1" and request.header("expect").lower() == "100-continue"
        """Whether the client waits for ``100 Continue`` before it sends the body (RFC 9110, section 10.1.1)."""

    @property
    def has_body(self) -> bool:
        """Whether anything of a body is to come."""
        return self.chunked or self.length > 0

    def body(self) -> "Counted | Chunked":
        """Finds the end of the body. A chunked one can be had once."""
        return Chunked(self._parsing) if self.chunked else Counted(self.length)

    def _check(self, request: Request) -> None:
        """What httptools lets pass, and two readers could understand in two ways. Repeated headers are joined here."""
        host = request.sent("host")
        if not HOST.fullmatch(host or "") or (host is None and self.version == "1.1"):
            raise BadRequest("a request has one Host header, with a host")
        coding = request.sent("transfer-encoding")
        if coding is not None and (coding.lower() != "chunked" or self.version == "1.0"):
            raise BadRequest("the only transfer coding of a request is chunked")
        if len(request.header("content-length")) > MAX_LENGTH_DIGITS:
            raise BadRequest("a Content-Length is a number that makes sense")


class _Parsing:
    """The findings of httptools in one request, which calls the ``on_`` methods."""

    __slots__ = ("chunks", "complete", "fields", "parser")

    def __init__(self) -> None:
        self.fields: list[tuple[str, str]] = []
        self.chunks: list[bytes] = []
        self.complete = False
        self.parser = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> None:
        """Raises `BadRequest`."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # said of any Upgrade header; whether it is one of ours is seen later
        except httptools.HttpParserError as error:
            raise BadRequest(f"this is not HTTP/1.1: {error}") from None

    def let_go(self) -> None:
        """No more is to come. (The parser holds its callbacks: a circle that would wait for the garbage collector.)"""
        del self.parser

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.decode("latin-1"), value.decode("latin-1").rstrip("\t ")))

    def on_body(self, chunk: bytes) -> None:
        self.chunks.append(chunk)

    def on_message_complete(self) -> None:
        self.complete = True


class Counted:
    """A body whose length was declared; nothing, where none was."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, buffer: bytearray, write: Write) -> bool:
        """Move what is here of the body from the buffer; whether that was all. What `write` raises takes nothing."""
        if self.left:
            here = bytes(buffer[: self.left])
            write(here)
            del buffer[: len(here)]
            self.left -= len(here)
        return not self.left


class Chunked:
    """A chunked body (RFC 9112, section 7.1), fed to the parser up to its end and no further.

    Its extensions and trailers are checked and forgotten.
    """

    __slots__ = ("_left", "_line_bytes", "_parsing")

    def __init__(self, parsing: _Parsing) -> None:
        self._parsing = parsing
        self._left = 0
        """Of the present chunk, with its end of line."""
        self._line_bytes = 0

    def take(self, buffer: bytearray, write: Write) -> bool:
        """As `Counted.take`; raises `BadRequest`, too."""
        while not self._parsing.complete:
            size = min(self._left, len(buffer)) or self._line_size(buffer)
            if not size:
                return False
            data = bytes(buffer[:size])
            self._parsing.feed(data)
            del buffer[:size]
            if self._left:
                self._left -= size
                self._write(write)
            elif self._parsing.complete:
                self._parsing.let_go()
            else:
                self._begin_chunk(data)
        return True

    def _line_size(self, buffer: bytearray) -> int:
        """How long the line at the beginning of the buffer is; 0 if it is not whole yet, or a chunk is awaited."""
        if self._left:
            return 0
        end = buffer.find(b"\n") + 1
        if self._line_bytes + (end or len(buffer)) > MAX_LINE_BYTES:
            raise BadRequest(f"what is between two chunks, or behind the last, has at most {MAX_LINE_BYTES} bytes")
        return end

    def _begin_chunk(self, line: bytes) -> None:
        """Behind the size of a chunk comes the chunk; behind the last one come lines until the parser has enough."""
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
    """The bytes of a response, with the headers that HTTP asks for besides."""
    lines = [f"HTTP/1.1 {response.status} {responses[response.status]}"]
    lines += [f"{name}: {value}" for name, value in response.headers]
    lines += [f"Date: {_date(int(time()))}", f"Content-Length: {len(response.body)}"]
    if close:
        lines.append("Connection: close")
    elif version == "1.0":
        lines.append("Connection: keep-alive")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + response.body


@lru_cache(maxsize=1)
def _date(now_s: int) -> str:
    return formatdate(now_s, usegmt=True)
