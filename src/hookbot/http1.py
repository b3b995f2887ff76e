"""HTTP/1.1 (RFC 9112) for the door: request heads and chunked bodies are parsed by httptools, answers written here.

A body's end is found before the parser sees what follows it, so that a connection can be handed
on, with all that was read, at the beginning of any request.
"""

import re
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import time

import httptools

from .answers import Answer
from .errors import HeadersTooLarge, HookbotError, Refused
from .intake import Body

MAX_HEAD_BYTES = 32 << 10
MAX_CHUNK_LINE = 4 << 10

_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")


class BadRequest(Refused):
    """What came is not HTTP/1.1; the connection ends after the answer."""


def head_end(buffer: bytearray) -> int:
    """Where the head of the request in the buffer ends; 0 if there is more to come. Raises `Refused`."""
    end = buffer.find(b"\r\n\r\n") + 4
    head = buffer[:end] if end > 3 else buffer
    if _BARE_LINE_FEED.search(head):
        raise BadRequest("a line of a request ends with CR LF")
    if len(head) > MAX_HEAD_BYTES:
        raise HeadersTooLarge(f"the request line and the headers have at most {MAX_HEAD_BYTES} bytes together")
    return end if end > 3 else 0


class Head:
    """The request line and the headers of one request, and what they say of its body."""

    def __init__(self, data: bytes) -> None:
        """Parse a whole head; raises `BadRequest`."""
        self.target = b""
        self.chunks: Chunks | None = None
        self.body: Body | None = None
        """Where the parser puts what it finds in a chunked body."""
        self._fields: list[tuple[str, str]] = []
        parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError as error:
            raise BadRequest(f"not an HTTP/1.1 request: {error}") from None
        self.method: str = parser.get_method().decode("ascii")
        self.version: str = parser.get_http_version()
        self.keep_alive: bool = parser.should_keep_alive()
        self.upgrade: bool = parser.should_upgrade()
        self.headers = tuple(self._fields)
        self._check()
        if self._values("transfer-encoding"):
            self.chunks = Chunks(parser)

    @property
    def length(self) -> int:
        """The declared length of the body; 0 where none is declared."""
        return int("".join(self._values("content-length"))[:18] or 0)

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for ``100 Continue`` before it sends the body (RFC 9110, section 10.1.1)."""
        return self.version == "1.1" and [value.lower() for value in self._values("expect")] == ["100-continue"]

    def on_url(self, url: bytes) -> None:
        """Called by the parser, with the target or a part of it."""
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        self._fields.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_body(self, chunk: bytes) -> None:
        """Called by the parser, with what a chunk holds."""
        if self.body:
            self.body.write(chunk)

    def _values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]

    def _check(self) -> None:
        """What the parser lets pass."""
        if self.version not in ("1.0", "1.1"):
            raise BadRequest(f"this hub speaks HTTP/1.1, not {self.version[:10]!r}")
        hosts = len(self._values("host"))
        if hosts > 1 or (hosts == 0 and self.version == "1.1"):
            raise BadRequest("a request has one Host header")
        codings = self._values("transfer-encoding")
        if codings and (codings != ["chunked"] or self.version == "1.0"):
            raise BadRequest("the only transfer coding of a request is chunked")


class Chunks:
    """A chunked body (RFC 9112, section 7.1), fed to the parser up to its end and no further."""

    def __init__(self, parser: httptools.HttpRequestParser) -> None:
        self._parser = parser
        self._left = 0
        self._in_trailer = False
        self._trailer_bytes = 0

    def take(self, buffer: bytearray) -> bool:
        """Move what belongs to the body from the buffer to the parser; whether that was all. Raises `Refused`."""
        while buffer:
            size = min(self._left, len(buffer)) if self._left else self._line_size(buffer)
            if not size:
                return False
            data = bytes(buffer[:size])
            del buffer[:size]
            self._feed(data)
            if self._left:
                self._left -= size
            elif self._in_trailer:
                if data == b"\r\n":
                    return True
            else:
                chunk = int(data.partition(b";")[0], 16)
                self._in_trailer = chunk == 0
                self._left = chunk + 2 if chunk else 0
        return False

    def _line_size(self, buffer: bytearray) -> int:
        size = buffer.find(b"\r\n") + 2
        self._trailer_bytes += size if self._in_trailer else 0
        if max(size, self._trailer_bytes) > MAX_CHUNK_LINE or (size < 2 and len(buffer) > MAX_CHUNK_LINE):
            raise BadRequest(f"the lines between chunks have at most {MAX_CHUNK_LINE} bytes")
        return size if size > 1 else 0

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, HookbotError):
                raise error.__context__ from None
            raise
        except httptools.HttpParserError as error:
            raise BadRequest(f"not a chunked body: {error}") from None


def encode_answer(answer: Answer, *, version: str, close: bool) -> bytes:
    """The answer's bytes, with what HTTP wants to be said besides."""
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    lines += [f"Date: {_date(int(time()))}", f"Content-Length: {len(answer.body)}"]
    if close:
        lines.append("Connection: close")
    elif version == "1.0":
        lines.append("Connection: keep-alive")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + answer.body


@lru_cache(maxsize=1)
def _date(now_s: int) -> str:
    return formatdate(now_s, usegmt=True)
