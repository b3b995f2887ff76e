"""Heads as a client usually sends them: all that decides about a publish is repeated, and only ids and the like differ.

Reading such a head is comparing it with the last one. It recognises only what parsing and access control would read
and admit in the same way.
"""

from typing import NamedTuple

from ...access.admitted import SECRET_HEADERS, AdmittedPublish
from ...protocol.fields import is_length, plain_value
from ...protocol.http1 import Head
from ...protocol.message import Headers

# Heads of real senders are smaller; the limit bounds what an idle connection costs.
MAX_BYTES = 2 << 10

# Headers that decide about a publish with a token, or about its response. All others are only stored.
DECISIVE = frozenset(
    {
        *("host", "authorization", "origin", "x-forwarded-for", "hookbot-hops", "idempotency-key", "accept"),
        *("connection", "upgrade", "expect", "transfer-encoding"),
    }
)
LENGTH = "content-length"


class _Line(NamedTuple):
    """A line that may have another value."""

    start: bytes
    """The name as it is sent, and the colon."""
    name: str
    place: int | None
    """Its place in the stored headers; None if it is a secret, which is not stored."""


class UsualHead:
    """The head of an admitted publish, for those that differ from it only in headers that decide nothing."""

    __slots__ = ("_data", "_lines", "_request_line", "_stored", "_usual", "admitted", "head")

    def __init__(self, data: bytes, head: Head, admitted: AdmittedPublish) -> None:
        self.head = head
        self.admitted = admitted
        self._data = data
        self._request_line = data.partition(b"\r\n")[0]
        self._usual: list[bytes] = []
        """The lines of the head, once it is compared with another one of the same target."""

    @staticmethod
    def suits(data: bytes, head: Head, admitted: AdmittedPublish) -> bool:
        """True if others may be compared with this head."""
        framed = not head.chunked and not head.expects_continue
        return admitted.has_token and admitted.source is None and framed and len(data) <= MAX_BYTES

    def read(self, data: bytes) -> tuple[int, Headers] | None:
        """The length of the body and the headers to store of a head like this one; None for any other head."""
        # A client that publishes to another topic each time pays for nothing else.
        if not data.startswith(self._request_line):
            return None
        lines = data.split(b"\r\n")
        usual = self._usual or self._take_apart()
        if len(lines) != len(usual):
            return None
        length, stored = self.head.length, self._stored.copy()
        for number in [number for number, line in enumerate(lines) if line != usual[number]]:
            line = self._lines[number]
            if line is None or not lines[number].startswith(line.start):
                return None
            value = plain_value(lines[number][len(line.start) :])
            if value is None:
                return None
            if line.name.lower() == LENGTH:
                if not is_length(value):
                    return None
                length = int(value)
            if line.place is not None:
                stored[line.place] = line.name, value
        return length, tuple(stored)

    def _take_apart(self) -> list[bytes]:
        self._usual = self._data.split(b"\r\n")
        self._stored: list[tuple[str, str]] = []
        self._lines: list[_Line | None] = [None]
        for name, value in self.head.request.headers:
            place = None if name.lower() in SECRET_HEADERS else len(self._stored)
            if place is not None:
                self._stored.append((name, value))
            free = name.lower() not in DECISIVE
            self._lines.append(_Line(f"{name}:".encode("latin-1"), name, place) if free else None)
        # The empty lines at the end.
        self._lines += (None, None)
        return self._usual
