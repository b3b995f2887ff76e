"""Counters of a hub, which its metrics show."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from secrets import token_hex

from ..log.deduplication import Outcome
from ..protocol.message import Duplicate, Message


@dataclass(slots=True)
class Counts:
    """What the hub has done since its start, counted where it happens."""

    published: int = 0
    published_bytes: int = 0
    duplicates: int = 0
    delivered: int = 0
    """Messages sent to subscribers, once for each of them."""
    commits: int = 0
    commit_s: float = 0.0
    """Seconds that the log took for its commits, in all."""
    refused: Counter[str] = field(default_factory=Counter)
    """Number of requests refused or failed, by status."""
    id: str = field(default_factory=partial(token_hex, 8))
    """Random, so that counters of another hub, or of another run of this one, are not taken for these."""

    def count_outcomes(self, outcomes: Iterable[Outcome]) -> None:
        """Count what has become of drafts of this hub."""
        for outcome in outcomes:
            if isinstance(outcome, Message):
                self.published += 1
                self.published_bytes += len(outcome.body)
            elif isinstance(outcome, Duplicate):
                self.duplicates += 1

    def count_commit(self, seconds: float) -> None:
        """Count a commit that the log took so long for."""
        self.commits += 1
        self.commit_s += seconds

    def count_response(self, status: int) -> None:
        """Count a response if its status is that of a refusal or an error."""
        if status >= HTTPStatus.BAD_REQUEST:
            self.refused[str(status)] += 1
