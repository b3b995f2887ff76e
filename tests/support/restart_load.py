"""Load on a hub that is restarted: a program that publishes in each way and listens, and reports what became of it.

    python -m support.restart_load PORT

It prints a line for each hundred messages that were accepted. Once standard input ends, it sends no more, waits until
everything was heard, and prints a report as JSON.
"""

import json
import select
import sys
from collections import Counter

import trio

import hookbot
from hookbot.access.tokens import make_token
from hookbot.backoff import Backoff
from hookbot.client import Timing
from support import GUARD_S, KEY
from support.clients import Client, connect, post

TOPIC = "load"
STEP = 100
# Of the client library: it waits as long before it reconnects.
TIMING = Timing(backoff=lambda: Backoff(0.05, 0.1))


class Load:
    """Publishers and a listener, and what they have seen."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.accepted: set[str] = set()
        self.unanswered: dict[str, list[str]] = {}
        """Requests without an answer, by what happened to the connection."""
        self.refused: Counter[str] = Counter()
        self.heard: Counter[str] = Counter()
        self.gaps: list[str] = []
        self.longest_s = 0.0
        self.ending = False
        self._more = trio.Event()

    def url_of(self, way: str) -> str:
        path = f"/{way}/{TOPIC}"
        return f"http://{make_token(KEY, path)}@127.0.0.1:{self.port}{path}"

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            listening = trio.CancelScope()
            await nursery.start(self._listen, listening)
            async with trio.open_nursery() as publishing:
                for n in range(3):
                    publishing.start_soon(self._publish_anew, f"anew-{n}")
                    publishing.start_soon(self._publish_again, f"kept-{n}", 0)
                    publishing.start_soon(self._publish_again, f"paused-{n}", 0.02)
                    publishing.start_soon(self._publish_again, f"seldom-{n}", 1)
                publishing.start_soon(self._publish_by_library, "library")
                await self._wait_for_the_end()
                self.ending = True
            with trio.move_on_after(GUARD_S):
                while not self.accepted <= self.heard.keys():
                    await self._more.wait()
            listening.cancel()

    async def _wait_for_the_end(self) -> None:
        async with trio.lowlevel.FdStream(sys.stdin.fileno()) as stdin:
            while await stdin.receive_some():
                """Nobody writes."""

    async def _listen(self, scope: trio.CancelScope, *, task_status: trio.TaskStatus[None]) -> None:
        with scope:
            async with hookbot.listen(self.url_of("sub"), timing=TIMING) as messages:
                task_status.started()
                async for message in messages:
                    if isinstance(message, hookbot.Gap):
                        self.gaps.append(str(message))
                    else:
                        self.heard[message.body.decode()] += 1
                        self._more.set()
                        self._more = trio.Event()

    def _count(self, body: str, status: int, began: float) -> None:
        self.longest_s = max(self.longest_s, trio.current_time() - began)
        if status != 200:
            self.refused[str(status)] += 1
            return
        self.accepted.add(body)
        if len(self.accepted) % STEP == 0:
            print(len(self.accepted), flush=True)

    async def _publish_anew(self, name: str) -> None:
        """Publish, with a connection for each message."""
        n = 0
        while not self.ending:
            n += 1
            await self._ask(None, f"{name}-{n}")

    async def _publish_again(self, name: str, pause_s: float) -> None:
        """Publish over a connection until the hub closes it."""
        client: Client | None = None
        n = 0
        while not self.ending:
            n += 1
            client = await self._ask(client, f"{name}-{n}")
            await trio.sleep(pause_s)
        if client:
            await trio.aclose_forcefully(client.stream)

    async def _ask(self, client: Client | None, body: str) -> Client | None:
        """Publish over this connection or a new one, and return it if it can be used again."""
        began = trio.current_time()
        kind = body.partition("-")[0]
        if client is None or await _is_closed(client):
            try:
                client = await connect(self.port)
            except OSError as error:
                self.refused[f"{kind}: {error}"] += 1
                return None
        try:
            headers = ["Connection: close"] if kind == "anew" else []
            await client.send(post(f"/pub/{TOPIC}", body.encode(), *headers))
            answer = await client.answer()
        except (trio.BrokenResourceError, AssertionError) as error:
            self.unanswered.setdefault(f"{kind}: {type(error).__name__}", []).append(body)
            await trio.aclose_forcefully(client.stream)
            return None
        self._count(body, answer.status, began)
        if answer.headers.get("connection") != "close":
            return client
        await trio.aclose_forcefully(client.stream)
        return None

    async def _publish_by_library(self, name: str) -> None:
        url, n = self.url_of("pub"), 0
        while not self.ending:
            n += 1
            began = trio.current_time()
            await hookbot.publish(url, f"{name}-{n}".encode())
            self._count(f"{name}-{n}", 200, began)

    def report(self) -> str:
        unsure = {body for bodies in self.unanswered.values() for body in bodies}
        return json.dumps(
            {
                "accepted": len(self.accepted),
                "refused": dict(self.refused),
                "unanswered": self.unanswered,
                "stored_without_an_answer": sorted(unsure & self.heard.keys()),
                "lost": sorted(self.accepted - self.heard.keys()),
                "doubled": sorted(body for body, times in self.heard.items() if times > 1),
                "gaps": self.gaps,
                "longest_s": self.longest_s,
            }
        )


async def _is_closed(client: Client) -> bool:
    """True if the hub has closed a connection that is not in use; HTTP libraries look before they send."""
    readable, _, _ = select.select([client.transport.socket.fileno()], [], [], 0)
    if readable:
        await trio.aclose_forcefully(client.stream)
    return bool(readable)


if __name__ == "__main__":
    load = Load(int(sys.argv[1]))
    trio.run(load.run)
    print(load.report())
