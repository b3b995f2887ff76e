"""Log lines for people, on standard error: sentences, and a row of columns for each attempt to handle a message.

Publishers and targets choose much of what they say, so characters that would control the terminal are escaped.
"""

import logging
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

import click

from ..terminal import escaped, one_line
from .display import duration_of, size_of

if TYPE_CHECKING:
    from ..delivery.outcome import Attempt

_GAP = "  "
_NONE = "-"
# As wide as most event types and topics. A longer one takes its room in its own line only.
_MAX_WIDTH = 32
_MAX_EVENT = 80


def log_to_stderr(*, quiet: bool = False) -> None:
    """Log readable lines to standard error, in place of other handlers; with `quiet`, only warnings and errors."""
    handler = _ErrorHandler()
    handler.setFormatter(_LineFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("hookbot").setLevel(logging.WARNING if quiet else logging.INFO)


class _ErrorHandler(logging.StreamHandler[TextIO]):
    """Handler for the standard error of the moment, which may be replaced."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


class _LineFormatter(logging.Formatter):
    """Formatter for lines of time of day and message, or the columns of an attempt.

    On a terminal without NO_COLOR, warnings and errors are yellow, and the columns have colours of their own.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(message)s", "%H:%M:%S")
        self._colours = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        self._columns = _AttemptColumns()

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name in the library
        record.message = one_line(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name in the library
        return escaped(super().formatException(ei))

    def format(self, record: logging.LogRecord) -> str:
        if attempt := vars(record).get("attempt"):
            line = _GAP.join([self.formatTime(record, self.datefmt), *self._columns.of(attempt)])
        else:
            line = super().format(record)
            if record.levelno >= logging.WARNING:
                line = click.style(line, fg="yellow")
        line = line if self._colours else click.unstyle(line)
        # A progress bar may occupy the line: erase it.
        return f"\r\x1b[K{line}" if sys.stderr.isatty() else line


class _AttemptColumns:
    """Columns for attempts, each as wide as the widest value so far, up to a limit."""

    def __init__(self) -> None:
        self._widths = [0] * 6

    def of(self, attempt: "Attempt") -> list[str]:
        """Event type, topic, result, time, size and id, with ANSI colours; then in words what these do not say."""
        values = [" ".join(one_line(value).split()) or _NONE for value in _values(attempt)]
        lengths = [min(len(value), _MAX_WIDTH) for value in values]
        self._widths = list(map(max, self._widths, lengths))
        event, topic, result, time, size, id = (
            value.rjust(width) if index in (3, 4) else value.ljust(width)
            for index, (value, width) in enumerate(zip(values, self._widths, strict=True))
        )
        return [
            click.style(event, fg="yellow"),
            click.style(topic, fg="cyan", bold=True),
            click.style(result, fg="red" if attempt.has_failed else "green"),
            time,
            size,
            *_end(attempt, id),
        ]


def _values(attempt: "Attempt") -> list[str]:
    # Not at the start of every command: it takes msgspec with it.
    from ..protocol.event_type import event_type

    message, outcome = attempt.message, attempt.outcome
    event = (event_type(message) or "")[:_MAX_EVENT]
    time = duration_of(outcome.seconds) if outcome.seconds else ""
    return [event, message.topic, outcome.result, time, size_of(len(message.body)), message.id]


def _end(attempt: "Attempt", id: str) -> list[str]:
    """The id, and words for what has failed, or has no result but words, and for what comes of it."""
    line = attempt.outcome.line if attempt.has_failed or not attempt.outcome.result else ""
    words = "; ".join(filter(None, (line, attempt.consequence)))
    if not words:
        return [click.style(id.rstrip(), dim=True)]
    colour = "red" if attempt.kept_in else "yellow" if attempt.has_failed else None
    return [click.style(id, dim=True), click.style(one_line(words), fg=colour)]
