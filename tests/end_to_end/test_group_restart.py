"""A hub that is stopped and started again: its groups handle again only what is not acknowledged."""

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import trio

from hookbot import client
from hookbot.backoff import Backoff
from hookbot.client import Messages, open_publisher
from hookbot.log.sqlite_file import FILE
from support.commands import starting
from support.hubs import HubProcess
from support.scripted_hub import next_message

pytestmark = pytest.mark.slow

GUARD_S = 60
OTHERS = [f"{number}" for number in range(300)]

listen = partial(client.listen, timing=client.Timing(backoff=partial(Backoff, 0.05, 0.2)))


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[HubProcess]:
    """A hub with messages on three topics, the first of which cannot be handled."""
    with trio.fail_after(GUARD_S):
        async with starting() as start:
            hub = HubProcess(start, tmp_path)
            await hub.start()
            await publish(hub, "stuck", "first")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(publish, hub, "a", *OTHERS[::2])
                nursery.start_soon(publish, hub, "b", *OTHERS[1::2])
            await publish(hub, "stuck", "second")
            yield hub


async def publish(hub: HubProcess, topic: str, *bodies: str) -> None:
    async with open_publisher(hub.url("/pub/t/") + topic) as publisher:
        for body in bodies:
            await publisher.publish(body)


async def handled(messages: Messages, count: int) -> list[str]:
    """Bodies of the next messages, of which those of topics that are not stuck are acknowledged."""
    bodies = []
    for _ in range(count):
        message = await next_message(messages)
        bodies.append(message.body.decode())
        if message.topic != "t/stuck":
            messages.ack(message)
    return bodies


@pytest.mark.parametrize("order", ["", "?key=topic"])
async def test_a_clean_stop_makes_a_group_handle_again_only_the_topic_that_is_stuck(
    hub: HubProcess, tmp_path: Path, order: str
) -> None:
    work_together = partial(listen, hub.url("/sub/t/") + order, group="workers", since="all", manual_ack=True)
    async with work_together() as messages:
        assert sorted(await handled(messages, 302)) == sorted([*OTHERS, "first", "second"])

        # It runs on: what it has in hand is not received again, nor what it has acknowledged.
        assert await hub.stop() == 0
        await hub.start()
        await publish(hub, "a", "after the first stop")
        assert await handled(messages, 1) == ["after the first stop"]
        await until_acked(tmp_path / FILE, 301)

    assert await hub.stop() == 0
    await hub.start()
    await publish(hub, "b", "after the second stop")
    async with work_together() as messages:
        assert await handled(messages, 3) == ["first", "second", "after the second stop"]
    assert await hub.stop() == 0


async def test_after_a_crash_too_only_the_topic_that_is_stuck_is_handled_again(hub: HubProcess, tmp_path: Path) -> None:
    work = partial(listen, hub.url("/sub/t/") + "?key=topic", group="workers", since="all", manual_ack=True)
    async with work() as messages:
        await handled(messages, 302)
        await until_acked(tmp_path / FILE, 300)
        await hub.kill()

    await hub.start()
    await publish(hub, "b", "after the crash")
    async with work() as messages:
        assert await handled(messages, 3) == ["first", "second", "after the crash"]
    assert await hub.stop() == 0


async def until_acked(file: Path, count: int) -> None:
    """Wait until so many messages beyond the position of the group are saved as acknowledged."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        acked: list[tuple[int, int]] = []
        while sum(last - first + 1 for first, last in acked) < count:
            await trio.sleep(0.05)
            [[note]] = connection.execute("SELECT note FROM cursor WHERE name LIKE 'group %'")
            acked = json.loads(note).get("acked", [])
