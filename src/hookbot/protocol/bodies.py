"""Bodies as values: JSON and URL-encoded forms, parsed within a ceiling.

Parsing multiplies: a megabyte of text can become a hundred megabytes of objects, and takes a hundred times as long as
hashing it. What would become too much is found by counting, which costs far less than parsing.
"""

import json
import re
from binascii import a2b_qp
from collections import Counter
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from ..errors import BodyTooLarge

FORM = "application/x-www-form-urlencoded"
"""Content type of a URL-encoded form."""

# All but the characters that separate values; objects are counted as arrays.
_OTHER = bytes(set(range(256)) - set(b"[]{},"))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_DELTAS = bytes.maketrans(b"[]", b"\x01\xff")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Limits on what is parsed: the size of JSON and of a form, and what it contains."""

    json_bytes: int
    form_bytes: int
    """Less than for JSON: percent-escapes take longer to decode, above all broken ones."""
    values: int
    """Number of values in JSON."""
    fields: int
    """Number of fields of a form."""
    depth: int = 100
    """Arrays and objects within one another in JSON. Python's own limit depends on its version and the thread."""


UNVERIFIED = Ceiling(json_bytes=2 << 20, form_bytes=1 << 20, values=10_000, fields=1_000)
"""Ceiling for a body whose sender is not known yet. The largest that has to be parsed to be verified is a message of
AWS SNS: 256 KiB, twice as much with all quotes escaped, and a dozen values."""

UNTRUSTED = Ceiling(json_bytes=4 << 20, form_bytes=1 << 20, values=100_000, fields=1_000)
"""Ceiling for the body of a message that anybody may have published: parsed, it takes at most about 50 MB."""

VERIFIED = Ceiling(json_bytes=1 << 40, form_bytes=1 << 40, values=1_000_000, fields=10_000)
"""Ceiling for a body whose sender is known; its size is limited by ``--max-body``. GitHub's have at most 25 MB."""


class RepeatedKey(ValueError):
    """A key is in one object of a JSON text twice: of its values some readers take the first, others the last."""


def parse_json(body: bytes, ceiling: Ceiling, *, unique: bool = False) -> Any:
    """The value of a JSON text in UTF-8 (RFC 8259, section 8.1); of repeated keys the last, or with `unique` none.

    Raises `BodyTooLarge` beyond the ceiling, and `ValueError` if it is not JSON or nested too deeply.
    """
    if len(body) > ceiling.json_bytes:
        raise BodyTooLarge.than(ceiling.json_bytes)
    check_json(body, ceiling)
    return json.loads(body.decode("utf-8-sig"), object_pairs_hook=unique_keys if unique else None)


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these pairs; raises `RepeatedKey`. For `json.loads`."""
    unique = dict(pairs)
    if len(unique) < len(pairs):
        [(repeated, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise RepeatedKey(f"the body has the key {repeated[:80]!r} twice in one object, so that it has two readings")
    return unique


def parse_form(body: bytes, ceiling: Ceiling) -> list[tuple[str, str]]:
    """Fields of a URL-encoded form, in order.

    Bytes that are not UTF-8 are escaped as by ``surrogateescape``: the signature of a form must not be valid for
    another one. Raises `BodyTooLarge` beyond the ceiling.
    """
    if len(body) > ceiling.form_bytes:
        raise BodyTooLarge.than(ceiling.form_bytes)
    if body.count(b"&") >= ceiling.fields:
        raise BodyTooLarge(f"the form has more than {ceiling.fields} fields")
    pairs = (field.partition(b"=") for field in body.split(b"&") if field)
    return [(_decode(name), _decode(value)) for name, _, value in pairs]


def _decode(text: bytes) -> str:
    """Text of a name or value of a form."""
    # Quoted-printable has the same escapes but for their first character, and a decoder in C, ten times as fast.
    whole = _BROKEN_ESCAPE.sub(b"%25", text.replace(b"+", b" "))
    return a2b_qp(whole.replace(b"=", b"=3D").replace(b"%", b"=")).decode("utf-8", "surrogateescape")


def check_json(body: bytes, ceiling: Ceiling) -> None:
    """Raise as `parse_json` if a JSON text has too many values or is nested too deeply; any other text may pass."""
    opened = body.count(b"[") + body.count(b"{")
    # Enough for nearly every body; strings can contain any number of these characters. Commas are counted only in a
    # body that has room for so many.
    if opened <= ceiling.depth and (len(body) < ceiling.values or opened + body.count(b",") < ceiling.values):
        return
    unescaped = body.replace(rb"\\", b"").replace(rb"\"", b"")
    # A value has two strings at most, one of them its key, and so four quotation marks.
    if unescaped.count(b'"') > 4 * ceiling.values:
        raise _too_many(ceiling)
    outside = b"".join(unescaped.split(b'"')[::2]).translate(_ONE_KIND, _OTHER)
    opened = outside.count(b"[")
    if opened != outside.count(b"]"):
        raise ValueError("not JSON: the brackets are not balanced")
    # Every value but the first follows a comma or an opening bracket. Those of empty brackets count as well.
    if 1 + opened + outside.count(b",") > ceiling.values:
        raise _too_many(ceiling)
    if opened <= ceiling.depth:
        return
    steps = memoryview(outside.replace(b",", b"").translate(_DELTAS)).cast("b")
    if max(accumulate(steps)) > ceiling.depth:
        raise ValueError(f"more than {ceiling.depth} arrays and objects within one another")


def _too_many(ceiling: Ceiling) -> BodyTooLarge:
    return BodyTooLarge(f"the JSON body has more than {ceiling.values} values")
