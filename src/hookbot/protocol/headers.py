"""Header fields of requests: which of them can be sent, and which are passed on."""

import re
from collections.abc import Iterable

from ..errors import Refused

HOP_BY_HOP = frozenset(
    {"connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization", "proxy-connection"}
    | {"te", "trailer", "transfer-encoding", "upgrade"}
)
"""Header fields of one connection (RFC 9110, section 7.6.1), and those that each request sets anew."""

# RFC 9110, section 5.6.2, and section 5.5 as h11 relaxes it: values may have control characters, but neither NUL nor
# line breaks. Anything else could smuggle in a header, or a request.
_NAME = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"(?:[^\x00\s](?:(?:[^\x00\s]|[ \t])*[^\x00\s])?)?")


def encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Header fields as bytes, in latin-1 as in a `Message`.

    Raises `Refused` for an invalid one. The error shows only the name: the value may be a secret.
    """
    return [_encoded(name, value) for name, value in headers]


def end_to_end(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Header fields that may be forwarded: neither in `HOP_BY_HOP` nor named by a ``Connection`` header."""
    fields = list(headers)
    named = {
        part.strip().lower() for name, value in fields if name.lower() == "connection" for part in value.split(",")
    }
    return [(name, value) for name, value in fields if name.lower() not in HOP_BY_HOP | named]


def _encoded(name: str, value: str) -> tuple[bytes, bytes]:
    field, content = name.encode(errors="replace"), value.encode("latin-1", "replace")
    if not _NAME.fullmatch(field):
        raise Refused(f"invalid name of a header: {name[:80]!r}")
    if not _VALUE.fullmatch(content) or content.decode("latin-1") != value:
        raise Refused(f"invalid value of the header {name[:80]!r}")
    return field, content
