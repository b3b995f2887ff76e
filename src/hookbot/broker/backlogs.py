"""Backlogs: how far readers of the log are behind, each in messages of its own."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

import trio

from ..errors import Damaged, Unavailable
from ..log.contract import Behind
from ..protocol.topics import TopicFilter
from .broker import Broker

# Whoever has more to catch up with is far behind, however far.
COUNT_LIMIT = 10_000
# Each count takes some milliseconds of a thread, and there may be thousands of readers.
COUNTING_S = 0.5

Reader = tuple[TopicFilter, int]
"""What a reader wants, and the position after which it goes on."""


class Backlog(NamedTuple):
    """Messages that wait for a reader. None is for what was not counted."""

    behind: int | None = None
    behind_more: bool = False
    """True if there may be more than were counted."""
    behind_s: float | None = None
    """Age of the oldest in seconds; 0 if none was counted."""


async def measure(broker: Broker, readers: Iterable[Reader]) -> Mapping[Reader, Backlog]:
    """Backlog of each reader. Those furthest behind come first: some may not be counted in time, or cannot be read."""
    now_us = broker.clock()
    oldest_first = sorted(set(readers), key=lambda reader: reader[1])
    backlogs = dict.fromkeys(oldest_first, Backlog())
    with trio.move_on_after(COUNTING_S), suppress(Unavailable):
        for wanted, position in oldest_first:
            with suppress(Damaged):
                found = await broker.log.behind(wanted, after=position, limit=COUNT_LIMIT)
                backlogs[wanted, position] = _backlog(found, now_us)
    return backlogs


def _backlog(found: Behind, now_us: int) -> Backlog:
    age_us = max(0, now_us - found.oldest_us) if found.number else 0
    return Backlog(found.number, found.more, age_us / 1_000_000)
