"""Starts of subscriptions: the position that each begins after, and the gap that it is told of first."""

from dataclasses import dataclass, field

from ..log.contract import Log
from ..protocol.message import Gap, format_id
from ..protocol.since import AfterId, FromOldest, Since, SinceTime
from ..protocol.topics import TopicFilter
from .channels import Channels


@dataclass(frozen=True, slots=True)
class Start:
    """Position after which a subscription starts, and the gap to be sent first, if any."""

    position: int
    gap: Gap | None = None
    told: int = field(default=0, compare=False)
    """Position up to which it is known that messages are missing."""


class Starts:
    """Starts in one log, and the gaps of those who read on there."""

    def __init__(self, log: Log, channels: Channels) -> None:
        self._log = log
        self._channels = channels

    async def at(self, since: Since | None, wanted: TopicFilter, *, not_before_us: int = 0) -> Start:
        """Start of a subscription in this log, for the `since` that the client requests; None is the head.

        Messages stored before `not_before_us` are excluded: an earlier start is moved there, without a gap.
        Raises `Unavailable` if the log cannot be read.
        """
        start = await self._at(since, wanted)
        if not_before_us:
            earliest = await self._log.position_before(not_before_us)
            if start.position < earliest:
                return Start(earliest, told=0 if start.gap else start.told)
        return start

    def gap_after(self, wanted: TopicFilter, position: int, told: int = 0) -> Gap | None:
        """Gap to send to a subscription that resumes after `position`, or None if it has missed nothing.

        Conservative, like `Log.lost_up_to`: the deleted messages may all have been of other topics. Of those up to
        `told` it knows.
        """
        lost = self._log.lost_up_to(wanted)
        if max(position, told) >= lost:
            return None
        return Gap.between("retention", self._log.epoch, position, lost)

    async def _at(self, since: Since | None, wanted: TopicFilter) -> Start:
        match since:
            case None:
                return Start(self._channels.head)
            case FromOldest():
                # Another hub may have deleted the oldest.
                await self._log.refresh()
                return self._oldest(wanted)
            case SinceTime(time_us):
                return self._after(wanted, await self._log.position_before(time_us))
            case AfterId(epoch, position):
                shared = await self._shared_with(epoch, position)
                if position <= shared:
                    return self._after(wanted, position)
                # An id beyond what is shared is from before the log was restored from a backup: its message is lost.
                # An id of another log says nothing about this one: the subscription starts with the oldest message.
                oldest = self._oldest(wanted)
                start = max(shared, oldest.position)
                before = max(start, oldest.told) + 1
                return Start(start, Gap("other-log", None, format_id(self._log.epoch, before)), oldest.told)

    async def _shared_with(self, epoch: str, position: int) -> int:
        """See `Log.shared_with`; what another hub has told a moment ago counts, if it matters for `position`."""
        if epoch == self._log.epoch and position > self._log.head:
            await self._log.refresh()
        return self._log.shared_with(epoch)

    def _after(self, wanted: TopicFilter, position: int) -> Start:
        oldest = self._oldest(wanted)
        return Start(max(position, oldest.position), self.gap_after(wanted, position), oldest.told)

    def _oldest(self, wanted: TopicFilter) -> Start:
        return Start(self._log.gone_up_to(wanted), told=self._log.lost_up_to(wanted))
