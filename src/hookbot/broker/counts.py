"""Counters of a hub, which its metrics show."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from http import HTTPStatus
from secrets import token_hex
from typing import get_args

from ..errors import HookbotError, Superseded
from ..log.contract import Result
from ..log.deduplication import Outcome
from ..log.histogram import COUNTS, SECONDS, Histogram
from ..protocol.message import GAP_REASONS, Duplicate, Message
from ..protocol.subscribe import Format


@dataclass(slots=True)
class Delivered:
    """Totals of what was sent to subscribers in one format, once for each of them."""

    messages: int = 0
    bytes: int = 0
    """Bytes of their frames."""

    def add(self, messages: int, size: int) -> None:
        """Count messages that were sent, in frames of this size."""
        self.messages += messages
        self.bytes += size


def _by_format() -> Mapping[Format, Delivered]:
    return {format: Delivered() for format in get_args(Format)}


@cache
def _label_of(error: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", error).lower()


@dataclass(slots=True)
class Counts:
    """Counts of what the hub has done since its start, made where it happens."""

    published: int = 0
    published_bytes: int = 0
    duplicates: int = 0
    delivered_in: Mapping[Format, Delivered] = field(default_factory=_by_format)
    commit_times: Histogram = field(default_factory=partial(Histogram, SECONDS))
    """Seconds that the log took for each commit."""
    store_times: Histogram = field(default_factory=partial(Histogram, SECONDS))
    """Seconds from the first publish of each commit to its end, once for each of its publishes."""
    tell_times: Histogram = field(default_factory=partial(Histogram, SECONDS))
    """Seconds from the first publish of a commit until what it stored was sent to a subscriber that waited for it, once
    for each message and subscriber."""
    batch_messages: Histogram = field(default_factory=partial(Histogram, COUNTS))
    """Messages that each commit stored."""
    line_lengths: Histogram = field(default_factory=partial(Histogram, COUNTS))
    """Submissions that waited when each commit began, its own included."""
    gaps: Counter[str] = field(default_factory=partial(Counter, dict.fromkeys(GAP_REASONS, 0)))
    """Number of gaps that subscribers were told of, by reason."""
    refused: Counter[str] = field(default_factory=Counter)
    """Number of requests refused or failed, by status."""
    refused_because: Counter[str] = field(default_factory=Counter)
    """Number of these, by the kind of error."""
    id: str = field(default_factory=partial(token_hex, 8))
    """Random, so that counters of another hub, or of another run of this one, are not taken for these."""

    @property
    def delivered(self) -> int:
        """Messages sent to subscribers, once for each of them."""
        return sum(delivered.messages for delivered in self.delivered_in.values())

    def count_commit(self, results: Sequence[Result], *, waited_s: float, took_s: float) -> None:
        """Count what has become of units of this hub in a commit. The first of them has `waited_s` until its end."""
        published, duplicates = self.published, self.duplicates
        for outcomes in results:
            if not isinstance(outcomes, Superseded):
                self.count_outcomes(outcomes)
        stored = self.published - published
        self.commit_times.add(took_s)
        self.batch_messages.add(stored)
        self.store_times.add(waited_s, stored + self.duplicates - duplicates)

    def count_outcomes(self, outcomes: Iterable[Outcome]) -> None:
        """Count what has become of drafts of this hub."""
        for outcome in outcomes:
            if isinstance(outcome, Message):
                self.published += 1
                self.published_bytes += len(outcome.body)
            elif isinstance(outcome, Duplicate):
                self.duplicates += 1

    def count_refusal(self, error: HookbotError) -> None:
        """Count a request that an error ends, by its class: ``too_many_requests`` for `TooManyRequests`."""
        self.refused_because[_label_of(type(error).__name__)] += 1

    def count_response(self, status: int) -> None:
        """Count a response if its status is that of a refusal or an error."""
        if status >= HTTPStatus.BAD_REQUEST:
            self.refused[str(status)] += 1
