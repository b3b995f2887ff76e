"""A hub for tests routes like any hub."""

from collections.abc import Sequence

import httpx

from hookbot.protocol.message import Message
from hookbot.routers import Publish
from hookbot.testing import open_test_hub


class KindRouter:
    name = "kind"
    topics: Sequence[str] = ("in/",)

    async def route(self, message: Message, publish: Publish) -> None:
        await publish(f"kind/{message.json()['kind']}", message.body)


async def test_a_test_hub_routes_what_is_posted_to_it() -> None:
    async with open_test_hub(KindRouter()) as hub, httpx.AsyncClient() as client:
        answer = await client.post(hub.url_for("/pub/in/a"), content=b'{"kind": "x"}')
        [message] = await hub.wait_for("kind/x")

    assert answer.status_code == 200
    assert (message.body, message.hops) == (b'{"kind": "x"}', ("kind",))


async def test_a_test_hub_supervises_like_any_hub() -> None:
    async with open_test_hub(KindRouter()) as hub:
        await hub.publish("in/a", b"{}")
        [failed] = await hub.wait_for("hookbot/failed/kind")

    assert failed.header("Hookbot-Failed-Error") == "KeyError: 'kind'"
