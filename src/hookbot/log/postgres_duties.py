"""The duties of a family of hubs that share a PostgreSQL."""

import logging
import math
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import trio

from ..callbacks import T
from ..errors import Unavailable
from ..protocol.envelope import encode_json
from ..protocol.topics import EVERYTHING
from . import postgres_duty_queries as queries
from .duties import Held, Holder, HubInfo, differing
from .held_duties import HeldDuties
from .postgres_duty_queries import OtherHub, OwnHub

if TYPE_CHECKING:
    from psycopg import Connection

RENEW_S = 3.0
RETRY_S = 1.0
# The row of a hub is written and read every few seconds.
MAX_REPLYING = 4096
# A claim that waits for the log and the renewal behind it are over before a duty ends.
DEADLINE_S = 3.0

LEAVING = "the hub is shutting down; try again"

logger = logging.getLogger(__package__)


class DutyConnection(Protocol):
    """The connection of duties to the server: see `PostgresConnection`."""

    async def run(self, work: "Callable[[Connection[Any]], T]", *, deadline_s: float) -> T:
        """Result of work in a thread. Not cancellable. Raises `Unavailable`."""


class _Claim:
    """A claim until it is answered."""

    def __init__(self, name: str, takeover: bool) -> None:
        self.name = name
        self.takeover = takeover
        self.answer: Held | Holder | Unavailable | None = None
        self.answered = trio.Event()
        self.cancelled = False

    def tell(self, answer: Held | Holder | Unavailable) -> None:
        """Answer it."""
        self.answer = answer
        self.answered.set()


class PostgresDuties:
    """Duties of this hub. All that is claimed, given up or to be renewed at a time goes to the server at once.

    `run` does so on a connection of its own: a renewal waits neither for publishes nor for thousands of listeners that
    come back after another hub has died.
    """

    def __init__(
        self, connection: DutyConnection, hub: OwnHub, told: Callable[[], int], *, channel: str, lock_key: int
    ) -> None:
        self.changed = trio.Event()
        self.replying: Collection[str] = ()
        self._connection = connection
        self._hub = hub
        self._told = told
        self._channel = channel
        self._lock_key = lock_key
        self._held = HeldDuties()
        self._claims: list[_Claim] = []
        self._given_up: dict[str, int] = {}
        self._different: set[str] = set()
        """Ids of hubs with another configuration of which the operator has been told."""
        self._line = trio.Lock()
        self._wanted = trio.Event()
        self._renew_at = -math.inf
        self._left = False

    def find(self, name: str) -> Held | None:
        return self._held.find(name)

    async def claim(self, name: str, *, takeover: bool = False) -> Held | Holder:
        if self._left:
            raise Unavailable(LEAVING)
        claim = _Claim(name, takeover)
        self._claims.append(claim)
        self._wanted.set()
        try:
            await claim.answered.wait()
        except trio.Cancelled:
            claim.cancelled = True
            if isinstance(claim.answer, Held):
                await self.give_up(claim.answer)
            raise
        assert claim.answer
        if isinstance(claim.answer, Unavailable):
            raise claim.answer
        return claim.answer

    async def give_up(self, held: Held) -> None:
        if self._held.remove(held):
            self._given_up[held.name] = held.fence
            self._wanted.set()

    def tell_configuration(self, digests: str) -> None:
        self._hub = replace(self._hub, configuration=digests)
        self._different = set()
        self._renew_at = -math.inf
        self._wanted.set()

    def tell_replying(self, patterns: Collection[str]) -> None:
        self._hub = replace(self._hub, replying=encode_json(sorted(few_of(patterns))))
        self._renew_at = -math.inf
        self._wanted.set()

    async def hubs(self) -> Sequence[HubInfo]:
        return await self._do(queries.list_hubs)

    def look(self) -> None:
        """Renew at once, since another hub has given up or taken over a duty; call it for each such notification."""
        self._renew_at = -math.inf
        self._wanted.set()
        self.changed.set()
        self.changed = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Claim, renew and give up until cancelled; then give up everything, so that other hubs claim it at once."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._held.expire)
            task_status.started()
            try:
                await self._work()
            finally:
                with trio.CancelScope(shield=True):
                    await self._leave()

    async def _work(self) -> None:
        while True:
            with trio.move_on_at(self._renew_at):
                await self._wanted.wait()
            self._wanted = trio.Event()
            if trio.current_time() >= self._renew_at:
                await self._renew()
            await self._settle_given_up()
            await self._settle_claims()

    async def _renew(self) -> None:
        asked, asked_at = self._held.all(), trio.current_time()
        # Before the wait: a notification that arrives meanwhile asks for another one.
        self._renew_at = asked_at + RENEW_S
        fences = {held.name: held.fence for held in asked}
        try:
            kept, others = await self._do(partial(queries.renew, hub=self._hub, told=self._told(), held=fences))
        except Unavailable:
            self._renew_at = min(self._renew_at, trio.current_time() + RETRY_S)
        else:
            self._held.renew(asked, kept, asked_at=asked_at)
            self.replying = {pattern for hub in others for pattern in hub.replying}
            self._warn([hub for hub in others if hub.configuration != self._hub.configuration])

    async def _settle_given_up(self) -> None:
        given_up, self._given_up = self._given_up, {}
        if given_up:
            # Otherwise they end by themselves.
            with suppress(Unavailable):
                await self._do(partial(queries.give_up, hub=self._hub.id, channel=self._channel, held=given_up))

    async def _settle_claims(self) -> None:
        # A later claim of the same name has a fence of its own.
        claims = {claim.name: claim for claim in reversed(self._claims)}
        if not claims:
            return
        takeovers, asked_at = [claim.name for claim in claims.values() if claim.takeover], trio.current_time()
        work = partial(
            queries.claim,
            hub=self._hub.id,
            channel=self._channel,
            lock_key=self._lock_key,
            names=[*claims],
            takeovers=takeovers,
        )
        try:
            fences, holders = await self._do(work)
        except Unavailable as error:
            for claim in claims.values():
                claim.tell(error)
        else:
            for name, claim in claims.items():
                if name in fences:
                    await self._hand_over(claim, self._held.add(name, fences[name], asked_at=asked_at))
                else:
                    claim.tell(holders.get(name, Holder("", "")))
        self._claims = [claim for claim in self._claims if not claim.answered.is_set()]
        if self._claims:
            self._wanted.set()

    async def _hand_over(self, claim: _Claim, held: Held) -> None:
        claim.tell(held)
        if claim.cancelled:
            await self.give_up(held)

    async def _leave(self) -> None:
        self._left = True
        for claim in self._claims:
            claim.tell(Unavailable(LEAVING))
        for held in self._held.all():
            self._held.remove(held)
        with suppress(Unavailable):
            await self._do(partial(queries.leave, hub=self._hub.id, channel=self._channel))

    async def _do(self, work: "Callable[[Connection[Any]], T]") -> T:
        async with self._line:
            return await self._connection.run(work, deadline_s=DEADLINE_S)

    def _warn(self, different: Sequence[OtherHub]) -> None:
        for hub in different:
            if hub.id not in self._different:
                parts = ", ".join(differing(self._hub.configuration, hub.configuration))
                logger.warning("the hub %s has another configuration, and needs the same: %s", hub.url or hub.id, parts)
        self._different = {hub.id for hub in different}


def few_of(patterns: Collection[str]) -> Collection[str]:
    """The patterns, if a row of the database has room for them; otherwise those of all topics."""
    return patterns if sum(map(len, patterns)) <= MAX_REPLYING else EVERYTHING.patterns
