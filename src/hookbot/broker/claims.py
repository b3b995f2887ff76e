"""Claims: the exclusive use of a cursor by a connection, or of a group by its members, and how it is revoked.

Who may take a cursor over is decided in `broker.cursors`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import trio

from ..errors import Ended
from ..protocol.paths import path_of, wanted_at
from ..protocol.subscribe import SubscribeRequest
from ..protocol.topics import TopicFilter

ConsumerKind = Literal["cursor", "group"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, order=True)
class ConsumerId:
    """A name beneath the path of a subscription; `/foo` and `/sub/foo` are the same path, the longer one."""

    kind: ConsumerKind
    path: str
    name: str

    @classmethod
    def of(cls, request: SubscribeRequest) -> "ConsumerId":
        """The cursor or the group that a subscription asks for."""
        path = path_of(request.wanted)
        return cls("group", path, request.group) if request.group else cls("cursor", path, request.cursor)

    @classmethod
    def parse(cls, text: str) -> "ConsumerId":
        """Read what `str` has written; neither a kind nor a name has a space in it."""
        kind, _, rest = text.partition(" ")
        path, _, name = rest.rpartition(" ")
        return cls("group" if kind == "group" else "cursor", path, name)

    def __str__(self) -> str:
        return f"{self.kind} {self.path} {self.name}"

    @property
    def wanted(self) -> TopicFilter:
        """The filter of its subscription."""
        return wanted_at(self.path)


class Claim:
    """A cursor or a group in use, until it is released or revoked. Made by `Claims.acquire`."""

    def __init__(self, id: ConsumerId) -> None:
        self.id = id
        self.ended: Ended | None = None
        self.skip_unwanted: Callable[[], object] = lambda: None
        """Moves the position over what is not of the subscription; set by whoever has the claim."""
        self._working: set[trio.CancelScope] = set()

    def end(self, reason: Ended) -> None:
        """Stop all work, at once and for good."""
        self.ended = reason
        for scope in self._working:
            scope.cancel()

    def raise_if_ended(self) -> None:
        """Raises why it was revoked, if it was."""
        if self.ended:
            raise self.ended

    async def work(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do something as long as it is not revoked; raises why if it is."""
        await trio.lowlevel.checkpoint()
        self.raise_if_ended()
        with trio.CancelScope() as scope:
            self._working.add(scope)
            try:
                return await work()
            finally:
                self._working.discard(scope)
        assert self.ended  # nobody else cancels the scope
        raise self.ended


class Claims:
    """All cursors and groups in use: at most one claim of each."""

    def __init__(self) -> None:
        self._claims: dict[ConsumerId, Claim] = {}
        self._released = trio.Event()

    def find(self, id: ConsumerId) -> Claim | None:
        """The claim of a cursor or a group, if it is in use."""
        return self._claims.get(id)

    def acquire(self, id: ConsumerId) -> Claim:
        """Claim what nobody uses."""
        claim = self._claims[id] = Claim(id)
        return claim

    async def until_free(self, id: ConsumerId) -> None:
        """Wait until nobody uses it."""
        while id in self._claims:
            await self._released.wait()

    def revoke(self, id: ConsumerId, reason: Ended) -> None:
        """End the claim, if there is one; whoever had it is told why."""
        if claim := self._claims.get(id):
            self.release(claim)
            claim.end(reason)

    def release(self, claim: Claim) -> bool:
        """Give a claim up; returns whether it had not been revoked before."""
        if self._claims.get(claim.id) is not claim:
            return False
        del self._claims[claim.id]
        self._released.set()
        self._released = trio.Event()
        return True
