"""Starts of subscriptions: the values of ``?since=`` and ``Last-Event-ID``."""

import re
from dataclasses import dataclass

from ..errors import Refused
from .message import format_id, parse_id, parse_time

ACCEPTED = "an id, a duration (90s, 10m, 2h, 7d), an RFC 3339 time (2026-01-02T03:04:05Z) or 'all'"

DURATION = re.compile(r"([0-9]{1,9})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class AfterId:
    """Start after this message if this log has it.

    With an id from another log, start at the oldest message kept; with one beyond the head, at the head. A gap comes
    first in both cases, and if later messages may have been deleted.
    """

    epoch: str
    position: int

    @property
    def id(self) -> str:
        """The id of the message."""
        return format_id(self.epoch, self.position)


@dataclass(frozen=True, slots=True)
class SinceTime:
    """Start at the first message stored at or after this time, in microseconds since 1970."""

    time_us: int


@dataclass(frozen=True, slots=True)
class FromOldest:
    """Start at the oldest message that the log still has."""


Since = AfterId | SinceTime | FromOldest


def parse_since(text: str, *, now_us: int, name: str = "since") -> Since:
    """The start that a value of ``since`` describes; raises `Refused`, which lists the forms, for any other text.

    `name` is that of the parameter, if it is another one.
    """
    if text == "all":
        return FromOldest()
    if DURATION.fullmatch(text):
        return _since(now_us - parse_duration(text) * 1_000_000)
    for parse in (_after_id, _since_time):
        try:
            return parse(text)
        except ValueError:
            continue
    raise Refused(f"{name} must be {ACCEPTED}, not {text[:80]!r}")


def parse_duration(text: str) -> int:
    """Seconds of a duration such as ``90s``, ``10m``, ``2h`` or ``7d``; raises `ValueError`."""
    match = DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"not a duration such as 90s, 10m, 2h or 7d: {text[:80]!r}")
    return int(match[1]) * _SECONDS[match[2]]


def format_duration(seconds: int) -> str:
    """The shortest text that `parse_duration` reads as these seconds."""
    unit, length = next((unit, length) for unit, length in reversed(_SECONDS.items()) if seconds % length == 0)
    return f"{seconds // length}{unit}"


def _after_id(text: str) -> Since:
    return AfterId(*parse_id(text))


def _since_time(text: str) -> Since:
    # The '+' of an offset arrives as a space if the client did not escape it.
    return _since(parse_time(text.replace(" ", "+")))


def _since(time_us: int) -> SinceTime:
    # A long duration would exceed SQLite's 64-bit integers, and no log is older than 1970.
    return SinceTime(max(time_us, 0))
