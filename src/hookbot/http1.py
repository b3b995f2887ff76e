"""HTTP/1.1 (RFC 9112) for the door, on bytes: requests are read strictly, answers are written.

What two readers could understand in two ways is refused: that is how requests are smuggled (section 11.2). Bodies
are taken from a buffer up to their end and no further, so that a connection can be handed on, with all that was
read, at the beginning of any request.
"""

import re
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import time

from .answers import Answer
from .errors import HeadersTooLarge, Refused
from .request import Request

MAX_HEAD_BYTES = 32 << 10
MAX_LINE_BYTES = 4 << 10
"""Of a line between two chunks, and of all trailers together."""

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_TEXT = rb"[\t -~\x80-\xff]*+"
_REQUEST_LINE = re.compile(rb"(GET|POST) (?:(?i:https?)://[^/?#\s]++)?+(/[!-~]*+) HTTP/(1\.[01])\r\n")
_FIELDS = re.compile(rb"(?:%b:%b\r\n)*+\r\n" % (_TOKEN, _TEXT))
_FIELD = re.compile(r"([^:\r]++):[\t ]*+((?:[^\r]*[^\r\t ])?)[\t ]*\r\n")  # of those that are as they should be
_HOST = re.compile(r"[A-Za-z0-9._~:\[\]%!$&'()*+,;=-]*")
_LENGTH = re.compile(r"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;%b)?\r\n" % _TEXT)
_CHUNK_END = re.compile(rb"\r\n")
_TRAILER = re.compile(rb"(?:%b:%b)?\r\n" % (_TOKEN, _TEXT))

Write = Callable[[bytes], None]


class BadRequest(Refused):
    """What came is not HTTP/1.1; the connection ends after the answer."""


def head_end(buffer: bytearray) -> int:
    """Where the head of the request in the buffer ends; 0 if there is more to come. Raises `Refused`."""
    end = buffer.find(b"\r\n\r\n") + 4
    size = end if end > 3 else len(buffer)
    if buffer.count(b"\n", 0, size) != buffer.count(b"\r\n", 0, size):
        raise BadRequest("a line of a request ends with CR LF")
    if size > MAX_HEAD_BYTES:
        raise HeadersTooLarge(f"the request line and the headers have at most {MAX_HEAD_BYTES} bytes together")
    return end if end > 3 else 0


class Head:
    """The request line and the headers of a GET or POST, and what they say of its body and of the connection."""

    __slots__ = ("body", "expects_continue", "keep_alive", "request", "version")

    def __init__(self, data: bytes, client: str = "") -> None:
        """Read a whole head; raises `BadRequest`."""
        line = _REQUEST_LINE.match(data)
        if line is None or not _FIELDS.fullmatch(data, line.end()):
            raise BadRequest("the request line or a header is not as HTTP/1.1 wants it")
        method, target, version = line.groups()
        headers = tuple(_FIELD.findall(data[line.end() :].decode("latin-1")))
        self.request = request = Request(method.decode("ascii"), target, headers, client)
        self.version = version.decode("ascii")
        self.body = self._body(request)
        options = request.tokens("connection")
        self.keep_alive = "close" not in options and (self.version == "1.1" or "keep-alive" in options)
        self.expects_continue = self.version == "1.1" and request.header("expect").lower() == "100-continue"
        """Whether the client waits for ``100 Continue`` before it sends the body (RFC 9110, section 10.1.1)."""

    @property
    def has_body(self) -> bool:
        """Whether anything of a body is to come."""
        return not isinstance(self.body, Counted) or self.body.left > 0

    def _body(self, request: Request) -> "Counted | Chunked":
        """How the end of the body is found; repeated headers are joined by a comma, and so match nothing here."""
        host = request.sent("host")
        if not _HOST.fullmatch(host or "") or (host is None and self.version == "1.1"):
            raise BadRequest("a request has one Host header, with a host")
        coding, length = request.sent("transfer-encoding"), request.sent("content-length")
        if coding is not None:
            if coding.lower() != "chunked" or length is not None or self.version == "1.0":
                raise BadRequest("the only transfer coding of a request is chunked, without a Content-Length")
            return Chunked()
        if length is not None and not _LENGTH.fullmatch(length):
            raise BadRequest("a Content-Length is one number")
        return Counted(int(length or 0))


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
    """A chunked body (RFC 9112, section 7.1); its extensions and trailers are checked and forgotten."""

    __slots__ = ("_chunk", "_line", "_trailer_bytes")

    def __init__(self) -> None:
        self._chunk = Counted(0)
        self._line = _CHUNK_SIZE
        """What the line after the present chunk has to look like."""
        self._trailer_bytes = 0

    def take(self, buffer: bytearray, write: Write) -> bool:
        """As `Counted.take`; raises `BadRequest`, too."""
        while self._chunk.take(buffer, write):
            end = buffer.find(b"\n") + 1
            if (end or len(buffer)) > MAX_LINE_BYTES:
                raise BadRequest(f"a line between two chunks has at most {MAX_LINE_BYTES} bytes")
            if not end:
                return False
            line = bytes(buffer[:end])
            del buffer[:end]
            if self._read(line):
                return True
        return False

    def _read(self, line: bytes) -> bool:
        """Read a line between chunks; whether it was the last."""
        match = self._line.fullmatch(line)
        if match is None:
            raise BadRequest("not a chunked body")
        if self._line is _CHUNK_END:
            self._line = _CHUNK_SIZE
        elif self._line is _CHUNK_SIZE:
            self._chunk = Counted(int(match[1], 16))
            self._line = _CHUNK_END if self._chunk.left else _TRAILER
        else:
            self._trailer_bytes += len(line)
            if self._trailer_bytes > MAX_LINE_BYTES:
                raise BadRequest(f"trailers have at most {MAX_LINE_BYTES} bytes together")
            return line == b"\r\n"
        return False


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
