"""Progress of what a hub does with many messages, and how their number is told."""

import signal
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import click

from ..errors import Lost, Unavailable
from ..protocol.message import check_id
from .hub_api import Ask

_COUNTS = ("done", "of", "found", "before", "gone", "copies", "left")
_MAX_COUNT = 1 << 53


def messages(number: int) -> str:
    """Text of a number of messages."""
    return "1 message" if number == 1 else f"{number:,} messages"


class Selected(NamedTuple):
    """Selection of a request for many messages: their number, the least of it unless complete, and where they end."""

    number: int
    complete: bool
    until: str

    @classmethod
    def by(cls, ask: Ask, path: str, selection: Mapping[str, str]) -> "Selected":
        """Selection by a POST. Raises as `Ask`, and `Lost` if the answer is not that of a hub."""
        counted = ask("POST", path, count="only", **selection)
        try:
            return cls(int(counted["number"]), bool(counted["complete"]), check_id(counted["until"]))
        except (TypeError, KeyError, ValueError):
            raise Lost("the response is not that of a hub: it has no number of messages") from None

    def __str__(self) -> str:
        return f"{'' if self.complete else 'at least '}{messages(self.number)}"


class RequestProgress:
    """Progress of a request, as the lines of its response tell it: shown on a terminal while they come."""

    def __init__(self, label: str) -> None:
        self._label = label
        self.last: dict[str, Any] = {"done": 0}
        """The last value of each of their fields."""
        self._interrupted = False

    def of(self, ask: Ask, method: str, path: str, key: str = "", /, **query: str) -> None:
        """Show the progress of a request. Raises as `Ask.lines`, but not if the response breaks off, or at a signal."""
        # As Ctrl-C, at which Trio ends wherever it is.
        signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
        with click.progressbar(length=0, label=self._label, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

            def take(line: dict[str, Any]) -> None:
                try:
                    _check(line)
                except ValueError as error:
                    raise Lost(f"the response is not that of a hub: {error}") from None
                self.last.update(line)
                bar.length = line.get("of") or line.get("found") or max(bar.length or 0, line["done"])
                bar.update(line["done"] - bar.pos)

            try:
                ask.lines(take, method, path, key, **query)
            except Lost as error:
                self.last["detail"] = str(error)
            except KeyboardInterrupt:
                self.last["detail"], self._interrupted = "interrupted", True

    def check_done(self, done: str, again: str) -> None:
        """Raise `Unavailable` if it ended before the last line, with what was done, and what to do about it.

        After Ctrl-C or SIGTERM, that is printed, and `Abort` raised.
        """
        if self.last.get("type") == "done":
            return
        why = self.last.get("detail", "the response broke off")
        told = f"{done}, and then it ended: {why} ({again})"
        if self._interrupted:
            click.echo(told, err=True)
            raise click.Abort
        raise Unavailable(told)

    def tell(self, done: str, again: str) -> None:
        """Print what was done, and where to go on if there is more. Raises as `check_done`."""
        self.check_done(done, again)
        click.echo(done)
        if following := self.last.get("next"):
            click.echo(f"There are more: go on with --from {following}", err=True)


def _check(line: Mapping[str, Any]) -> None:
    """Raise `ValueError` unless the fields of a line that commands look at are what a hub tells."""
    counts = [line[name] for name in _COUNTS if line.get(name) is not None]
    topics = line.get("topics", [])
    if not (
        line.get("done") is not None
        and all(type(count) is int and 0 <= count < _MAX_COUNT for count in counts)
        and isinstance(topics, list)
        and all(isinstance(text, str) for text in [line.get("detail", ""), *topics])
    ):
        raise ValueError("a field of the line has another type")
    for name in ("until", "next"):
        if line.get(name) is not None:
            check_id(line[name])
