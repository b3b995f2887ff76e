"""A router in a process of its own: it listens to a hub, and posts what it publishes back to it.

A cursor on the hub remembers the place, and each post carries a key made of router, message and name, so that what is
posted again after a crash reaches nobody twice.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import httpx
import trio

from ..client import Gap, Publisher, listen
from ..client.address import Address
from ..client.errors import HOPELESS, PASSING, OnlyRaw
from ..client.publisher import open_client
from ..errors import Refused
from ..protocol.message import Draft, Message
from ..protocol.topics import OWN, UNSAFE, TopicFilter, is_unsafe
from . import Router
from .ancestor import RAW, unwrap
from .attempts import RetryPolicy, RouterLimits
from .failed import failed_in
from .loading import entered
from .record import RouterStats
from .remote import HubUrl
from .restarts import keep_running
from .turn import TimeSlice

PATIENCE_S = 10.0
"""How long a post is tried before somebody is told."""

_FAILED = "failed/"
_Errors = tuple[type[Exception], ...]

logger = logging.getLogger("hookbot.routers.outside")


@dataclass(slots=True)
class _Job:
    message: Message
    published: Mapping[str, Draft] = field(default_factory=dict)
    done: trio.Event = field(default_factory=trio.Event)


class RemoteRunner:
    """Runs a router against a remote hub: one message at a time, however many topics it reads.

    Where the hub refuses what the router publishes, that is logged, and the next message is dealt with.
    """

    def __init__(self, name: str, router: Router, remote: HubUrl, cursor: str | None, limits: RouterLimits) -> None:
        self.record = RouterStats()
        self._name = name
        self._router = router
        self._remote = remote
        self._cursor = cursor or f"router-{name}"
        self._attempts = RetryPolicy(name, limits, self.record, TimeSlice())
        self._put, self._jobs = trio.open_memory_channel[_Job](0)
        self._job: _Job | None = None

    async def run(self) -> None:
        """Until cancelled. Raises, in a group, what trying again would not change: `Refused`, above all."""
        async with open_client(self._remote.address, self._remote.ca_file) as client, trio.open_nursery() as nursery:
            nursery.start_soon(keep_running, self._name, self._route_jobs, self.record)
            for address in self._remote.subscriptions(self._router.topics):
                nursery.start_soon(self._follow, address, client)

    async def _route_jobs(self) -> None:
        """Survives in pieces: a job that was in hand when the router crashed is the first of the next call."""
        async with entered(self._router):
            self.record.state = "running"
            while True:
                self._job = self._job or await self._jobs.receive()
                self._job.published = await self._attempts.route(self._router, self._job.message)
                self._job.done.set()
                self._job = None

    async def _follow(self, address: Address, client: httpx.AsyncClient) -> None:
        try:
            await self._listen(address, client, cursor=self._cursor)
        except OnlyRaw:
            await self._listen(address, client, cursor=None)

    async def _listen(self, address: Address, client: httpx.AsyncClient, *, cursor: str | None) -> None:
        """A message is acknowledged when the next one is asked for: when all that came of it is stored."""
        async with listen(
            address.url,
            cursor=cursor,
            unsafe=True,
            headers=(*address.authorization_header(), *self._remote.headers),
            ca_file=self._remote.ca_file,
        ) as messages:
            async for item in messages:
                if isinstance(item, Gap):
                    self.record.gaps += 1
                    logger.warning("router %s missed what came before %s (%s)", self._name, item.before, item.reason)
                elif self._name not in item.hops:
                    await self._deal_with(item if item.id else unwrap(item), client)

    async def _deal_with(self, message: Message, client: httpx.AsyncClient) -> None:
        job = _Job(message)
        await self._put.send(job)
        await job.done.wait()
        for name, draft in job.published.items():
            key = None if message.id.startswith(RAW) else f"{self._name}:{message.id}:{name}"
            if failed_in(draft.topic) is None:
                # what is hopeless ends the process, and the message stays with the hub's cursor
                await self._post(draft, key, client, final=HOPELESS)
            elif not message.topic.removeprefix(UNSAFE).startswith(_FAILED):  # two must not feed on each other's
                await self._post(self._complaint(draft), key, client, final=())

    def _complaint(self, draft: Draft) -> Draft:
        """Beneath ``hookbot/`` only the hub itself may publish: what failed here goes to ``failed/<router>``."""
        return replace(draft, topic=draft.topic.replace(OWN, "", 1), hops=(*draft.hops, self._name))

    async def _post(self, draft: Draft, key: str | None, client: httpx.AsyncClient, final: _Errors) -> None:
        try:
            if is_unsafe(draft.topic) and TopicFilter(tuple(self._router.topics)).matches(draft.topic):
                raise Refused("it reads this topic itself, and a hub does not believe the hops of unsafe messages")
            await self._post_until_stored(draft, key, Publisher(self._remote.publishing(draft), client, PATIENCE_S))
        except final:
            raise
        except Refused as error:
            self.record.error = f"{draft.topic!r} was not published: {error}"
            logger.error("router %s: %s", self._name, self.record.error)

    async def _post_until_stored(self, draft: Draft, key: str | None, publisher: Publisher) -> None:
        while True:
            try:
                await publisher.publish(draft.body, headers=draft.headers, idempotency_key=key, hops=draft.hops)
            except PASSING as error:
                logger.warning("router %s: %r is not published yet: %s", self._name, draft.topic, error)
            else:
                return
