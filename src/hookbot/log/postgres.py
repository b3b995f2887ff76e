"""The log in PostgreSQL, which any number of hubs share: each writes, and hears what the others have written.

psycopg works in threads, so nothing here blocks the event loop.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from ..errors import Unavailable
from ..protocol.message import Message, Once, wall_clock_us
from ..protocol.topics import TopicFilter
from ..threads import hub_threads
from . import postgres_queries as queries
from .budgets import Partitions
from .contract import DeletionStep, News, Page, SavedCursor, Stored, Unit, Usage
from .copies import Copy
from .deduplication import FirstUse
from .engine import Engine, ScanRange, TopicHeads, usage_of
from .postgres_address import PostgresAddress, require_psycopg
from .postgres_batch import APPLICATION
from .postgres_connections import Connections, PostgresReaders
from .postgres_deletion import delete_step
from .postgres_duties import PostgresDuties
from .postgres_duty_queries import OwnHub
from .postgres_failovers import UNDECIDED, Failovers, load_failovers
from .postgres_follower import Follower
from .postgres_identity import LogIdentity
from .postgres_notifications import Notifications
from .postgres_retention import Losses
from .postgres_trimmer import Trimmer
from .postgres_writer import PostgresWriter, StoredBatch
from .retention import Deleted, Retention
from .sealing import NO_KEYS, Sealing

if TYPE_CHECKING:
    from psycopg import Connection

# Positions that one query scans, in some milliseconds.
SCAN_LENGTH = 100_000
# As in SQLite: after a restart all subscribers reconnect at once.
PRIMED = 10_000
# What is read at a time of what other hubs have stored.
FOLLOWED_MESSAGES = 1000
FOLLOWED_BYTES = 8 << 20
# So long after it was last heard of, the log is taken to be ahead.
BEHIND_S = 10.0


@asynccontextmanager
async def open_postgres_log(
    address: PostgresAddress,
    hub: OwnHub,
    *,
    clock_us: Callable[[], int] | None = None,
    scan_length: int = SCAN_LENGTH,
    primed: int = PRIMED,
    sealing: Sealing = NO_KEYS,
) -> AsyncIterator["PostgresLog"]:
    """The log at `address`, as one of its hubs, until the block ends. `clock_us` replaces the server's clock.

    Raises `ConfigError` if somebody has to do something about it, and `Unavailable` if it cannot be reached now.
    """
    require_psycopg()
    identity = LogIdentity(address, hub.id)
    connections = Connections(address, f"{APPLICATION} {hub.id}", identity)
    async with connections.watched():
        await identity.look_around()
        await connections.writing.open()
        if (await connections.writing.run(load_failovers)).is_open:
            raise Unavailable(UNDECIDED)
        await connections.writing.run(sealing.check)
        start = await connections.writing.run(partial(queries.load_start, primed=primed))
        await connections.listen()
        writer = PostgresWriter(connections.writing, identity, hub.id, clock_us, sealing)
        make = partial(PostgresLog, connections, identity, writer, hub, start, sealing)
        log = make(clock_us=clock_us, scan_length=scan_length)
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(log.duties.run)
                nursery.start_soon(log.run)
                yield log
                nursery.cancel_scope.cancel()
        finally:
            # A batch that is under way is stored, and its publishers are answered.
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(writer.stop, limiter=hub_threads())


class PostgresLog(Engine):
    """Log in PostgreSQL as one of its hubs sees it. Opened by `open_postgres_log`."""

    def __init__(
        self,
        connections: Connections,
        identity: LogIdentity,
        writer: PostgresWriter,
        hub: OwnHub,
        start: queries.LogStart,
        sealing: Sealing,
        *,
        clock_us: Callable[[], int] | None,
        scan_length: int,
    ) -> None:
        self._follower = Follower(self._load_news, self._tell_news, start.head)
        self._told = start.head
        self._generation = 0
        """Generation of the budgets that are known."""
        self._head_us = start.head_us
        super().__init__(identity.epoch, Partitions.empty(), clock_us or wall_clock_us)
        self._ancestors = start.ancestors
        self._heads = TopicHeads(start.primed_after)
        self._heads.add(start.topics)
        self._adopt(start.lost, start.lost.generation)
        self._identity = identity
        self._writer = writer
        self._sealing = sealing
        self._readers = PostgresReaders(connections.reading)
        self._scan_length = scan_length
        self._failovers = Failovers()
        self._failovers_after = 0
        """Number of connections that had been checked when they were read."""
        self._answered = trio.Event()
        """Set when the batch that is being stored is answered."""
        address = identity.address
        self.duties: PostgresDuties = PostgresDuties(
            connections.duties, hub, lambda: self.head, channel=address.channel, lock_key=address.lock_key
        )
        self._trimmer = Trimmer(writer, self.duties, hub.id, lambda: self.head, clock_us, scan_length)
        self._notifications = Notifications(
            connections.listener, hub.id, self._follower, self.duties, self._forget_deleted
        )

    @property
    def head(self) -> int:
        return self._follower.told

    @property
    def head_us(self) -> int:
        return self._head_us

    def store(self, units: Sequence[Unit], done: Stored) -> None:
        answered = self._answered = trio.Event()

        def stored(result: StoredBatch | Exception) -> None:
            self._writer.begun = None
            answered.set()
            if isinstance(result, Exception):
                done(result)
                return
            batch, results = result
            done(results)
            self._follower.stored(News(batch.after, batch.messages, batch.head, units[0].began))

        self._writer.store_soon(units, stored)

    async def refresh(self) -> None:
        await self._follower.catch_up()

    async def read(self, wanted: TopicFilter, *, after: int, limit: int, max_bytes: int, newest: bool = False) -> Page:
        scan = self._scan_range(wanted, after=after, newest=newest, length=self._scan_length)
        if not newest:
            if end := self.hole_after(after):
                await trio.lowlevel.checkpoint()
                return Page([], end, "failover")
            scan = self._failovers.around(scan)
        if scan.low >= scan.high:
            await trio.lowlevel.checkpoint()
            return Page([], scan.end)
        find = partial(queries.load_page, epoch=self.epoch, wanted=wanted, scan=scan)

        def load(connection: "Connection[Any]") -> tuple[Page, Losses]:
            page, lost = find(connection, limit=limit, max_bytes=max_bytes, newest=newest)
            return self._sealing.open(page), lost

        page, lost = await self._readers.do(load)
        self._adopt(lost, lost.generation)
        if self._identity.checks != self._failovers_after:
            # It may be another server, without a part of what was looked for.
            await self._look_for_failovers()
            return await self.read(wanted, after=after, limit=limit, max_bytes=max_bytes, newest=newest)
        return page

    async def _count(self, wanted: TopicFilter, scan: ScanRange, limit: int) -> tuple[int, int]:
        return await self._readers.do(partial(queries.count_messages, wanted=wanted, scan=scan, limit=limit))

    async def _find_copies(self, low: int, high: int) -> Sequence[Copy]:
        return await self._readers.do(partial(queries.load_copies, shared=self._shared, low=low, high=high))

    async def _first_use(self, once: Once) -> FirstUse | None:
        return await self._readers.do(partial(queries.first_use, once=once))

    def hole_after(self, position: int) -> int:
        hole = self._failovers.hole_after(position)
        return hole.before - 1 if hole else 0

    def usage(self) -> Mapping[str, Usage]:
        partitions = self._trimmer.partitions
        return usage_of(partitions) if partitions else {}

    async def position_before(self, time_us: int) -> int:
        position, lost = await self._readers.do(partial(queries.position_before, time_us=time_us))
        self._adopt(lost, lost.generation)
        return max(position, self._lost_before(time_us))

    async def cursors(self, prefix: str = "") -> Sequence[SavedCursor]:
        return await self._readers.do(partial(queries.load_cursors, prefix=prefix))

    async def trim(self, retention: Retention, *, now_us: int) -> bool:
        partitions, more = await self._trimmer.trim(retention)
        self.trimmed = self._trimmer.trimmed
        if partitions:
            self._adopt(partitions.deleted, self._trimmer.generation)
        return more

    async def delete(self, positions: Sequence[int]) -> DeletionStep:
        channel = self._identity.address.channel
        deletion = await self._writer.do(partial(delete_step, positions=positions, channel=channel))
        self._forget_deleted(positions[: len(positions) - len(deletion.rest)])
        return deletion

    async def probe(self) -> None:
        await self._writer.do(queries.probe)
        behind_s = trio.current_time() - self._follower.caught_up_at
        if behind_s > BEHIND_S:
            raise Unavailable(f"the hub has not heard of its log for {behind_s:.0f} s")

    async def run(self) -> None:
        """Follow the log until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follower.keep_up)
            nursery.start_soon(self._notifications.hear)
            nursery.start_soon(self._identity.keep_looking)

    def _forget_deleted(self, positions: Collection[int] | None) -> None:
        self._trimmer.recount()
        self._follower.forget_deleted(positions or ())
        self._forget(positions)

    async def _load_news(self, after: int, up_to: int | None) -> tuple[Sequence[Message], int, int]:
        find = partial(queries.load_rows, epoch=self.epoch, after=after, up_to=up_to)

        def load(connection: "Connection[Any]") -> tuple[queries.Rows, Page]:
            rows = find(connection, limit=FOLLOWED_MESSAGES, max_bytes=FOLLOWED_BYTES)
            return rows, self._sealing.open(Page(rows.messages, rows.newest))

        rows, page = await self._readers.do(load)
        if self._identity.checks != self._failovers_after or self._failovers.first_after(after):
            await self._look_for_failovers()
        self._adopt(rows.lost, rows.lost.generation)
        failover = self._failovers.first_after(after)
        if failover and failover.after <= after:
            if failover.is_open:
                raise Unavailable(UNDECIDED)
            self._follower.skip_to(failover.before - 1)
            return [], failover.before - 1, rows.newest
        before = queries.Rows(page.messages, page.next_after, rows.lost)
        before = before.until(failover.after) if failover else before
        # What this hub has stored is told when its publishers are answered.
        while self._writer.begun is not None and before.newest > self._writer.begun:
            await self._answered.wait()
        if page.hole:
            # Whoever reads that is told of a gap.
            self._follower.skip_to(before.newest)
        return before.messages, before.newest, rows.newest

    async def _look_for_failovers(self) -> None:
        def load(connection: "Connection[Any]") -> tuple[Failovers, int]:
            checks = self._identity.checks
            return load_failovers(connection), checks

        failovers, self._failovers_after = await self._readers.do(load)
        if failovers != self._failovers:
            self._failovers = failovers
            # What was counted, or stored, may have been lost, also the newest budgets.
            self._generation = 0
            self._trimmer.recount()
            self._follower.forget(failovers.at)

    def _tell_news(self, news: News) -> None:
        if news.after > self._told:
            # What is there in between is not known.
            self._heads = TopicHeads(news.after)
            self._trimmer.recount()
        self._told = news.head
        self._identity.tell(news.head)
        if news.messages:
            self._head_us = news.messages[-1].time_us
            self._heads.add([(message.topic, message.position) for message in news.messages])
            self._trimmer.tell(news.messages)
        self._tell(news)

    def _adopt(self, lost: Mapping[str, Deleted], generation: int) -> None:
        """Note what retention has deleted; it may have been read before what is known already."""
        if generation >= self._generation:
            self._generation = generation
            self._partitions = self._partitions.losing(lost)
