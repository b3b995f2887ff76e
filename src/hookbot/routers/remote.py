"""A router in a process of its own: it listens to a remote hub, and publishes to it over HTTP.

A cursor on the hub keeps the position, and each publish carries an idempotency key made of router, message and name, so
that one repeated after a crash is stored once. A hub that has only raw frames offers neither.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import count

import httpx
import trio

from ..broker.time_slices import TimeSlice
from ..client import Gap, Publisher, listen
from ..client.address import Address
from ..client.errors import HOPELESS, PASSING, OnlyRaw
from ..client.http import open_client
from ..errors import KeyReused, Refused
from ..protocol.failures import failed_in
from ..protocol.github_metadata import parse_github_metadata
from ..protocol.message import Draft, Message
from ..protocol.publish import MAX_KEY
from ..protocol.topics import OWN, UNSAFE, TopicFilter, is_unsafe
from . import Router
from .attempts import RetryPolicy, RouterLimits, RouterStats, failed_draft
from .hub_url import HubUrl
from .runs import Run
from .supervision import Runs

PATIENCE_S = 10.0
"""Time for which a publish is retried before a warning is logged; then it is retried again."""

_FAILED = "failed/"
_RAW_ID = "raw-"

logger = logging.getLogger(__package__)


@dataclass(slots=True)
class _Job:
    message: Message
    published: Mapping[str, Draft] = field(default_factory=dict)
    done: trio.Event = field(default_factory=trio.Event)


class RemoteRunner:
    """Runner of one router against a remote hub: one message at a time, across all topics that it reads.

    A publish that the hub refuses is logged and dropped; if it refuses all of a message, the message has failed. If it
    refuses that, too, for a reason that does not depend on the message (`HOPELESS`), `run` ends.
    """

    def __init__(
        self,
        name: str,
        topics: Sequence[str],
        make: Callable[[], Awaitable[Router]],
        hub: HubUrl,
        cursor: str | None,
        limits: RouterLimits,
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.stats = RouterStats()
        self._name = name
        self._topics = topics
        self._make = make
        self._hub = hub
        self._patience_s = patience_s
        self._cursor = cursor or f"router-{name}"
        self._retries = RetryPolicy(name, limits, self.stats, TimeSlice())
        self._put, self._jobs = trio.open_memory_channel[_Job](0)
        self._job: _Job | None = None
        self._raw_ids = (f"{_RAW_ID}{number}" for number in count(1))

    async def run(self) -> None:
        """Route messages until cancelled.

        Raises `ConfigError` for an invalid CA file or proxy, and an exception group for any other final error.
        """
        async with open_client(self._hub.address, self._hub.ca_file) as client, trio.open_nursery() as nursery:
            nursery.start_soon(Runs(self._name, self._retries, self.stats).repeat, self._route_jobs)
            for address in self._hub.subscriptions(self._topics):
                nursery.start_soon(self._follow, address, client)

    async def _route_jobs(self, run: Run) -> None:
        """Route one job after the other; a job interrupted by a crash is the first of the next call."""
        async with run.entered(self._make) as router:
            self.stats.state = "running"
            while True:
                self._job = self._job or await self._jobs.receive()
                self._job.published = await self._retries.route(router, self._job.message, run)
                self._job.done.set()
                self._job = None

    async def _follow(self, address: Address, client: httpx.AsyncClient) -> None:
        try:
            await self._listen(address, client, cursor=self._cursor)
        except OnlyRaw:
            await self._listen(address, client, cursor=None)

    async def _listen(self, address: Address, client: httpx.AsyncClient, *, cursor: str | None) -> None:
        """Handle the messages of one subscription. Receiving the next one acknowledges the last."""
        async with listen(
            address.url,
            cursor=cursor,
            unsafe=True,
            headers=(*address.authorization_header(), *self._hub.headers),
            ca_file=self._hub.ca_file,
        ) as messages:
            async for item in messages:
                if isinstance(item, Gap):
                    self.stats.gaps += 1
                    logger.warning("router %s missed the messages before %s (%s)", self._name, item.before, item.reason)
                elif not self._is_its_own(item):
                    await self._handle(item if item.id else unwrap(item, next(self._raw_ids)), client)

    async def _handle(self, message: Message, client: httpx.AsyncClient) -> None:
        job = _Job(message)
        await self._put.send(job)
        await job.done.wait()
        refused: list[Refused] = []
        for name, draft in job.published.items():
            if failed_in(draft.topic) is not None:
                await self._post_failed(message, draft, client)
            elif error := await self._post(draft, self._key(message, name), client):
                refused.append(error)
        if refused and len(refused) == len(job.published):
            await self._fail(message, refused[0], client)

    async def _fail(self, message: Message, error: Refused, client: httpx.AsyncClient) -> None:
        """Post a message of which the hub has refused every publish to ``failed/<router>``."""
        self.stats.failed += 1
        stored = await self._post_failed(message, failed_draft(self._name, message, error), client)
        # A token that opens not even this topic opens nothing. The process ends; the hub's cursor keeps the message.
        if not stored and isinstance(error, HOPELESS):
            raise error

    def _is_its_own(self, message: Message) -> bool:
        return self._name in message.hops or message.topic.removeprefix(UNSAFE) == f"{_FAILED}{self._name}"

    def _key(self, message: Message, name: str) -> str | None:
        """Idempotency key of a publish; the digest of a name stands for one that does not fit into a key."""
        if message.id.startswith(_RAW_ID):
            return None
        key = f"{self._name}:{message.id}:{name}"
        if len(key) <= MAX_KEY and key.isascii() and key.isprintable() and not key.endswith(" "):
            return key
        return f"{self._name}:{message.id}:{sha256(name.encode(errors='surrogatepass')).hexdigest()}"

    async def _post_failed(self, message: Message, draft: Draft, client: httpx.AsyncClient) -> bool:
        """Post a failed message to ``failed/<router>``, since only the hub publishes beneath ``hookbot/``.

        One that had failed before is not posted: two routers must not pass their failures back and forth. Returns True
        if it is stored.
        """
        if message.topic.removeprefix(UNSAFE).startswith(_FAILED):
            return False
        draft = replace(draft, topic=draft.topic.replace(OWN, "", 1))
        return await self._post(draft, self._key(message, "failed"), client) is None

    async def _post(self, draft: Draft, key: str | None, client: httpx.AsyncClient) -> Refused | None:
        """Post a draft until it is stored; the error if it is refused and no publish with this key was stored."""
        try:
            if is_unsafe(draft.topic) and TopicFilter(tuple(self._topics)).matches(draft.topic):
                # The hub ignores the hops of unsafe messages, since anybody may publish them: a loop would never end.
                raise Refused("the router also reads this unsafe topic and would receive its own message forever")
            await self._post_until_stored(draft, key, Publisher(self._hub.publishing(draft), client, self._patience_s))
        except Refused as error:
            self.stats.error = f"{draft.topic!r} was not published: {error}"
            logger.error("router %s: %s", self._name, self.stats.error)
            return None if isinstance(error, KeyReused) else error
        return None

    async def _post_until_stored(self, draft: Draft, key: str | None, publisher: Publisher) -> None:
        while True:
            try:
                await publisher.publish(draft.body, headers=draft.headers, idempotency_key=key, hops=draft.hops)
            except PASSING as error:
                logger.warning("router %s: %s is not published yet: %s", self._name, draft.topic, error)
            else:
                return


def unwrap(message: Message, id: str) -> Message:
    """Message as it was posted, as far as a raw frame shows it. The hub does not know the new `id`."""
    message = replace(message, id=id)
    return parse_github_metadata(message) or message
