"""The alerts of a hub over HTTP, while they are fired and resolved by what really happens there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from hookbot.access.tokens import make_token
from hookbot.hub.opening import open_log
from hookbot.log.postgres_address import PostgresAddress
from hookbot.protocol.message import wall_clock_us
from support import KEY, SECRET
from support.alerts import fall_silent, until_watched
from support.api import bearer, open_api
from support.clock import Clock
from support.hubs import WholeHub, configured, envelope
from support.postgres import PostgresServer, new_schema

PATH = "/hookbot/v1/alerts"
WATCHED = f"""
[[sources]]
topic = "/unsafe/shop/"
provider = "github"
secrets = ["{SECRET}"]
expect_every = "1d"

[[alerts]]
cursor = "mirror"
path = "/sub/orders/"
behind = 2
for = "10m"
"""


ROUTER = """
[routers.pager]
router = "filter"
reads = ["hookbot/alerts/"]
topic = "paged"
body = "join(' ', [body.state, body.name])"
"""


async def listed(hub: WholeHub, path: str = "/") -> list[dict[str, Any]]:
    answer = await hub.http.get(PATH, headers=bearer(path))
    found: list[dict[str, Any]] = answer.raise_for_status().json()["alerts"]
    return found


async def until(hub: WholeHub, done: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """The alerts, as soon as they are as they should be."""
    while not done(found := await listed(hub)):
        await trio.sleep(0.01)
    return found


async def test_what_is_firing_is_listed_until_it_is_resolved_and_both_are_messages(tmp_path: Path) -> None:
    clock = Clock()
    async with open_api(tmp_path, text=WATCHED, clock=clock) as hub, hub.listen("/sub/hookbot/alerts/", "v1") as told:
        await hub.deliver("github", "/unsafe/pub/shop/x")
        async with hub.listen("/sub/orders/?cursor=mirror", "v1"):
            pass
        assert await listed(hub) == []
        clock.skip(seconds=1)
        for _ in range(2):
            await hub.post("/pub/orders/x", token=make_token(KEY, "/pub/orders/"))
        clock.skip(days=1.1)
        while len(both := await listed(hub)) < 2:
            # Whenever a look has begun the ten minutes.
            clock.skip(seconds=60)
        await hub.deliver("github", "/unsafe/pub/shop/x", b"[]")
        rest = await until(hub, lambda found: len(found) == 1)
        messages = [envelope("v1", await told.take() or b"") for _ in range(3)]

    assert [(one["kind"], one["name"]) for one in both] == [("source", "/unsafe/shop/"), ("cursor", "mirror")]
    assert rest == both[1:]
    bodies = [json.loads(message["body"]) for message in messages]
    assert [message["topic"] for message in messages] == [
        f"hookbot/alerts/{name}" for name in ("source/unsafe/shop", "cursor/mirror", "source/unsafe/shop")
    ]
    assert [body["state"] for body in bodies] == ["firing", "firing", "resolved"]
    assert bodies[:2] == both


async def test_a_router_may_read_alerts(tmp_path: Path) -> None:
    clock, text = Clock(), WATCHED + ROUTER
    async with (
        open_api(tmp_path, text=text, clock=clock, routers=("pager",)) as hub,
        hub.listen("/sub/paged", "v1") as listener,
    ):
        await until_watched(hub.running.broker)
        clock.skip(days=1.1)
        message = envelope("v1", await listener.take() or b"")

    assert message["body"] == "firing /unsafe/shop/"


async def test_a_token_sees_only_alerts_about_its_topics(tmp_path: Path) -> None:
    clock = Clock()
    async with open_api(tmp_path, text=WATCHED, clock=clock) as hub:
        await hub.deliver("github", "/unsafe/pub/shop/x")
        clock.skip(days=1.1)
        await until(hub, lambda found: len(found) == 1)

        seen = {path: len(await listed(hub, path)) for path in ("/hookbot/v1/", "/unsafe/sub/shop/", "/sub/orders/")}

    assert seen == {"/hookbot/v1/": 1, "/unsafe/sub/shop/": 1, "/sub/orders/": 0}


async def test_a_silent_source_says_since_when(tmp_path: Path) -> None:
    clock = Clock()
    async with open_api(tmp_path, text=WATCHED, clock=clock) as hub:
        await hub.deliver("github", "/unsafe/pub/shop/x")
        clock.skip(days=1.1)
        [alert] = await until(hub, lambda found: len(found) == 1)
        [source] = (await hub.http.get("/hookbot/v1/sources")).json()["sources"]

    assert (source["silent_since"], source["expect_every"]) == (alert["since"], "1d")


async def test_a_reload_changes_what_is_watched(tmp_path: Path) -> None:
    clock = Clock()
    async with open_api(tmp_path, clock=clock) as hub:
        await hub.running.reload(lambda: configured(tmp_path, WATCHED))
        await until_watched(hub.running.broker)
        clock.skip(days=1.1)
        [alert] = await until(hub, lambda found: len(found) == 1)
        await hub.running.reload(lambda: configured(tmp_path))
        await until(hub, lambda found: not found)

    assert alert["name"] == "/unsafe/shop/"


async def test_a_restarted_hub_goes_on_where_it_was(tmp_path: Path) -> None:
    clock = Clock()
    async with open_api(tmp_path, text=WATCHED, clock=clock, store="sqlite:") as hub:
        await hub.deliver("github", "/unsafe/pub/shop/x")
        await until_watched(hub.running.broker)
        clock.skip(days=1.1)
        before = await until(hub, lambda found: len(found) == 1)
    async with open_api(tmp_path, text=WATCHED, clock=clock, store="sqlite:") as hub:
        assert await listed(hub) == before
        await hub.deliver("github", "/unsafe/pub/shop/x", b"[]")
        await until(hub, lambda found: not found)

        told = [message for message in await hub.stored() if message.topic.startswith("hookbot/alerts/")]

    assert [message.json()["state"] for message in told] == ["firing", "resolved"]


@pytest.fixture
async def store(tmp_path: Path, postgres: PostgresServer) -> PostgresAddress:
    """A store of several hubs, in which a source has been silent for two days: the server has a clock of its own."""
    store = PostgresAddress.parse(f"{postgres.url}?schema={new_schema()}")
    await fall_silent(open_log(configured(tmp_path, store=store), wall_clock_us), "/unsafe/shop/")
    return store


async def test_of_hubs_that_share_a_store_one_tells_and_each_shows_it(tmp_path: Path, store: PostgresAddress) -> None:
    async with (
        open_api(tmp_path, text=WATCHED, store=store) as here,
        open_api(tmp_path, text=WATCHED, store=store) as there,
    ):
        shown = [await until(hub, lambda found: len(found) == 1) for hub in (here, there)]
        await there.deliver("github", "/unsafe/pub/shop/x")
        await until(here, lambda found: not found)
        await until(there, lambda found: not found)
        told = [message.json() for message in await here.stored() if message.topic.startswith("hookbot/alerts/")]

    assert shown[0] == shown[1] == told[:1]
    assert [one["state"] for one in told] == ["firing", "resolved"]


async def test_another_hub_goes_on_telling_when_one_is_stopped(tmp_path: Path, store: PostgresAddress) -> None:
    stop = trio.Event()

    async def tell(task_status: trio.TaskStatus[None]) -> None:
        async with open_api(tmp_path, text=WATCHED, store=store) as first:
            await until(first, lambda found: len(found) == 1)
            task_status.started()
            await stop.wait()

    async with trio.open_nursery() as nursery:
        await nursery.start(tell)
        async with open_api(tmp_path, text=WATCHED, store=store) as second:
            stop.set()
            await second.deliver("github", "/unsafe/pub/shop/x")
            await until(second, lambda found: not found)
            told = [message.json() for message in await second.stored() if message.topic.startswith("hookbot/alerts/")]

    assert [one["state"] for one in told] == ["firing", "resolved"]
