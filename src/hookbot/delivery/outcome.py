"""Outcomes of attempts to handle a message, and what became of the message."""

import json
from contextlib import suppress
from dataclasses import dataclass, field

from ..protocol.message import Headers, Message
from ..protocol.replies import MAX_REPLY_BODY

MAX_KEPT_BODY = MAX_REPLY_BODY
"""Bytes kept of the body of a response: as many as can be handed back."""
UNSENDABLE = "unsendable"
"""Result of a message that cannot be made into a request, however often it is tried."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request that was answered, and its response; of a command, what it has answered."""

    request_headers: Headers = field(repr=False)
    """Header fields as they were sent, without those that may hold a secret of this side."""
    status: int
    headers: Headers = field(repr=False)
    """Header fields of the response, except ``Set-Cookie``."""
    body: bytes = field(repr=False)
    """The first `MAX_KEPT_BODY` bytes of the body as they came, in any ``Content-Encoding``."""
    is_whole: bool
    """True if `body` is the whole body: not longer, not broken off, and not too slow to wait for."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of an attempt, good or bad."""

    line: str
    """The outcome in words, for the log."""
    result: str = ""
    """The outcome in a word, if there is one: the status of a response, or the end of a command."""
    seconds: float = 0.0
    """Time until the response began, or the command ended; 0 if the attempt did not come so far."""
    exchange: Exchange | None = None
    handed_back: bool = False
    """True if the sender of the message gets the response."""


class Failed(Exception):
    """An attempt failed. `retry_after_s` is the minimum delay before the next one, if the target requested one."""

    def __init__(self, outcome: Outcome, *, retry_after_s: float = 0) -> None:
        super().__init__(outcome.line)
        self.outcome = outcome
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that has ended, and what becomes of the message. `str()` is a line for the log."""

    message: Message
    number: int
    """Number of the attempt at this message, from 1."""
    outcome: Outcome
    retry_in_s: float | None = None
    """Seconds until the next attempt, if it failed and there will be one."""
    behind: int = 0
    """Messages that wait until this one is done."""
    kept_in: str = ""
    """Place of the dead letter, if the message was given up."""

    @property
    def has_failed(self) -> bool:
        """True if it failed, whether the message is tried again or was given up."""
        return self.retry_in_s is not None or bool(self.kept_in)

    @property
    def consequence(self) -> str:
        """Words for what becomes of the message, or of the response; "" if it is just done."""
        if self.kept_in:
            return f"given up after {times(self.number)} and kept in {self.kept_in}"
        if self.retry_in_s is None:
            return "handed back to the sender" if self.outcome.handed_back else ""
        waiting = f"; {self.behind} {'waits' if self.behind == 1 else 'wait'} behind it" if self.behind else ""
        return f"trying again in {self.retry_in_s:.1f} s{waiting}"

    def __str__(self) -> str:
        words = "; ".join(filter(None, (self.outcome.line, self.consequence)))
        return f"{self.message.topic} {self.message.id}: {words}"


def exchange_of_output(output: bytes) -> Exchange:
    """Response of a command to the message: what it has written to its standard output."""
    headers = (("Content-Type", _type_of(output)),) if output else ()
    return Exchange((), 200, headers, output[:MAX_KEPT_BODY], len(output) <= MAX_KEPT_BODY)


def times(attempts: int) -> str:
    """Number of attempts in words."""
    return "1 attempt" if attempts == 1 else f"{attempts} attempts"


def _type_of(output: bytes) -> str:
    if output.startswith(b"<?xml"):
        return "text/xml"
    try:
        text = output.decode()
    except UnicodeDecodeError:
        return "application/octet-stream"
    # A number alone is JSON, too, but seldom meant as that.
    with suppress(ValueError, RecursionError):
        if isinstance(json.loads(text), dict | list):
            return "application/json"
    return "text/plain; charset=utf-8"
