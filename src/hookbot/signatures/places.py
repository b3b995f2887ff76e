"""Places in a request, where signatures, times and ids are found.

A place is written as

    X-Signature             a header, in any case
    X-Signature-*           every header whose name begins with this
    Stripe-Signature[t]     the item ``t=`` of a header with items separated by commas or semicolons
    json:event.id           a string or an integer in the JSON body
    query:token             a parameter of the query
    webhook-id|svix-id      the first of these that occurs
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from ..errors import ConfigError

_PLACE = re.compile(r"(?:(json|query):)?([^\s\[\]*|:]+)(\*|\[\w+\])?")


@lru_cache
def parse_place(place: str) -> tuple[str, str, str]:
    """Kind (empty for a header), name and suffix of a single place; raises `ConfigError` if it is malformed."""
    match = _PLACE.fullmatch(place)
    if match is None or (match[1] and match[3]):
        raise ConfigError(f"not a place in a request, such as X-Signature or json:event.id: {place!r}")
    return match[1] or "", match[2], match[3] or ""


@lru_cache
def alternatives(place: str) -> Sequence[tuple[str, str, str]]:
    """Each of alternative places, as from `parse_place`; raises `ConfigError` as well."""
    return [parse_place(alternative) for alternative in place.split("|")]


@lru_cache
def is_in_head(place: str) -> bool:
    """True if a place, with all its alternatives, is in the headers or the query."""
    return all(kind != "json" for kind, *_ in alternatives(place))


def is_in_body(place: str) -> bool:
    """True if a place, with all its alternatives, is in the body."""
    return all(kind == "json" for kind, *_ in alternatives(place))


def describe(place: str) -> str:
    """A place, or the first of alternative places, in words for error messages."""
    kind, name, suffix = parse_place(place.partition("|")[0])
    if kind == "json":
        return f"{name!r} in the JSON body"
    if kind == "query":
        return f"the query parameter {name!r}"
    return f"{suffix[1:-1]!r} in the header {name}" if suffix.startswith("[") else f"the header {name}{suffix}"
