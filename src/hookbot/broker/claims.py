"""Claims: the exclusive use of a cursor by a connection, or of a group by its members, and how it is revoked.

`broker.cursors` decides which connection may take over a cursor.
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
    """Identity of a cursor or a group: a name within the path of a subscription.

    `/foo` and `/sub/foo` are the same path, written here as the longer one.
    """

    kind: ConsumerKind
    path: str
    name: str

    @classmethod
    def of(cls, request: SubscribeRequest) -> "ConsumerId":
        """Identity of the cursor or the group that a subscription requests."""
        path = path_of(request.wanted)
        return cls("group", path, request.group) if request.group else cls("cursor", path, request.cursor)

    @classmethod
    def parse(cls, text: str) -> "ConsumerId":
        """Identity as `str` has written it. A path may contain spaces, a kind and a name may not."""
        kind, _, rest = text.partition(" ")
        path, _, name = rest.rpartition(" ")
        return cls("group" if kind == "group" else "cursor", path, name)

    def __str__(self) -> str:
        return f"{self.kind} {self.path} {self.name}"

    @property
    def wanted(self) -> TopicFilter:
        """Filter of its subscription."""
        return wanted_at(self.path)


class Claim:
    """A cursor or a group in use, until it is released or revoked. Made by `Claims.acquire`."""

    def __init__(self, id: ConsumerId) -> None:
        self.id = id
        self.ended: Ended | None = None
        """Reason of the revocation, or None before."""
        self.skip_unwanted: Callable[[], object] = lambda: None
        """Moves the position past messages of other topics; set by the holder of the claim."""
        self.unacked: Callable[[], int] = lambda: 0
        """Number of messages that were sent and not acknowledged; set by the holder of the claim."""
        self._working: set[trio.CancelScope] = set()

    def end(self, reason: Ended) -> None:
        """Cancel all work under the claim, and allow no more."""
        self.ended = reason
        for scope in self._working:
            scope.cancel()

    def raise_if_ended(self) -> None:
        """Raise the reason if the claim has been revoked."""
        if self.ended:
            raise self.ended

    async def work(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run `work` and return its result; a revocation, before or meanwhile, cancels it and raises the reason."""
        await trio.lowlevel.checkpoint()
        self.raise_if_ended()
        with trio.CancelScope() as scope:
            self._working.add(scope)
            try:
                return await work()
            finally:
                self._working.discard(scope)
        # Only `end` cancels the scope, after it has set the reason.
        assert self.ended
        raise self.ended


class Claims:
    """All cursors and groups in use, with at most one claim for each."""

    def __init__(self) -> None:
        self._claims: dict[ConsumerId, Claim] = {}
        self._released = trio.Event()

    def find(self, id: ConsumerId) -> Claim | None:
        """Claim of a cursor or a group, or None if it is not in use."""
        return self._claims.get(id)

    def acquire(self, id: ConsumerId) -> Claim:
        """Claim a cursor or a group; the caller has checked, without a checkpoint since, that it is not in use."""
        claim = self._claims[id] = Claim(id)
        return claim

    async def until_free(self, id: ConsumerId) -> None:
        """Wait until a cursor or a group is not in use."""
        # Checked again after each release: another connection that waited may have claimed it first.
        while id in self._claims:
            await self._released.wait()

    def revoke(self, id: ConsumerId, reason: Ended) -> None:
        """Revoke the claim on a cursor or a group, if it is in use: its work is cancelled, and raises `reason`."""
        if claim := self._claims.get(id):
            self.release(claim)
            claim.end(reason)

    def release(self, claim: Claim) -> bool:
        """Give up a claim; False if it was released or revoked before."""
        if self._claims.get(claim.id) is not claim:
            return False
        del self._claims[claim.id]
        self._released.set()
        self._released = trio.Event()
        return True
