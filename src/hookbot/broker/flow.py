"""Flow control: who publishes faster than subscribers can be sent to waits, so that none of them falls seconds behind.

Bytes of deliveries are counted, a message once for each subscriber of the fan-out that is in step. One that is stalled,
slow or catching up does not count: it holds up nobody.
"""

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ..errors import Unavailable
from ..log.contract import Unit
from ..log.deduplication import Outcome
from .channels import Channels
from .writer import Done, Writer

# Sending this much takes no longer than receiving and storing the publish.
LIGHT_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class _Submission:
    unit: Unit
    done: Done
    due: int
    """Bytes of deliveries that it will cause."""


class Flow:
    """The way to the writer: a submission is held back while more than `due_bytes` of deliveries are due with it.

    One that causes few deliveries never is, and one alone never is. Topics take turns, so that a flood on one of them
    holds up the others by one submission at a time; all for which nobody vouches are one topic. What is held needs no
    bound of its own: its senders wait for the answer, and their bodies are bounded together.
    """

    def __init__(self, channels: Channels, writer: Writer, due_bytes: int) -> None:
        self._channels = channels
        self._writer = writer
        self._due_bytes = due_bytes
        self._submitted = 0
        """Bytes of deliveries for what the writer has, and has not announced."""
        self._held: OrderedDict[str, deque[_Submission]] = OrderedDict()
        """Submissions that are held back, by topic: the next is the first of the first topic."""
        self._closed = False

    def submit(self, unit: Unit, done: Done) -> None:
        """Submit a unit to the writer like `Writer.submit`, at once or when they are no longer held back."""
        due = 0
        for draft in unit.drafts:
            listeners = self._channels.listeners(draft.topic)
            if listeners:
                due += listeners * draft.size
        if due <= LIGHT_BYTES or self._closed:
            self._writer.submit(unit, done)
            return
        submission = _Submission(unit, done, due)
        if not self._held and self._has_room(due):
            self._pass_on(submission)
            return
        topic = "" if all(draft.unverified for draft in unit.drafts) else unit.drafts[0].topic
        self._held.setdefault(topic, deque()).append(submission)

    @property
    def held(self) -> int:
        """Number of submissions that are held back."""
        return sum(map(len, self._held.values()))

    def admit(self) -> None:
        """Submit what needs no longer be held back. The fan-out calls it when it has delivered something."""
        if not self._held:
            return
        while self._held and (self._closed or self._has_room(next(iter(self._held.values()))[0].due)):
            topic, waiting = self._held.popitem(last=False)
            submission = waiting.popleft()
            if waiting:
                self._held[topic] = waiting
            try:
                self._pass_on(submission)
            except Unavailable as error:
                submission.done(error)
        self._writer.flush_soon()

    def close(self) -> None:
        """Hold nothing back any more, because nobody is sent anything any more."""
        self._closed = True
        self.admit()

    def _has_room(self, due: int) -> bool:
        total = self._channels.due + self._submitted
        # Half is enough for the largest: beside others that are never held back, it is rare that nothing is due.
        return total + min(due, self._due_bytes // 2) <= self._due_bytes

    def _pass_on(self, submission: _Submission) -> None:
        self._writer.submit(submission.unit, partial(self._end, submission))
        self._submitted += submission.due

    def _end(self, submission: _Submission, result: Sequence[Outcome] | Unavailable) -> None:
        # From here on, the channels count what is announced.
        self._submitted -= submission.due
        submission.done(result)
        if isinstance(result, Unavailable):
            self.admit()
