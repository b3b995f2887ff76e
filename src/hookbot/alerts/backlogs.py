"""Backlogs: a cursor, a group or a router for which too many messages have been waiting for too long."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ..broker.backlogs import Reader
from ..broker.broker import Broker
from ..broker.consumers import Consumers
from ..log.duties import OF_ROUTER
from ..protocol.message import format_time
from ..protocol.topics import EVERYTHING
from .subjects import Observation, Subject

logger = logging.getLogger(__package__)

FindReader = Callable[[], Awaitable[Reader | None]]
"""Function that returns what is read, and how far; None if nobody does. Raises `Unavailable`."""


@dataclass(frozen=True, slots=True)
class BacklogRule:
    """Rule for a reader: the number of waiting messages, and the time after which its operator is told."""

    subject: Subject
    behind: int
    for_s: int


class BacklogWatch:
    """Watch of a reader. It counts only as far as the rule asks, and what it has counted once not again."""

    def __init__(self, broker: Broker, rule: BacklogRule, find: FindReader) -> None:
        self.subject = rule.subject
        self.rule = rule
        self.mark = None
        """Its mark while it is not behind: there is nothing to know from before."""
        self._broker = broker
        self._find = find
        self._began: tuple[float, int] | None = None
        """First time that it was seen too far behind, on the monotonic clock and as a time; None while it is not."""
        self._position = self._counted_to = self._counted = 0
        self._missing = False

    async def look(self) -> Observation:
        """Look how far it is behind. Raises `Unavailable`."""
        reader = await self._find()
        if reader is None and not self._missing:
            logger.warning("an alert waits for %s, which does not exist yet", self.subject)
        self._missing = reader is None
        clock = self._broker.clock
        if reader is None or not await self._is_behind(reader):
            self._began = None
            return Observation(False, clock(), f"{self.subject} is no longer behind")
        began_s, since_us = self._began = self._began or (clock.monotonic_s, clock())
        since = f"{format_time(since_us)[:19]}Z"
        sentence = f"{self.subject} is behind: {self.rule.behind} messages or more have been waiting since {since}"
        # Of one that was behind before a restart, it is not known yet whether that has lasted.
        wrong = True if clock.monotonic_s - began_s >= self.rule.for_s else None
        return Observation(wrong, since_us, sentence)

    async def _is_behind(self, reader: Reader) -> bool:
        """True if as many messages as the rule names wait; counts on from where the last look has ended."""
        wanted, position = reader
        if position != self._position or self._counted_to < position:
            self._position, self._counted_to, self._counted = position, position, 0
        while self._counted < self.rule.behind:
            left = self.rule.behind - self._counted
            found = await self._broker.log.behind(wanted, after=self._counted_to, limit=left)
            # The last range is counted again at the next look, with what has come meanwhile.
            if not found.more and found.number < left:
                return False
            self._counted += found.number
            self._counted_to = found.end
        return True


def finder(broker: Broker, consumers: Consumers, subject: Subject) -> FindReader:
    """Function that finds the reader which a subject names."""

    async def find_router() -> Reader | None:
        # Which topics it reads, only the hub knows that runs it; it moves on when nothing waits for it.
        name = OF_ROUTER + subject.name
        found = (cursor.position for cursor in await broker.log.cursors(name) if cursor.name == name)
        position = next(found, None)
        return None if position is None else (EVERYTHING, position)

    async def find_consumer() -> Reader | None:
        assert subject.kind in ("cursor", "group")
        return await consumers.reader(subject.kind, subject.path, subject.name)

    return find_router if subject.kind == "router" else find_consumer
