"""Backlogs: how far readers of the log are behind, each in messages of its own."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from operator import itemgetter
from typing import NamedTuple

import trio

from ..errors import Damaged, Unavailable
from ..protocol.topics import TopicFilter
from .broker import Broker

# Whoever has more to catch up with is far behind, however far.
COUNT_LIMIT = 10_000
# Each count takes some milliseconds of a thread, and there may be thousands of readers.
COUNTING_S = 0.5

Reader = tuple[TopicFilter, int]
"""Topics that a reader wants, and the position after which it goes on."""


class Backlog(NamedTuple):
    """Messages that wait for a reader. None is for what was not counted."""

    behind: int | None
    behind_more: bool
    """True if there may be more than were counted."""
    behind_s: float | None
    """Age of the oldest in seconds; 0 if none was counted."""


NOTHING = Backlog(0, False, 0.0)
UNCOUNTED = Backlog(None, False, None)


async def measure(broker: Broker, readers: Iterable[Reader]) -> Mapping[Reader, Backlog]:
    """Backlog of each reader. Those furthest behind come first: some may not be counted in time, or cannot be read."""
    await trio.lowlevel.checkpoint()
    head, now_us = broker.head, broker.clock()
    backlogs = {reader: NOTHING if reader[1] >= head else UNCOUNTED for reader in readers}
    before_head = [reader for reader, backlog in backlogs.items() if backlog is UNCOUNTED]
    with trio.move_on_after(COUNTING_S), suppress(Unavailable):
        for wanted, position in sorted(before_head, key=itemgetter(1)):
            with suppress(Damaged):
                found = await broker.log.behind(wanted, after=position, limit=COUNT_LIMIT)
                age_us = max(0, now_us - found.oldest_us) if found.number else 0
                backlogs[wanted, position] = Backlog(found.number, found.more, age_us / 1_000_000)
    return backlogs
