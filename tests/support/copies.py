"""Logs that are copied: in directories and in schemas of a real server, filled and compared."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from hookbot.log.contract import Log, Noted, SavedCursor
from hookbot.log.copying import Copied, CopySource, CopyTarget, copy_log
from hookbot.log.duties import TRIM
from hookbot.log.postgres import open_postgres_log
from hookbot.log.postgres_address import PostgresAddress
from hookbot.log.postgres_copy import open_postgres_source, open_postgres_target
from hookbot.log.postgres_duty_queries import OwnHub
from hookbot.log.retention import Retention
from hookbot.log.sealing import NO_KEYS, Sealing
from hookbot.log.sqlite import open_sqlite_log
from hookbot.log.sqlite_copy import open_sqlite_source, open_sqlite_target
from hookbot.protocol.message import Draft, Message, Once, Verified
from hookbot.protocol.topics import TopicFilter
from support.clock import Clock
from support.postgres import PostgresServer, new_schema

EVERYTHING = TopicFilter(("", "/unsafe/"))
KEEP_ALL = Retention(max_age_s=None, max_bytes=None, max_unsafe_bytes=None)
ANCESTOR = "earlierx"
LARGE = bytes(range(256)) * (100 << 10)

Place = Path | PostgresAddress


def schema_in(server: PostgresServer) -> PostgresAddress:
    """The address of a new schema."""
    return PostgresAddress.parse(f"{server.url}?schema={new_schema()}")


@asynccontextmanager
async def open_log(place: Place, sealing: Sealing = NO_KEYS) -> AsyncIterator[Log]:
    """The log at a place, as its only hub has it."""
    clock = Clock()
    if isinstance(place, Path):
        async with open_sqlite_log(place, clock_us=clock, sealing=sealing) as log:
            yield log
    else:
        hub = OwnHub(token_hex(8), "", "0", "{}")
        async with open_postgres_log(place, hub, clock_us=clock, sealing=sealing) as shared:
            await shared.duties.claim(TRIM)
            yield shared


def source_at(place: Place) -> AbstractAsyncContextManager[CopySource]:
    return open_sqlite_source(place) if isinstance(place, Path) else open_postgres_source(place)


def target_at(place: Place) -> AbstractAsyncContextManager[CopyTarget]:
    return open_sqlite_target(place) if isinstance(place, Path) else open_postgres_target(place)


async def copy(source: Place, target: Place) -> Copied:
    """Copy the log from one place to the other."""
    async with source_at(source) as old, target_at(target) as new:
        return await copy_log(old, new, lambda copied, count: None)


async def fill(log: Log) -> None:
    """Store messages of all kinds, with keys and cursors, and let retention delete the oldest of both partitions."""
    drafts = [
        Draft("a", b"first"),
        Draft("/unsafe/b", b""),
        Draft("a/b", LARGE, headers=(("X-A", "\u2028\xff"), ("X-B", "\x00")), query="x=1", hops=("github",)),
        Draft("a", b"\x00\xff", once=(Once("idempotency", "a", "key", fingerprint=b"fingerprint"),)),
        Draft("/unsafe/b", b"replayed", once=(Once("replay", "/unsafe/b", "1", exclusive=False),)),
        Draft("/unsafe/b", b"verified", verified=Verified("github", "id", 5, "github")),
    ]
    await log.append(drafts, cursors={"router/github": 3})
    await log.append([], cursors={"cursor /sub/a c": Noted(4, "note"), "used /sub/a c": 1, "group /sub/a g": Noted(5)})
    retention = Retention(max_age_s=None, max_bytes=None, max_unsafe_bytes=None, max_count=2)
    while await log.trim(retention, now_us=0):
        pass


@dataclass
class Content:
    """All that hubs and listeners see of a log."""

    epoch: str
    shared: int
    """Up to where it has the messages of the log from whose backup it was restored."""
    head: int
    head_us: int
    messages: list[Message]
    holes: list[str]
    lost: list[int]
    cursors: list[SavedCursor]


async def content_of(log: Log) -> Content:
    """Everything in a log."""
    messages: list[Message] = []
    holes: list[str] = []
    after = 0
    while after < log.head:
        page = await log.read(EVERYTHING, after=after, limit=100, max_bytes=1 << 20)
        messages += page.messages
        holes += [page.hole] * bool(page.hole)
        after = page.next_after
    lost = [log.lost_up_to(TopicFilter((pattern,))) for pattern in ("", "/unsafe/")]
    return Content(
        log.epoch, log.shared_with(ANCESTOR), log.head, log.head_us, messages, holes, lost, list(await log.cursors())
    )


async def filled(place: Place) -> Content:
    """Fill a new log, and return what is in it."""
    async with open_log(place) as log:
        await fill(log)
        return await content_of(log)
