"""Header fields that somebody gave us, as bytes for a request."""

import re
from collections.abc import Iterable

from ..errors import Refused

HOP_BY_HOP = frozenset(
    {"connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization", "proxy-connection"}
    | {"te", "trailer", "transfer-encoding", "upgrade"}
)
"""What belongs to one connection, or is set anew for the next (RFC 9110, section 7.6.1)."""

_NAME = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")  # RFC 9110, section 5.6.2
_VALUE = re.compile(rb"(?:[^\x00\s](?:(?:[^\x00\s]|[ \t])*[^\x00\s])?)?")


def encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Names and values as bytes, latin-1 as in a `Message`; raises `Refused`, with the name only, for what is none."""
    return [_encoded(name, value) for name, value in headers]


def end_to_end(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """What passes from one connection to the next: all but `HOP_BY_HOP`, and what a ``Connection`` header names."""
    fields = list(headers)
    named = {
        part.strip().lower() for name, value in fields if name.lower() == "connection" for part in value.split(",")
    }
    return [(name, value) for name, value in fields if name.lower() not in HOP_BY_HOP | named]


def _encoded(name: str, value: str) -> tuple[bytes, bytes]:
    try:
        field = name.encode("ascii"), value.encode("latin-1")
    except UnicodeEncodeError:
        raise Refused(f"not a header: {name[:80]!r}") from None
    if not _NAME.fullmatch(field[0]) or not _VALUE.fullmatch(field[1]):
        raise Refused(f"not a header: {name[:80]!r}")
    return field
