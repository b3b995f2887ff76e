"""Observers: one that ignores everything may watch any worker."""

from hookbot.delivery.observer import Observer
from hookbot.delivery.outcome import Attempt, Outcome
from hookbot.protocol.message import Gap, Message


def test_an_observer_may_ignore_everything() -> None:
    message = Message("t")
    observer = Observer()

    observer.missed(Gap("retention", None, "x"))
    observer.taken(message)
    observer.begun(message, 1)
    observer.ended(Attempt(message, 1, Outcome("done")))
    observer.released(message)
