"""Header fields in the plain form in which nearly all clients write them, read in one pass over the head.

Only what httptools reads in the same way is read here, whatever the order of the lines: it gets every other head.
"""

import re
from functools import lru_cache

from .message import Headers

Fields = dict[str, str]
"""Values of headers by lower-case name; those of a repeated name are joined by ``, ``."""

# Any number of 18 decimal digits fits into 64 bits; a proxy whose integers overflow would read another length.
MAX_LENGTH_DIGITS = 18

# Everything else, such as a tab, a byte of no known charset or half a line end, is for httptools to judge.
_PRINTABLE = bytes(range(0x20, 0x7F))
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def read_plain(data: bytes, start: int) -> tuple[Headers, Fields] | None:
    """The headers of a whole head, of which the first line ends at `start`; None if they are not all plain.

    Of the framing of the body, only a ``Content-Length`` of digits is plain.
    """
    data = data[start:-4]
    lines = data.decode("latin-1").split("\r\n") if data else []
    if len(data.translate(None, _PRINTABLE)) != 2 * max(len(lines) - 1, 0):
        return None
    try:
        headers = tuple([(name, value.strip(" ")) for name, value in [line.split(":", 1) for line in lines]])
        fields = {_lower(name): value for name, value in headers}
    except ValueError:
        return None
    if len(fields) < len(headers):
        fields = join_fields(headers)
    if "transfer-encoding" in fields or not is_length(fields.get("content-length", "0")):
        return None
    return headers, fields


def is_plain(value: str) -> bool:
    """True if all characters of a header's value are those of a plain one."""
    return value.isascii() and value.isprintable()


def is_length(value: str) -> bool:
    """True for a ``Content-Length`` that every reader takes for the same number, given a plain value."""
    return value.isdigit() and len(value) <= MAX_LENGTH_DIGITS


def join_fields(headers: Headers) -> Fields:
    """Values of headers by lower-case name."""
    fields: Fields = {}
    for original, value in headers:
        name = original.lower()
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


# Senders have few names, and checking one costs more than finding it. Errors are not cached.
@lru_cache(maxsize=1024)
def _lower(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a plain name of a header: {name[:40]!r}")
    return name.lower()
