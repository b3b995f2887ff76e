"""Connections that are cut while acknowledgements are on their way: the running client handles each message once."""

from collections import Counter, defaultdict
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import trio

from hookbot import Gap, Message, client
from hookbot.backoff import Backoff
from hookbot.client import Messages
from hookbot.testing import open_test_hub
from support.commands import starting
from support.cutting_proxy import cutting_proxy
from support.hubs import HubProcess
from support.scripted_hub import next_message

pytestmark = pytest.mark.slow

GUARD_S = 60
MESSAGES = 400
TOPICS = 7
CUTS = 40

listen = partial(client.listen, timing=client.Timing(backoff=partial(Backoff, 0.01, 0.02)))


class Handled:
    """Bodies of messages in the order in which they were handled, and whether all of them are."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, int]] = []
        self.complete = trio.Event()

    def add(self, topic: str, number: int) -> None:
        self.bodies.append((topic, number))
        if len(set(self.bodies)) == MESSAGES:
            self.complete.set()

    def check(self, *, in_order: bool = True) -> None:
        assert [body for body, times in Counter(self.bodies).items() if times > 1] == []
        assert len(self.bodies) == MESSAGES
        numbers = defaultdict(list)
        for topic, number in self.bodies:
            numbers[topic].append(number)
        if in_order:
            assert all(of_topic == sorted(of_topic) for of_topic in numbers.values())


async def handle_one_by_one(messages: Messages, handled: Handled) -> None:
    async for message in messages:
        assert isinstance(message, Message)
        handled.add(message.topic, int(message.body))


async def handle_at_once(messages: Messages, handled: Handled) -> None:
    """Eight lanes, each of which handles the messages of some topics."""

    async def work(lane: trio.MemoryReceiveChannel[Message]) -> None:
        async for message in lane:
            await trio.lowlevel.checkpoint()
            handled.add(message.topic, int(message.body))
            messages.ack(message)

    async with trio.open_nursery() as nursery:
        lanes = [trio.open_memory_channel[Message](1000) for _ in range(8)]
        for _, lane in lanes:
            nursery.start_soon(work, lane)
        async for message in messages:
            assert isinstance(message, Message)
            await lanes[hash(message.topic) % 8][0].send(message)


@pytest.mark.parametrize("seed", ["1", "2"])
@pytest.mark.parametrize(
    ("handle", "asked", "query"),
    [
        (handle_one_by_one, {"cursor": "c"}, ""),
        (handle_one_by_one, {"cursor": "c", "max_unacked": 1}, ""),
        (handle_one_by_one, {"group": "g"}, ""),
        (handle_one_by_one, {"group": "g", "max_unacked": 100}, "?key=topic"),
        (handle_at_once, {"cursor": "c", "manual_ack": True}, ""),
        (handle_at_once, {"group": "g", "manual_ack": True}, ""),
        (handle_at_once, {"group": "g", "manual_ack": True, "max_unacked": 20}, "?key=topic"),
    ],
)
async def test_however_often_the_connection_is_cut_each_message_is_handled_once_and_each_topic_in_order(
    handle: Any, asked: dict[str, Any], query: str, seed: str
) -> None:
    handled = Handled()
    with trio.fail_after(GUARD_S):
        async with open_test_hub() as hub:
            for number in range(MESSAGES):
                await hub.publish(f"a/{number % TOPICS}", str(number).encode())
            async with cutting_proxy(urlsplit(hub.url).port or 0, cuts=CUTS, seed=seed) as proxy:
                url = proxy.url(hub.url_for("/sub/a/")) + query
                async with listen(url, since="all", **asked) as messages, trio.open_nursery() as nursery:
                    nursery.start_soon(handle, messages, handled)
                    await handled.complete.wait()
                    await proxy.has_cut.wait()
                    nursery.cancel_scope.cancel()

    # Without an order, a group may be sent a later message of a topic first.
    handled.check(in_order="group" not in asked or "key" in query)


@pytest.mark.parametrize("kind", ["cursor", "group"])
async def test_what_an_operator_moves_back_to_is_handled_again(kind: str) -> None:
    received: list[Message] = []
    with trio.fail_after(GUARD_S):
        async with open_test_hub() as hub, httpx.AsyncClient() as http:
            for number in range(4):
                await hub.publish("a", str(number).encode())
            async with listen(hub.url_for("/sub/a") + f"?{kind}=c", since="all") as messages:
                async for message in messages:
                    assert isinstance(message, Message)
                    received.append(message)
                    if len(received) == 4:
                        # The last message is in hand, the others are acknowledged.
                        moved = {"path": "/sub/a", "name": "c", "kind": kind, "since": received[1].id}
                        (await http.post(hub.url_for("/hookbot/v1/cursors"), params=moved)).raise_for_status()
                    if len(received) == 6:
                        break

    assert [int(message.body) for message in received] == [0, 1, 2, 3, 2, 3]


@pytest.mark.parametrize("kind", ["cursor", "group"])
async def test_a_hub_that_has_lost_its_data_is_told_of_and_what_it_stored_meanwhile_arrives(
    kind: str, tmp_path: Path
) -> None:
    async with starting() as start:
        hub = HubProcess(start, tmp_path, "--store", "memory:")
        await hub.start()
        # Without a start: the cursor begins now, but not again at each new connection.
        async with listen(hub.url("/sub/a") + f"?{kind}=c") as messages:
            await client.publish(hub.url("/pub/a"), b"before")
            assert (await next_message(messages)).body == b"before"
            assert await hub.stop() == 0
            await hub.start()
            await client.publish(hub.url("/pub/a"), b"meanwhile")
            gap = await anext(messages)
            assert isinstance(gap, Gap)
            assert gap.reason == "other-log"
            assert (await next_message(messages)).body == b"meanwhile"
