"""Hubs that have their log in one PostgreSQL, and their senders and listeners at any of them."""

import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trio

from end_to_end.crashing.hub import LAUNCHER, ROUTERS, Answers, Hub
from end_to_end.crashing.tables import Stored, check_bodies, load_head, load_stored
from hookbot.log.duties import OF_ROUTER
from hookbot.log.postgres_failovers import UNDECIDED
from hookbot.protocol.message import parse_id
from support.postgres import PostgresServer, new_schema

# A server that cannot be reached, or has just failed over, is told by an error; none has another reason.
NEVER = f" ERROR (?!.*( its log|following the log fails|{UNDECIDED}))"
NOTICES_S = 1.5
"""A hub that was frozen notices within this time that another one has gone on."""
ROUTED_S = 40  # only ever reached by a test that fails


class Cluster:
    """Two hubs; as what is `Reachable` it is either of them, another one each time.

    `server` is where their log is now, and `stores` the addresses at which each of them looks for it. The first one,
    which has all duties at the start, is started by the words of `first_launcher`.
    """

    def __init__(
        self,
        server: PostgresServer,
        directory: Path,
        *,
        database: str = "hookbot",
        stores: Sequence[str] = (),
        first_launcher: Sequence[str] = LAUNCHER,
    ) -> None:
        self.server = server
        self.answers = Answers()
        self._database = database
        self._schema = new_schema()
        one, two = (f"{url}?schema={self._schema}" for url in stores or [server.url_of(database)] * 2)
        self.hubs = [make_hub(directory / "one", one, first_launcher), make_hub(directory / "two", two, LAUNCHER)]

    @property
    def port(self) -> int:
        return self._any().port

    @property
    def life(self) -> int:
        """Another one after each start and each end of a hub."""
        return sum(hub.life + hub.kills for hub in self.hubs)

    def url(self, path: str) -> str:
        return self._any().url(path)

    def check_alive(self) -> None:
        for hub in self.hubs:
            hub.check_alive()

    def unsaved(self, at: float, life: int, later: int) -> float:
        """Either hub may have been told, or have passed it on to the other; and so much after its end is too late.

        A hub that was frozen still gives to its clients what it was about to give, and forgets what they answer.
        """
        if any(time.monotonic() - hub.thawed_at < NOTICES_S for hub in self.hubs):
            return 0
        ends = [end for hub in self.hubs for end in (*hub.ended_at.values(), hub.thawed_at)]
        return min(self.answers.tenths(*sorted([at, end])) for end in ends)

    def check_log(self) -> None:
        for hub in self.hubs:
            hub.check_log(NEVER)

    def check_integrity(self) -> None:
        check_bodies(self._execute)

    def stored(self, server: PostgresServer | None = None) -> list[Stored]:
        return load_stored(partial(self._execute, server=server))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run both hubs until the block ends; they stop in order unless it fails."""
        with ExitStack() as running:
            for hub in self.hubs:
                running.enter_context(hub.running())
                # The first one makes the schema, and has all duties.
                hub.start()
                await hub.ready()
            yield
            for hub in self.hubs:
                await hub.stop()

    def router_hub(self, router: str) -> Hub | None:
        """The hub that runs a router now."""
        return self.holder(OF_ROUTER + router)

    def holder(self, duty: str) -> Hub | None:
        """The hub that has a duty now."""
        rows = self._execute(
            "SELECT hub.url FROM duty JOIN hub ON hub.id = duty.hub WHERE duty.name = %s AND duty.until > now()",
            duty,
        )
        ports = [urlsplit(str(url)).port for [url] in rows]
        return next((hub for hub in self.hubs if hub.port in ports), None)

    async def until_routed(self) -> None:
        """Wait until the routers have routed everything."""
        with trio.fail_after(ROUTED_S):
            while await self._routed() != set(ROUTERS):
                await trio.sleep(0.1)

    async def _routed(self) -> set[str]:
        """Names of the routers that have routed all that is stored now."""
        head = load_head(self._execute)
        return {
            router["name"]
            for answer in [await hub.ask("/hookbot/v1/routers") for hub in self.hubs]
            for router in answer["routers"]
            if router["state"] == "running" and router["lag"] == 0 and parse_id(answer["head"])[1] >= head
        }

    def _execute(
        self, statement: str, *values: object, server: PostgresServer | None = None
    ) -> Sequence[Sequence[Any]]:
        return (server or self.server).execute(statement, *values, database=self._database, schema=self._schema)

    def _any(self) -> Hub:
        return random.choice([hub for hub in self.hubs if hub.is_up] or self.hubs)


class Place:
    """One hub of a cluster, for whom the other one may serve just as well."""

    def __init__(self, cluster: Cluster, hub: Hub) -> None:
        self.answers = cluster.answers
        self._cluster = cluster
        self._hub = hub

    @property
    def port(self) -> int:
        return self._hub.port

    @property
    def life(self) -> int:
        return self._cluster.life

    def url(self, path: str) -> str:
        return self._hub.url(path)

    def check_alive(self) -> None:
        self._hub.check_alive()

    def unsaved(self, at: float, life: int, later: int) -> float:
        return self._cluster.unsaved(at, life, later)


def make_hub(directory: Path, store: str, launcher: Sequence[str]) -> Hub:
    directory.mkdir()
    options: dict[str, Any] = {"--store": store}
    hub = Hub(directory, options, launcher)
    options["--advertise"] = f"http://127.0.0.1:{hub.port}"
    return hub
