"""Turns of those who read the log: one page at a time, and with rests while others publish."""

from collections.abc import Callable
from types import TracebackType

import trio

from .fair_turns import FairTurns

# For each message published: several times as long as it takes, so that few publishers hold up nobody who reads.
REST_S = 0.002
# Publishers keep more than three quarters of their rate, also while many catch up.
MAX_RESTS = 2
"""Duration of the longest rest, in durations of the turn before it."""
# After a message of 25 MB, whose turn takes a second but little of the event loop.
MAX_REST_S = 0.1


class PageTurns:
    """Context in which one reader at a time reads a page, which may be a message of 25 MB, encodes it and sends it.

    Those who wait for their turn stay in step, so each page of the log is read once for all of them. Between two
    turns is a rest, the longer the more messages were published meanwhile: readers at full speed would otherwise take
    half of the event loop and of the interpreter's lock from the publishers.
    """

    def __init__(self, published: Callable[[], int]) -> None:
        """`published` returns the number of messages published so far."""
        self.requests = FairTurns()
        """Turns of requests to the API: one of them all at a time looks at messages, or waits to read some."""
        self._turn = trio.Lock()
        self._published = published
        self._seen = 0
        self._begun_at = self._rests_until = 0.0

    @property
    def waiting(self) -> int:
        """Number of readers that wait for their turn."""
        return self._turn.statistics().tasks_waiting

    async def __aenter__(self) -> None:
        await self._turn.acquire()
        try:
            await trio.sleep_until(self._rests_until)
        except trio.Cancelled:
            self._turn.release()
            raise
        self._begun_at = trio.current_time()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        now, published = trio.current_time(), self._published()
        rest_s = min(REST_S * (published - self._seen), MAX_RESTS * (now - self._begun_at), MAX_REST_S)
        self._rests_until = now + rest_s
        self._seen = published
        self._turn.release()
