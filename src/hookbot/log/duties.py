"""Duties: what exactly one hub of a family does at a time, such as running a router, or trimming the log.

A duty has a fence, a number that grows each time the duty changes hands: what a hub does for a duty that it has lost
without noticing is recognised by an old fence, and refused.
"""

import json
import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import trio

TRIM = "trim"
"""Duty of applying retention. Other names are those of saved cursors: of a router, a cursor or a group."""
OF_ROUTER = "router/"
"""Beginning of the name of a router's duty and cursor."""


class Held:
    """A duty that this hub holds, until it is lost: to another hub, or because it could not be renewed in time."""

    def __init__(self, name: str, fence: int, ends: float = math.inf) -> None:
        self.name = name
        self.fence = fence
        self.ends = ends
        """Time, on Trio's clock, at which it is lost unless it is renewed before."""
        self.lost = trio.Event()
        self._scopes: set[trio.CancelScope] = set()

    @contextmanager
    def scope(self) -> Iterator[trio.CancelScope]:
        """Cancel scope of work that ends when the duty is lost."""
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            if self.lost.is_set():
                scope.cancel()
            try:
                yield scope
            finally:
                self._scopes.discard(scope)

    def lose(self) -> None:
        """Tell everybody who works for the duty that it is lost."""
        self.lost.set()
        for scope in self._scopes:
            scope.cancel()


@dataclass(frozen=True, slots=True)
class Holder:
    """The other hub that holds a duty."""

    hub: str
    """Its id; empty if it has just given the duty up."""
    url: str
    """Address at which other hubs reach it; empty if it advertises none."""
    ends_s: float = 0.0
    """Seconds until the duty is free, unless the hub renews it."""


@dataclass(frozen=True, slots=True)
class HubInfo:
    """A hub of a family, as operators list it."""

    id: str
    url: str
    version: str
    configuration: str
    """Digests of the parts of its configuration, as JSON: hubs of a family should have the same."""
    started_us: int
    seen_ago_s: float
    """Seconds since it was heard of, of a living hub at most a few."""
    told: int
    """Position of the newest message that it has told its listeners."""
    duties: Sequence[str]


@dataclass(frozen=True, slots=True)
class Family:
    """The hubs that share a log, the oldest first, with its epoch and its head."""

    epoch: str
    head: int
    hubs: Sequence[HubInfo]


class Duties(Protocol):
    """The duties of a family of hubs, as one of them sees them."""

    @property
    def changed(self) -> trio.Event:
        """Event that is set when another hub has given up or taken over a duty; then there is a new one."""

    def find(self, name: str) -> Held | None:
        """A duty, if this hub holds it now."""

    async def claim(self, name: str, *, takeover: bool = False) -> Held | Holder:
        """The duty, if it is free or this is a takeover; otherwise its holder. Raises `Unavailable`.

        If this hub has it already, that one is lost: who claims shares it with nobody. If cancelled, it is given up.
        """

    async def give_up(self, held: Held) -> None:
        """Let another hub have the duty at once. Never waits, so that it may be called while cancelled."""

    def tell_configuration(self, digests: str) -> None:
        """Tell the other hubs of another configuration of this one, as in `HubInfo.configuration`."""

    def tell_replying(self, patterns: Collection[str]) -> None:
        """Tell the other hubs to whose messages listeners of this one reply, by patterns of topics."""

    @property
    def replying(self) -> Collection[str]:
        """Patterns of the topics to whose messages listeners of the other hubs reply, as of a few seconds ago."""

    async def hubs(self) -> Sequence[HubInfo]:
        """All hubs of the family, the oldest first. Raises `Unavailable`."""


class SoleDuties:
    """Duties of the only hub of a log: each is held at once, for ever."""

    replying: Collection[str] = ()

    def __init__(self) -> None:
        self.changed = trio.Event()

    def find(self, name: str) -> Held | None:
        return Held(name, 0)

    async def claim(self, name: str, *, takeover: bool = False) -> Held | Holder:
        return Held(name, 0)

    async def give_up(self, held: Held) -> None:
        held.lose()

    def tell_configuration(self, digests: str) -> None:
        # There is nobody else.
        pass

    def tell_replying(self, patterns: Collection[str]) -> None:
        # As above.
        pass

    async def hubs(self) -> Sequence[HubInfo]:
        return ()


def differing(mine: str, theirs: str) -> Sequence[str]:
    """Names of the parts in which two hubs differ, from the digests of both; only the key, if that is one of them.

    A part that another version of hookbot does not know is not compared.
    """
    own, other = json.loads(mine), json.loads(theirs)
    names = [name for name, digest in own.items() if other.get(name, digest) != digest]
    # By another key, each digest is another.
    return ["key"] if "key" in names else names
