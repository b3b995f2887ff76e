"""Silence: a source from which nothing was accepted for longer than its operator expects."""

from ..access.sources import Source
from ..broker.broker import Broker
from ..protocol.message import Message, format_time
from ..protocol.since import format_duration
from ..protocol.topics import TopicFilter
from .marks import Mark
from .subjects import Observation, Subject

# What others publish beneath the topic of a source is passed over in pages of so many.
PAGE_MESSAGES = 100
PAGE_BYTES = 1 << 20


class SilenceWatch:
    """Watch of a source: the log tells when it last spoke, whichever hub has heard it.

    The time for which no hub was up does not count, since nobody could have heard it. For a source that has never
    spoken, the time counts from the first look.
    """

    def __init__(self, broker: Broker, source: Source, mark: Mark | None, away_us: int) -> None:
        """`mark`: what is known from before; `away_us`: the time for which no hub was up then."""
        self.subject = Subject("source", source.topic)
        self.source = source
        """The source; another one after a reload."""
        self._broker = broker
        self._wanted = TopicFilter((source.topic,))
        self._since_us = mark.since_us if mark else 0
        self._away_us = 0 if mark and mark.told else away_us
        self._looked: int | None = None
        """Position up to which the log was looked through; None until a first look has succeeded."""

    @property
    def mark(self) -> Mark:
        """Its mark while it is not silent."""
        return Mark(self._since_us)

    async def look(self) -> Observation:
        """Look whether it has spoken. Raises `Unavailable`."""
        clock, every_s = self._broker.clock, self.source.expect_every_s or 0
        await self._listen()
        # Only a clock that was wrong can have put it into the future.
        self._since_us = min(self._since_us, clock())
        horizon_us = clock.ago_us(every_s * 1_000_000)
        # While the clock is in doubt, nothing is old.
        silent = self._since_us < horizon_us if horizon_us else None
        since, expected = f"{format_time(self._since_us)[:19]}Z", format_duration(every_s)
        why = f"nothing was accepted since {since}, and something is expected every {expected}"
        return Observation(
            silent, self._since_us, f"{self.subject} is silent: {why}" if silent else f"{self.subject} is heard again"
        )

    async def _listen(self) -> None:
        """Find out when it last spoke."""
        after, first = self._looked or 0, self._looked is None
        if first and self._since_us:
            after = await self._broker.log.position_before(self._since_us)
        spoken_us = await self._last_spoken_us(after)
        if spoken_us:
            clock = self._broker.clock
            self.source.activity.recall(clock.monotonic_s - (clock() - spoken_us) / 1e6)
        if first:
            known_us = max(self._since_us, spoken_us)
            self._since_us = known_us + self._away_us if known_us else self._broker.clock()
        elif spoken_us:
            self._since_us = spoken_us

    async def _last_spoken_us(self, after: int) -> int:
        """Time of its newest message after a position; 0 if there is none."""
        log = self._broker.log
        head, limit = log.head, 1
        before = head + 1
        found = await log.behind(self._wanted, after=after, limit=1)
        while (found.number or found.more) and before > after + 1:
            page = await log.read(self._wanted, after=before, limit=limit, max_bytes=PAGE_BYTES, newest=True)
            for message in page.messages:
                if message.position > after and self._is_its_own(message):
                    self._looked = head
                    return message.time_us
            before, limit = page.next_after, PAGE_MESSAGES
        self._looked = head
        return 0

    def _is_its_own(self, message: Message) -> bool:
        """True if the source has sent it: no router, operator or source beneath it, nor somebody who sends it again."""
        verified = message.verified
        return (
            verified is not None
            and verified.source in (self.source.topic, None)
            and not (message.hops or message.routed_from or message.replay_of or message.duplicate_of)
        )
