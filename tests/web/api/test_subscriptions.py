"""Subscriptions of real hubs, listed and ended, with the fast path and without."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio

from hookbot.access.authorizer import Grant
from hookbot.access.client_address import TrustedProxies
from hookbot.access.narrowed_tokens import NarrowedToken
from hookbot.access.tokens import make_token
from hookbot.broker.broker import Broker, open_broker
from hookbot.log.contract import Behind
from hookbot.log.memory import MemoryLog
from hookbot.protocol.message import Draft
from hookbot.web.api import subscriptions
from support import KEY
from support.api import audited
from support.clients import Stream, WebSocket
from support.hubs import ACCEPT, FORMATS, WholeHub, open_whole_hub
from support.subscriptions import Unconnected

LIST = "/hookbot/v1/subscriptions"
V1 = "v1"


@pytest.fixture(params=[True, False], ids=["fast path", "app"])
async def hub(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[WholeHub]:
    """A hub of which a proxy in front is trusted."""
    proxies = TrustedProxies(count=1)
    async with open_whole_hub(tmp_path, door=request.param, trusted_proxies=proxies) as hub:
        yield hub


@pytest.fixture
async def listen(hub: WholeHub) -> AsyncIterator[Any]:
    """Function that returns a listener that is subscribed, until the test ends."""
    async with AsyncExitStack() as stack:

        async def listen(
            path: str, form: str = "raw", token: str | None = None, client: str = "192.0.2.1"
        ) -> WebSocket | Stream:
            headers = [("X-Forwarded-For", client)]
            listener = await stack.enter_async_context(hub.listen(path, form, token, headers))
            assert listener.status in (101, 200)
            while not any(one["client"] == client for one in (await listed(hub))["subscriptions"]):
                await trio.lowlevel.checkpoint()
            return listener

        yield listen


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def listed(hub: WholeHub, token: str = make_token(KEY, LIST), **query: Any) -> dict[str, Any]:
    response = await hub.http.get(LIST, params=query, headers=bearer(token))
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def publish(hub: WholeHub, *topics: str) -> None:
    for topic in topics:
        await hub.running.broker.publish(Draft(topic, b"x"))


def narrowed(path: str, *caveats: tuple[str, str]) -> str:
    token = NarrowedToken.of(make_token(KEY, path), path)
    for caveat in caveats:
        token = token.narrow(*caveat)
    return str(token)


@pytest.mark.parametrize("form", FORMATS)
async def test_who_listens_is_listed_and_may_be_ended(
    hub: WholeHub, listen: Any, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    token = narrowed("/sub/", ("path", "/sub/a/"), ("name", "ann"))
    listener = await listen("/sub/a/?since=all" if form != "raw" else "/sub/a/", form, token, "192.0.2.7")
    await publish(hub, "b")

    [one] = (await listed(hub))["subscriptions"]
    ended = await hub.http.delete(f"{LIST}/{one['id']}", headers=bearer(make_token(KEY, "/hookbot/v1/")))

    assert one == {
        "id": one["id"],
        "path": "/sub/a/",
        "format": form,
        "client": "192.0.2.7",
        "since": one["since"],
        "token": {"path": "/sub/", "names": ["ann"]},
        "position": one["position"],
        "behind": 0,
        "behind_more": False,
        "behind_s": 0,
    }
    assert one["since"].endswith("Z")
    assert one["position"].endswith("-000000000000001")
    assert (ended.status_code, ended.json()) == (200, {})
    if form in ACCEPT:
        assert await listener.take() is None
    else:
        assert await listener.closed() == 4001
        assert listener.protocol.close_rcvd.reason == "an operator has ended this subscription"
    while (await listed(hub))["total"]:
        await trio.lowlevel.checkpoint()
    again = await hub.http.delete(f"{LIST}/{one['id']}", headers=bearer(make_token(KEY, "/hookbot/v1/")))
    assert again.status_code == 404
    by = {"by": "/hookbot/v1/", "client": "127.0.0.1", "path": "/sub/a/", "subscriber": "192.0.2.7"}
    assert audited(caplog) == [("a subscription was ended", by)]


@pytest.mark.parametrize("kind", ["cursor", "group"])
async def test_who_acknowledges_is_listed_with_the_name_and_what_is_behind(
    hub: WholeHub, listen: Any, kind: str
) -> None:
    listener = await listen(f"/sub/a?{kind}=c&max_unacked=1", V1)
    await publish(hub, "a", "a", "b", "a")
    message = json.loads(await listener.take())

    [one] = (await listed(hub))["subscriptions"]

    assert one[kind] == "c"
    # Of a group, everything behind what is acknowledged.
    assert one["behind"] == {"cursor": 2, "group": 3}[kind]
    assert one["behind_s"] > 0
    assert message["type"] == "message"


async def test_who_waits_longest_comes_first_and_the_list_has_pages(hub: WholeHub, listen: Any) -> None:
    for number in range(3):
        await listen(f"/sub/a?cursor=c{number}&max_unacked={3 - number}", V1, client=f"192.0.2.{number}")
    await publish(hub, "a", "a", "a", "a")

    async def cursors(**query: Any) -> list[str]:
        found = await listed(hub, **query)
        assert found["total"] == 3
        return [one["cursor"] for one in found["subscriptions"]]

    while await cursors() != ["c2", "c1", "c0"]:
        await trio.lowlevel.checkpoint()
    assert await cursors(limit=1) == ["c2"]
    assert await cursors(limit=1, offset=1) == ["c1"]
    assert await cursors(offset=3) == []


async def test_subscribers_at_the_same_position_share_a_count_and_those_at_the_head_need_none(
    hub: WholeHub, listen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    behind = hub.running.broker.log.behind

    async def count(*args: Any, after: int, **options: Any) -> Behind:
        counts.append(after)
        return await behind(*args, after=after, **options)

    for number in range(3):
        await listen("/sub/a?group=g&max_unacked=1", V1, client=f"192.0.2.{number}")
    await listen("/sub/b?cursor=c&max_unacked=1", V1, client="192.0.2.8")
    await listen("/sub/c", client="192.0.2.9")
    await publish(hub, "a", "a", "a", "b", "b")
    while (await listed(hub, path="/sub/b"))["subscriptions"][0].get("behind") != 1:
        await trio.lowlevel.checkpoint()
    monkeypatch.setattr(hub.running.broker.log, "behind", count)

    everything = (await listed(hub))["subscriptions"]
    assert [one["behind"] for one in everything] == [3, 3, 3, 1, 0]
    assert counts == [0, 4]


async def test_a_request_is_shown_only_what_its_tokens_show(hub: WholeHub, listen: Any) -> None:
    everywhere = ("/sub/", "/sub/a/", "/sub/a", "/sub/a/b", "/sub/ab", "/unsafe/sub/a/")
    for number, path in enumerate(everywhere):
        await listen(path, client=f"192.0.2.{number}")

    async def paths(token: str, **query: Any) -> set[str]:
        found = await listed(hub, token, **query)
        assert found["total"] == len(found["subscriptions"])
        return {one["path"] for one in found["subscriptions"]}

    assert await paths(make_token(KEY, "/")) == set(everywhere)
    assert await paths(narrowed("/sub/", ("path", "/sub/a/"))) == {"/sub/a/", "/sub/a/b"}
    assert await paths(make_token(KEY, "/sub/a/"), path="/sub/a/") == {"/sub/a/", "/sub/a/b"}
    assert await paths(make_token(KEY, "/sub/")) == set(everywhere) - {"/unsafe/sub/a/"}
    assert await paths(make_token(KEY, "/"), path="/sub/a") == {"/sub/a"}
    assert await paths(make_token(KEY, "/"), path="/unsafe/sub/") == {"/unsafe/sub/a/"}


async def test_ending_takes_a_token_that_opens_publishing_too(hub: WholeHub, listen: Any) -> None:
    await listen("/sub/a/b")
    [one] = (await listed(hub))["subscriptions"]

    async def delete(token: str, id: str = one["id"], **query: str) -> int:
        response = await hub.http.delete(f"{LIST}/{id}", params=query, headers=bearer(token))
        return response.status_code

    assert await delete(narrowed("/sub/b/")) == 404
    assert await delete(narrowed("/sub/a/")) == 403
    assert await delete(make_token(KEY, "/sub/a/"), path="/sub/a/") == 403
    assert await delete(make_token(KEY, "/"), path="/sub/b/") == 404
    assert await delete(make_token(KEY, "/"), id="nobody") == 404
    assert await delete("wrong") == 401
    assert (await listed(hub))["total"] == 1
    assert await delete(narrowed("/", ("path", "/"))) == 200


async def test_a_wrong_parameter_is_refused(hub: WholeHub) -> None:
    for query in ({"limit": "501"}, {"offset": "-1"}, {"path": "/pub/a"}, {"topic": "a"}):
        response = await hub.http.get(LIST, params=query, headers=bearer(make_token(KEY, "/")))
        assert response.status_code in (400, 404, 405), query


async def test_others_run_while_very_many_are_looked_at() -> None:
    turns: list[int] = []

    class Noting(Unconnected):
        def skip_unwanted(self) -> int:
            looked_at.append(len(turns))
            return super().skip_unwanted()

    async def look(broker: Broker) -> None:
        many = [Noting(Grant()) for _ in range(10_000)]
        assert len(await subscriptions._find(broker, many, lambda _: True)) == len(many)
        nursery.cancel_scope.cancel()

    looked_at: list[int] = []
    async with open_broker(MemoryLog()) as broker, trio.open_nursery() as nursery:
        nursery.start_soon(look, broker)
        while True:
            turns.append(1)
            await trio.lowlevel.checkpoint()

    assert looked_at[0] < looked_at[-1]
