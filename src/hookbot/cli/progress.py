"""Progress of what a hub does with many messages, and how their number is told."""

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import click

from ..errors import Lost, Unavailable
from .hub_api import Ask


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
            return cls(int(counted["number"]), bool(counted["complete"]), str(counted["until"]))
        except (TypeError, KeyError, ValueError):
            raise Lost("the response is not that of a hub: it has no number of messages") from None

    def __str__(self) -> str:
        return f"{'' if self.complete else 'at least '}{messages(self.number)}"


class Progress:
    """Progress of a request, as the lines of its response tell it: shown on a terminal while they come."""

    def __init__(self, label: str) -> None:
        self._label = label
        self.last: dict[str, Any] = {"done": 0}
        """The last value of each of their fields."""

    def of(self, ask: Ask, method: str, path: str, key: str = "", /, **query: str) -> None:
        """Show the progress of a request. Raises as `Ask.lines`, but not if the response breaks off."""
        with click.progressbar(length=0, label=self._label, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

            def take(line: dict[str, Any]) -> None:
                self.last.update(line)
                bar.length = line.get("of") or line.get("found") or max(bar.length or 0, line["done"])
                bar.update(line["done"] - bar.pos)

            try:
                ask.lines(take, method, path, key, **query)
            except Lost as error:
                self.last["detail"] = str(error)

    def check_done(self, done: str, again: str) -> None:
        """Raise `Unavailable` if it ended before the last line: with what was done, and what to do about it."""
        if self.last.get("type") != "done":
            why = self.last.get("detail", "the response broke off")
            raise Unavailable(f"{done}, and then it ended: {why} ({again})")

    def tell(self, done: str, again: str) -> None:
        """Print what was done, and where to go on if there is more. Raises as `check_done`."""
        self.check_done(done, again)
        click.echo(done)
        if following := self.last.get("next"):
            click.echo(f"There are more: go on with --from {following}", err=True)
