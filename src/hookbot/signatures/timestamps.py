"""Timestamps of signatures: their formats, and the bound on their age."""

import re
from datetime import UTC, datetime

from ..errors import BadSignature
from ..protocol.message import parse_time

# Five minutes, as in the libraries of Stripe, Slack and Standard Webhooks.
MAX_AGE_S = 300.0
UNITS = ("s", "ms", "rfc3339")

# Without leading zeros, which could have been the end of what is signed before it.
_DIGITS = re.compile(r"0|[1-9][0-9]{0,14}", re.ASCII)


def parse_timestamp(text: str, unit: str) -> float:
    """Unix seconds of a timestamp in one of `UNITS`; raises `BadSignature` if it is malformed."""
    try:
        if unit == "rfc3339":
            return parse_time(text) / 1e6
        if not _DIGITS.fullmatch(text):
            raise ValueError(text)
        return int(text) / (1000 if unit == "ms" else 1)
    except ValueError:
        raise BadSignature(f"the timestamp is malformed: {text[:40]!r}") from None


def format_timestamp(now: float, unit: str) -> str:
    """Timestamp in one of `UNITS`, as `parse_timestamp` reads it."""
    if unit == "rfc3339":
        return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return str(int(now * (1000 if unit == "ms" else 1)))


def check_fresh(signed_at: float, *, now: float, max_age: float) -> None:
    """Raise `BadSignature` if `signed_at` is more than `max_age` seconds before or after `now`."""
    age = now - signed_at
    if abs(age) > max_age:
        when = f"{age:.0f} seconds ago" if age > 0 else f"{-age:.0f} seconds in the future"
        raise BadSignature(f"the request was signed {when}; the limit is {max_age:g} seconds")
