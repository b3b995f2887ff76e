"""Accidents of hubs, networks, machines and targets, in which ``forward`` and ``exec`` lose nothing."""

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from hookbot.client import publish
from hookbot.testing import open_test_hub
from hookbot.testing.hub import TestHub
from support.commands import Process, starting
from support.hubs import HubProcess
from support.targets import Target, target

pytestmark = pytest.mark.slow

QUICK = "Timing(silence_s=1.0, backoff=partial(Backoff, 0.05, 0.2))"
SUB, PUB = "/sub/a/", "/pub/a/b"


class Both:
    """``forward`` and ``exec``, each with a cursor."""

    def __init__(self, forward: Process, exec_: Process, server: Target) -> None:
        self.processes = forward, exec_
        self._exec = exec_
        self._server = server

    async def say(self, text: str, count: int = 1) -> None:
        for process in self.processes:
            await process.until(text, count=count)

    async def handle(self, *numbers: Any) -> None:
        """Wait until each of these was handled at least once by each."""
        await all_arrived(self._server, *numbers)
        while not {f"a/b | {n}".encode() for n in numbers} <= set(lines := self._exec.out.splitlines()):
            await self._exec.until("\n", "out", len(lines) + 1)

    def signal(self, number: signal.Signals) -> None:
        for process in self.processes:
            process.signal(number)


@asynccontextmanager
async def both(start: Callable[..., Any], url: str) -> AsyncIterator[Both]:
    async with target() as server:
        forward = await start("forward", "--cursor", "forward", url, server.url, timing=QUICK)
        exec_ = await start("exec", "--cursor", "exec", url, "--", "sh", "-c", "cat; echo", timing=QUICK)
        yield Both(forward, exec_, server)


def bodies(*numbers: Any) -> list[bytes]:
    return [str(n).encode() for n in numbers]


async def all_arrived(server: Target, *numbers: Any) -> None:
    while not set(bodies(*numbers)) <= {request.body for request in server.requests}:
        await server.arrived(len(server.requests) + 1)


async def publish_all(url: str, *numbers: Any) -> None:
    for body in bodies(*numbers):
        await publish(url, body)


async def test_a_hub_that_is_killed_and_started_again(tmp_path: Path) -> None:
    async with starting() as start:
        hub = HubProcess(start, tmp_path)
        await hub.start()
        async with both(start, hub.url(SUB)) as commands:
            await commands.say("listening to")
            await publish_all(hub.url(PUB), *range(5))
            await commands.handle(0, 1, 2)
            await hub.kill()
            await commands.say("trying again")
            await hub.start()
            await publish_all(hub.url(PUB), *range(5, 10))
            await commands.handle(*range(10))
            for process in commands.processes:
                assert await process.interrupted() == 130


async def test_a_machine_that_sleeps(tmp_path: Path) -> None:
    async with starting() as start:
        hub = HubProcess(start, tmp_path)
        await hub.start()
        async with both(start, hub.url(SUB)) as commands:
            await commands.say("listening to")
            await publish_all(hub.url(PUB), *range(3))
            await commands.handle(0)
            commands.signal(signal.SIGSTOP)
            await publish_all(hub.url(PUB), *range(3, 6))
            await hub.kill()  # as the network does it to a machine that sleeps for long
            await hub.start()
            await publish_all(hub.url(PUB), *range(6, 9))
            commands.signal(signal.SIGCONT)
            await commands.handle(*range(9))
            await commands.say("trying again")


class Line:
    """A relay in front of a hub. Connections that exist when it is cut stay open, and receive nothing more."""

    def __init__(self, hub: TestHub) -> None:
        host, _, port = hub.url.removeprefix("http://").partition(":")
        self._hub = host, int(port)
        self._generation = 0

    def cut(self) -> None:
        self._generation += 1

    async def serve(self, stream: trio.SocketStream) -> None:
        generation = self._generation
        async with await trio.open_tcp_stream(*self._hub) as hub, trio.open_nursery() as nursery:
            for source, sink in ((stream, hub), (hub, stream)):
                nursery.start_soon(self._relay, source, sink, generation)

    async def _relay(self, source: trio.SocketStream, sink: trio.SocketStream, generation: int) -> None:
        with suppress(trio.BrokenResourceError):
            async for data in source:
                if generation == self._generation:
                    await sink.send_all(data)


async def test_a_network_that_goes_dead_without_a_word() -> None:
    async with open_test_hub() as hub, starting() as start, trio.open_nursery() as nursery:
        line = Line(hub)
        [listener] = await nursery.start(partial(trio.serve_tcp, line.serve, 0, host="127.0.0.1"))
        port = hub.url.rpartition(":")[2]
        through = hub.url_for(SUB).replace(f":{port}", f":{listener.socket.getsockname()[1]}")
        async with both(start, f"{through}?takeover=1") as commands:  # the hub does not know that we are gone
            await commands.say("listening to")
            await publish_all(hub.url_for(PUB), 0, 1)
            await commands.handle(0, 1)
            line.cut()
            await publish_all(hub.url_for(PUB), 2, 3)
            await commands.say("nothing received from the hub for 1 s; trying again")
            await commands.say("listening to", count=3)  # one of them says that it does not
            await publish_all(hub.url_for(PUB), 4)
            await commands.handle(*range(5))
        nursery.cancel_scope.cancel()


async def test_a_target_that_is_down_for_a_while() -> None:
    async with open_test_hub() as hub, target() as server, starting() as start, trio.open_nursery() as nursery:
        process = await start("forward", "--cursor", "c", hub.url_for(SUB), server.url, timing=QUICK)
        await process.until("listening to")
        server.down()
        await publish_all(hub.url_for(PUB), *range(5))
        await process.until("Connection refused; trying again", count=3)
        await server.up(nursery)
        assert await server.arrived(5) == bodies(*range(5))
        server.answers += [500, 502, 404]
        await publish_all(hub.url_for(PUB), 5)
        assert await server.arrived(9) == bodies(*range(5), 5, 5, 5, 5)
        nursery.cancel_scope.cancel()


async def test_a_forward_that_is_killed_goes_on_with_what_was_in_hand() -> None:
    async with open_test_hub() as hub, target(204, None) as server, starting() as start:
        words = ("forward", "--cursor", "c", "--since", "all", hub.url_for(SUB), server.url)
        await publish_all(hub.url_for(PUB), *range(4))
        process = await start(*words)
        await server.arrived(2)
        process.signal(signal.SIGKILL)
        await process.ended()
        await start(*words)
        await all_arrived(server, *range(4))
        assert [request.body for request in server.requests].count(b"1") == 2
