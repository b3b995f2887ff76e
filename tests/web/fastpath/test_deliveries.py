"""All ways in which messages reach subscribers, at once: each of them gets everything once, and in order."""

import json
from random import Random

import pytest
import trio

from hookbot.broker.flow import LIGHT_BYTES
from hookbot.broker.limits import BrokerLimits
from hookbot.protocol.message import Draft, Message
from support.fast_path import SMALL, open_fast_path


async def test_who_joins_stalls_leaves_and_resumes_in_any_order_gets_everything_once_and_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # so that deliveries take several turns, and all ways to a subscriber are taken: live, prepared, one by one, stored
    monkeypatch.setattr("hookbot.web.fastpath.fanout.ROUND_COST", 30_000)
    monkeypatch.setattr("hookbot.broker.channels.LARGE_BODY", 2000)
    limits = BrokerLimits(window_messages=20, page_messages=8, frame_bytes=10_000, due_bytes=LIGHT_BYTES)
    sent: list[Message] = []

    async def publish(dice: Random) -> None:
        while len(sent) < 200:
            sizes = dice.choices((10, 1000, 5000), k=dice.randrange(1, 20))
            drafts = [Draft(dice.choice("ab"), b"x" * size) for size in sizes]
            sent.extend(message for message in await hub.broker.commit(drafts) if isinstance(message, Message))
            for _ in range(dice.randrange(10)):
                await trio.lowlevel.checkpoint()
        sent.append(await hub.publish("a", b"end"))

    async def follow(path: str, dice: Random) -> None:
        told: list[str] = []
        body = ""
        while body != "end":
            query = f"?since={told[-1] if told else 'all'}"
            buffer = dice.choice((SMALL, None))
            listener = await hub.listen(path + query, subprotocol="hookbot.v1", receive_buffer=buffer)
            left = dice.randrange(1, 100)
            while left and body != "end":
                one = json.loads(await listener.payload())
                if one["type"] == "message":
                    told.append(one["id"])
                    body = one["body"]
                left -= 1
            await listener.client.reset()
        assert told == [message.id for message in sent if path in ("/sub/", f"/sub/{message.topic}")]

    async with open_fast_path(send_buffer=SMALL, broker_limits=limits) as hub, trio.open_nursery() as nursery:
        nursery.start_soon(publish, Random(0))
        for n in range(1, 9):
            nursery.start_soon(follow, ("/sub/", "/sub/a")[n % 2], Random(n))
