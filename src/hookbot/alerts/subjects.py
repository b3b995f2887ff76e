"""Subjects of alerts, what a look at one has found, and how it is told."""

from dataclasses import dataclass
from typing import Literal, TypedDict

from ..protocol.envelope import encode_json
from ..protocol.message import Draft, format_time
from ..protocol.paths import split_path

ALERTS = "hookbot/alerts/"
"""Beginning of the topics to which the hub publishes alerts."""

AlertKind = Literal["source", "cursor", "group", "router"]
AlertState = Literal["firing", "resolved"]
_HEADERS = (("Content-Type", "application/json"),)


class AlertShown(TypedDict):
    """An alert as its message has it. `since` is when it began, also of one that is resolved."""

    type: str
    kind: AlertKind
    name: str
    state: AlertState
    since: str
    topic: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Subject:
    """Subject of an alert: a source, named by its topic; or a cursor, a group or a router."""

    kind: AlertKind
    name: str
    path: str = ""
    """Path of the subscription, of a cursor or a group."""

    def __str__(self) -> str:
        place = f" at {self.path}" if self.path else ""
        return f"the {self.kind} {self.name}{place}"

    @property
    def key(self) -> str:
        """Name for the log, of no other subject: a topic and a path may contain spaces, a kind and a name may not."""
        return " ".join(filter(None, (self.kind, self.path, self.name)))

    @property
    def topic(self) -> str:
        """Topic that it is about; empty for a router, which may read any."""
        return self.name if self.kind == "source" else split_path(self.path)[1] if self.path else ""

    @property
    def alert_topic(self) -> str:
        """Topic of its alerts."""
        return f"{ALERTS}{self.kind}/{self.name.strip('/')}"

    def firing(self, since_us: int, sentence: str) -> AlertShown:
        """Its alert when it begins."""
        return {
            "type": "alert.firing",
            "kind": self.kind,
            "name": self.name,
            "state": "firing",
            "since": format_time(since_us),
            "topic": self.topic,
            "sentence": sentence,
        }


@dataclass(frozen=True, slots=True)
class Observation:
    """Observation of a subject."""

    wrong: bool | None
    """True if something is wrong with it; None if that cannot be told now: then it stays as it was told."""
    since_us: int
    """Time since which it is as it is; of a source, since which it is silent, if only for a moment."""
    sentence: str
    """Sentence to tell, if it was not told before."""


def resolved(told: AlertShown, sentence: str) -> AlertShown:
    """The end of an alert that was told."""
    return {**told, "type": "alert.resolved", "state": "resolved", "sentence": sentence}


def draft_of(shown: AlertShown) -> Draft:
    """Draft of an alert, for its topic."""
    return Draft(Subject(shown["kind"], shown["name"]).alert_topic, encode_json(shown).encode(), _HEADERS)
