"""Unauthenticated connections: how many one address may have, and which is ended when there is no room for another."""

import errno
import logging
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from heapq import nsmallest
from math import inf
from random import sample
from typing import Protocol

import trio

from ..access.client_address import DEFAULT_CONNECTIONS_PER_ADDRESS, client_network
from ..access.senders import Standing
from ..errors import TooManyRequests
from ..protocol.http1 import encode_response
from ..protocol.request import Request
from ..protocol.response import error_response
from .turns import Turns

# Errors of `accept` that are the process's or the machine's, not the new connection's (accept(2)).
OUT_OF_FILES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ENOSPC})

# Memory of all of them; with their part of the memory for bodies, a hub stays far below 400 MB.
MAX_BYTES = 96 << 20

# A new connection may be that of a client with a token, whose request is on its way: it gets this long, which is some
# round trips to the other side of the world.
WELCOME_S = 0.5

# In a flood that fills the places sooner, it gets this long for sure: in the kernel's queue, others would wait for
# seconds. From then on chance decides, so that a client with a long way is served at one of its attempts; if the oldest
# had to go, it never would be.
HURRIED_S = 0.05

# Addresses with more than this part of the connections are the flood, if there are such, and hurried alone.
CROWDED_PART = 4

# A part of them is ended at a time, and after a search that found none there is a pause: otherwise a flood of
# connections would search through thousands for each of them.
EVICTED_PART = 16
SEARCH_PAUSE_S = 0.05

# Part of the grace at the shutdown for one of them, if there are few: ending thousands of their requests takes seconds,
# which must not be missing when the hub saves what others did. The more there are, the less.
GRACE = 1 / 2

# While there is no room, connections wait in the kernel's queue; the listening socket stays readable, and without a
# pause the loop would spin.
ACCEPT_PAUSE_S = 0.05

# Most of them end within seconds; an idle one after 75 s.
RETRY_AFTER_S = 10

# Steps of the event loop from the beginning of one of their requests to the next, about as many as the app takes for
# it, and from one received piece to the next.
BEGINNING_STEPS = 3
HANDLING_STEPS = 1

REFUSAL = TooManyRequests("too many connections from you have shown no token", retry_after_s=RETRY_AFTER_S)
NO_ROOM = "too many connections have shown no token"

Note = Callable[[Request, str, int], None]
"""Function that is told of a refused request, the reason and the status."""

logger = logging.getLogger(__package__)


class UnauthenticatedConnection(Protocol):
    """A connection that has not shown a good token or signature."""

    @property
    def progressed_at(self) -> float:
        """Time at which it was accepted, its last request made progress, or the last response was sent."""

    @property
    def busy(self) -> bool:
        """True while the hub works for it, and expects nothing of the client."""

    def end(self, reason: str) -> None:
        """Close the socket now; the reason is for the log."""


@dataclass(slots=True)
class _Held:
    address: str
    size: int
    standing: Standing = Standing.UNKNOWN
    """Best standing of the senders of its requests."""
    begun_at: float = -inf
    """Time at which its last request began, by its turn."""
    handled_at: float = -inf
    """Time at which what it sent was last handled, by its turn."""
    waiting: bool = False
    """True while a request waits for its turn to begin, and the hub does nothing for it yet."""


class UnauthenticatedConnections:
    """Connections that have shown neither a good token nor a good signature: bounded by address, memory and files.

    Those of one address (of a /64 for IPv6) are limited to `per_address`; a proxy's are not. All together may use half
    of the process's files and `max_bytes` of memory. When one more needs room, one for which the hub does not work is
    ended: that without progress for the longest time, if it is `WELCOME_S`; otherwise one that had `HURRIED_S`, of a
    crowded address if there is one.
    """

    def __init__(
        self,
        per_address: int = DEFAULT_CONNECTIONS_PER_ADDRESS,
        *,
        max_files: int = 1 << 20,
        max_bytes: int = MAX_BYTES,
        is_proxy: Callable[[str], bool] = lambda peer: False,
        standing_of: Callable[[Request], Standing] = lambda request: Standing.UNKNOWN,
        note: Note = lambda request, reason, status: None,
    ) -> None:
        self.refused = self.evicted = 0
        self._per_address = per_address
        self._max_files = max_files
        self._max_bytes = max_bytes
        self._is_proxy = is_proxy
        self._standing_of = standing_of
        self.note = note
        """Function that is told of what is refused where neither the app nor the fast path answers."""
        self._beginning = Turns(BEGINNING_STEPS)
        self._handling = Turns(HANDLING_STEPS)
        self._bytes = 0
        self._held: dict[UnauthenticatedConnection, _Held] = {}
        self._by_address: dict[str, dict[UnauthenticatedConnection, None]] = {}
        self._searched_at: dict[str, float] = {}
        """Time of the last search that found nothing to end, by address; of all connections under an empty one."""

    @property
    def count(self) -> int:
        """Number of connections that have not shown a token or signature."""
        return len(self._held)

    def __contains__(self, connection: UnauthenticatedConnection) -> bool:
        """True while the connection has not shown a token or signature."""
        return connection in self._held

    @property
    def full(self) -> bool:
        """True if another connection needs a place of these."""
        return self.fullness >= 1

    @property
    def fullness(self) -> float:
        """Part of their room that they take: 0 is none of it, 1 all."""
        return max(len(self._held) / self._max_files, self._bytes / self._max_bytes)

    def grace_s(self, connection: UnauthenticatedConnection, whole_s: float) -> float:
        """Time that a connection has at the shutdown: all of it only if it has shown a token or signature."""
        return whole_s * GRACE * max(0, 1 - self.fullness) if connection in self else whole_s

    def has_room(self) -> bool:
        """True if one more connection, which is waiting, may be accepted; idle ones are ended for it."""
        return not self.full or self.make_room()

    def make_room(self) -> bool:
        """End some of the connections that expect nothing of the hub; False if there are none to end."""
        return self._evict("", self._held)

    def admits(self, peer: str) -> bool:
        """True if the address may have one more connection; idle ones of its own are ended for it."""
        address = self._address(peer)
        known = self._by_address.get(address, {})
        if len(known) < self._per_address or self._evict(address, known):
            return True
        self.refused += 1
        self.note(Request("", b"", (), peer), str(REFUSAL), REFUSAL.status)
        return False

    def add(self, connection: UnauthenticatedConnection, peer: str, size: int) -> None:
        """Count a connection of about `size` bytes."""
        logger.debug("a connection began", extra={"client": peer})
        address = self._address(peer)
        self._held[connection] = _Held(address, size)
        self._bytes += size
        if address:
            self._by_address.setdefault(address, {})[connection] = None

    def resize(self, connection: UnauthenticatedConnection, size: int) -> None:
        """Count the connection, if it is still counted, with another size; it is ended if there is no room for that."""
        held = self._held.get(connection)
        if held is None:
            return
        added = size - held.size
        held.size = size
        self._bytes += added
        if added > 0 and self._bytes > self._max_bytes and not self.make_room():
            self._end(connection)

    def remove(self, connection: UnauthenticatedConnection) -> None:
        """Count a connection no longer: it has ended, or shown who it is. May be called again."""
        held = self._held.pop(connection, None)
        if held is None:
            return
        self._bytes -= held.size
        if held.address:
            known = self._by_address[held.address]
            del known[connection]
            if not known:
                del self._by_address[held.address]
                self._searched_at.pop(held.address, None)

    async def wait_to_begin(self, connection: UnauthenticatedConnection, request: Request) -> None:
        """Return when the request may begin: at once if it has a good token, or its connection is not counted any more.

        Otherwise when it is its turn: those of recently verified senders are first.
        """
        held = self._held.get(connection)
        if held is None:
            return
        standing = self._standing_of(request)
        held.standing = max(held.standing, standing)
        if standing is not Standing.TOKEN:
            held.waiting = True
            try:
                await self._beginning.wait(standing, held.begun_at)
            finally:
                held.waiting = False
        held.begun_at = trio.current_time()

    async def wait_to_handle(self, connection: UnauthenticatedConnection) -> None:
        """Return when what was received may be handled, like `wait_to_begin`.

        The beginning of a connection, in which a token would be, does not wait.
        """
        held = self._held.get(connection)
        if held is None or held.begun_at == -inf:
            return
        await self._handling.wait(held.standing, held.handled_at)
        held.handled_at = trio.current_time()

    def _evict(self, address: str, connections: Collection[UnauthenticatedConnection]) -> bool:
        now = trio.current_time()
        if now - self._searched_at.get(address, -inf) < SEARCH_PAUSE_S:
            return False
        ending = self._idle(connections, now)
        if not ending:
            self._searched_at[address] = now
            return False
        logger.warning("ended idle connections that have shown no token, to make room for others: %d", len(ending))
        for one in ending:
            self._end(one)
        return True

    def _idle(self, connections: Collection[UnauthenticatedConnection], now: float) -> list[UnauthenticatedConnection]:
        """Idle connections to end first, a part of them at a time."""
        slow = (one for one in connections if now - one.progressed_at >= HURRIED_S)
        idle = [one for one in slow if self._held[one].waiting or not one.busy]
        count = min(1 + len(idle) // EVICTED_PART, len(idle))
        welcomed = [one for one in idle if now - one.progressed_at >= WELCOME_S]
        if len(welcomed) >= count:
            return nsmallest(count, welcomed, key=lambda one: one.progressed_at)
        sizes = Counter(self._held[one].address for one in connections)
        crowded = {address for address, size in sizes.items() if address and size > len(connections) / CROWDED_PART}
        hurried = [one for one in idle if now - one.progressed_at < WELCOME_S]
        if crowded:
            hurried = [one for one in hurried if self._held[one].address in crowded]
        return welcomed + sample(hurried, min(count - len(welcomed), len(hurried)))

    def _end(self, connection: UnauthenticatedConnection) -> None:
        self.evicted += 1
        self.remove(connection)
        connection.end("it made room for another connection")

    def _address(self, peer: str) -> str:
        """Address for which connections from a peer count; empty for a Unix socket or a proxy."""
        return "" if not peer or self._is_proxy(peer) else client_network(peer)


def refusal() -> bytes:
    """The response to a connection that `UnauthenticatedConnections.admits` refuses."""
    return encode_response(error_response(REFUSAL, Request("", b"", ())), version="1.1", close=True)
