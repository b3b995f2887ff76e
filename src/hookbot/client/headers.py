"""Header fields that somebody gave us, as bytes for a request."""

import re
from collections.abc import Iterable

from ..errors import Refused

_NAME = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")  # RFC 9110, section 5.6.2
_VALUE = re.compile(rb"(?:[^\x00\s](?:(?:[^\x00\s]|[ \t])*[^\x00\s])?)?")


def encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Names and values as bytes, latin-1 as in a `Message`; raises `Refused`, with the name only, for what is none."""
    return [_encoded(name, value) for name, value in headers]


def _encoded(name: str, value: str) -> tuple[bytes, bytes]:
    try:
        field = name.encode("ascii"), value.encode("latin-1")
    except UnicodeEncodeError:
        raise Refused(f"not a header: {name[:80]!r}") from None
    if not _NAME.fullmatch(field[0]) or not _VALUE.fullmatch(field[1]):
        raise Refused(f"not a header: {name[:80]!r}")
    return field
