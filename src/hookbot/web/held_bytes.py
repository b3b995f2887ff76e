"""Held bytes: what the hub keeps for clients that are slow to read it, bounded for all of them together."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio

from ..access.admitted import AdmittedSubscription
from ..errors import Ended
from ..protocol.websocket import TRY_AGAIN_LATER

CUT_OFF = Ended(TRY_AGAIN_LATER, "too much waits for slow subscribers; reconnect and resume")

# What a socket takes at once is not worth counting.
COUNTED_BYTES = 64 << 10

Cut = Callable[[], None]
"""Callback that ends a slow client now. It must not block."""

Abort = Callable[[], None]
"""Callback that ends the connection of a stream now, in the middle of what is being sent."""

logger = logging.getLogger(__package__)


@dataclass(slots=True)
class _Shared:
    size: int
    holders: int = 0


@dataclass(frozen=True, slots=True)
class _Held:
    # Referenced, so that nothing else can get the same `id`.
    data: object
    what: object
    cut: Cut


class HeldBytes:
    """Account of the bytes that wait for slow clients. A frame that several wait for is one object, and counted once.

    Above `max_bytes`, the client that holds most is cut: of a frame that several hold, each holds its share. It can
    resume, because the messages stay in the log. A single frame may be larger than `max_bytes`.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.size = 0
        self.cut = 0
        """Number of clients cut."""
        self._held: dict[object, _Held] = {}
        """Bytes that each client holds; the one that has held them for the longest time is first."""
        self._shared: dict[int, _Shared] = {}

    def __len__(self) -> int:
        """Number of clients that have not taken all that was sent."""
        return len(self._held)

    def hold(self, holder: object, data: object, size: int, *, what: object, cut: Cut) -> None:
        """Count data that waits for a client, in place of what it held before; cut it, or others, if that is too much.

        `what` it subscribes to is for the log.
        """
        self.release(holder)
        self._held[holder] = _Held(data, what, cut)
        shared = self._shared.setdefault(id(data), _Shared(size))
        shared.holders += 1
        if shared.holders == 1:
            self.size += size
        while self.size > self.max_bytes and len(self._shared) > 1:
            self._cut_largest()

    def release(self, holder: object) -> None:
        """Stop counting what waits for a client, if anything does."""
        held = self._held.pop(holder, None)
        if held is None:
            return
        shared = self._shared[id(held.data)]
        shared.holders -= 1
        if not shared.holders:
            self.size -= shared.size
            del self._shared[id(held.data)]

    def _cut_largest(self) -> None:
        holder = max(self._held, key=self._share)
        held = self._held[holder]
        self.cut += 1
        logger.warning("a subscriber of %s is cut off: %s bytes wait for slow subscribers", held.what, self.size)
        self.release(holder)
        held.cut()

    def _share(self, holder: object) -> float:
        shared = self._shared[id(self._held[holder].data)]
        return shared.size / shared.holders


class Holder(ABC):
    """Sender to one client: what waits there is counted, and `dismiss` is called with `CUT_OFF` if it is too much.

    If it is being sent then, its connection is ended by `abort`.
    """

    number: int
    since_us: int

    def __init__(self, held: HeldBytes, admitted: AdmittedSubscription, abort: Abort) -> None:
        self.request, self.grant, self.client = admitted.request, admitted.grant, admitted.client
        self._held = held
        self._abort = abort
        self._sending = False

    @abstractmethod
    def dismiss(self, reason: Ended) -> None:
        """End for this reason, as soon as the client has what is being sent."""

    def release(self) -> None:
        """Note that what was held last has been sent."""
        self._sending = False
        self._held.release(self)

    def _hold(self, data: Sequence[bytes]) -> None:
        size = sum(map(len, data))
        if size > COUNTED_BYTES:
            # Alone, a frame may be shared with others.
            held = data[0] if len(data) == 1 else data
            self._held.hold(self, held, size, what=self.request.wanted, cut=self._cut)
        else:
            self._held.release(self)

    def _cut(self) -> None:
        self.dismiss(CUT_OFF)
        # Not now: the cancelled tasks would refer to this stack, and so to what the caller has in memory.
        trio.lowlevel.current_trio_token().run_sync_soon(self._abort_sending)

    def _abort_sending(self) -> None:
        # While it is sent, nothing else can be: no close frame either.
        if self._sending:
            self._abort()
