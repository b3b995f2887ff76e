"""Observers of workers: told what happens to each message, as it happens."""

from ..protocol.message import Gap, Message
from .outcome import Attempt


class Observer:
    """An observer of a `Worker` that ignores everything. What is told must return at once."""

    def missed(self, gap: Gap) -> None:
        """Note that messages are missing."""

    def taken(self, message: Message) -> None:
        """Note that the worker has read a message, which it holds until `released`."""

    def begun(self, message: Message, attempt: int) -> None:
        """Note that an attempt begins; its number counts from 1."""

    def ended(self, attempt: Attempt) -> None:
        """Note how an attempt ended, and what becomes of its message."""

    def released(self, message: Message) -> None:
        """Note that the worker holds a message no more, whatever became of it."""
