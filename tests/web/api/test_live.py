import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hookbot.access.authorizer import Authorizer
from hookbot.access.control import AccessControl
from hookbot.broker.broker import open_broker
from hookbot.log.memory import MemoryLog
from hookbot.protocol.failures import Failure
from hookbot.protocol.message import Draft, wall_clock_us
from hookbot.protocol.paths import LIVE
from hookbot.protocol.request import Request
from hookbot.web.api.admission import admit
from hookbot.web.api.filters import Filters
from hookbot.web.api.live import MAX_DRAWN, LiveView
from hookbot.web.api.operations import Asked
from hookbot.web.held_bytes import HeldBytes
from hookbot.web.streams import Streams
from support import KEY
from support.api import bearer, narrowed, open_api, publish
from support.clients import Stream, connect
from support.hubs import WholeHub


class View:
    """A live view of a client."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines

    async def take(self) -> Any:
        """The next line; None at the end."""
        line = await anext(self._lines, None)
        return None if line is None else json.loads(line)


@asynccontextmanager
async def live(hub: WholeHub, headers: Mapping[str, str] | None = None, **query: str) -> AsyncIterator[View]:
    async with hub.http.stream("GET", "/hookbot/v1/live", params=query, headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"] == "application/x-ndjson"
        view = View(response.aiter_lines())
        assert (await view.take())["type"] == "hello"
        yield view


MadeView = Callable[[Callable[[], None]], AbstractAsyncContextManager[tuple[LiveView, Any]]]


@pytest.fixture
def made_view() -> MadeView:
    """Function that makes a live view of all messages, on a hub that holds next to nothing for slow clients."""

    @asynccontextmanager
    async def make(abort: Callable[[], None]) -> AsyncIterator[tuple[LiveView, Any]]:
        access = AccessControl(Authorizer([KEY]), clock_us=wall_clock_us)
        plain = Request("GET", LIVE.encode(), tuple(bearer("/").items()))
        asked = Asked(plain, admit(access, plain), {})
        async with open_broker(MemoryLog()) as broker:
            streams = Streams(broker, access.active, inf, HeldBytes(10))
            services: Any = SimpleNamespace(broker=broker, access=access, streams=streams)
            yield LiveView(services, asked, Filters.read(asked), abort), services

    return make


async def test_new_messages_are_shown_as_they_come(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        await publish(hub, "a", 0)
        async with live(hub) as view:
            first = await publish(hub, "a", {"type": "one"})
            shown = await view.take()
            second = await publish(hub, "b", 2)
            later = await view.take()

    assert (shown["type"], shown["message"]["id"], shown["message"]["event"]) == ("message", first.id, "one")
    assert later["message"]["id"] == second.id


async def test_only_what_matches_is_shown(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub, live(hub, topic="a/", where="body.n == `2`") as view:
        for topic, n in (("a/x", 1), ("b/x", 2), ("a/y", 2)):
            await publish(hub, topic, {"n": n})

        assert (await view.take())["message"]["topic"] == "a/y"


async def test_of_many_the_newest_are_shown_and_the_others_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hookbot.web.api.live.LOOK_S", inf)
    async with open_api(tmp_path) as hub, live(hub) as view:
        stored: Any = await hub.running.broker.commit([Draft("a", b"%d" % n) for n in range(MAX_DRAWN + 7)])

        left_out = await view.take()
        shown = [await view.take() for _ in range(MAX_DRAWN)]

    assert left_out == {"type": "left_out", "number": 7}
    assert [line["message"]["id"] for line in shown] == [message.id for message in stored[7:]]


async def test_what_takes_too_long_to_look_at_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookbot.web.api.live.LOOK_S", -1)
    async with open_api(tmp_path) as hub, live(hub, text="1") as view:
        await hub.running.broker.commit([Draft("a", b"1") for _ in range(3)])

        assert await view.take() == {"type": "left_out", "number": 2}
        assert (await view.take())["type"] == "message"


async def test_a_message_for_which_an_expression_takes_too_long_is_not_shown(tmp_path: Path) -> None:
    where = f"body == `1` && ({'|'.join(['[@,@][]'] * 30)}) || topic"
    async with open_api(tmp_path) as hub, live(hub, where=where) as view:
        await publish(hub, "a", 1)
        shown = await publish(hub, "a", 2)

        assert (await view.take())["message"]["id"] == shown.id


async def test_refused_requests_are_shown_too(tmp_path: Path) -> None:
    wrong = {"Authorization": "Bearer wrong"}
    async with open_api(tmp_path) as hub, live(hub, topic="a/") as view, live(hub, event="push") as other:
        await hub.http.post("/pub/b", headers=wrong)
        await hub.http.post("/pub/a/x", headers=wrong)

        line = await view.take()
        await publish(hub, "a/y", b"", headers=(("X-GitHub-Event", "push"),))
        message = await view.take()

        assert (await other.take())["type"] == "message"

    assert (line["type"], line["refusal"]["topic"], line["refusal"]["status"]) == ("refusal", "a/x", 401)
    assert message["message"]["topic"] == "a/y"


async def test_heartbeats_tell_the_head(tmp_path: Path) -> None:
    async with open_api(tmp_path, heartbeat_s=0.01) as hub, live(hub, topic="a") as view:
        message = await publish(hub, "b")

        while (line := await view.take())["head"] != message.id:
            assert line["type"] == "heartbeat"


async def test_a_prefix_token_sees_nothing_of_its_neighbours(tmp_path: Path) -> None:
    failures = [Failure("deploy", "x", topic, "no") for topic in ("other", "acme/a")]
    async with open_api(tmp_path) as hub, live(hub, bearer("/sub/acme/")) as view:
        await publish(hub, "other", 1)
        await hub.http.post("/pub/other", headers={"Authorization": "Bearer wrong"})
        _, own = [await publish(hub, one.failed_topic, b"", headers=one.headers) for one in failures]

        assert (await view.take())["message"]["id"] == own.id

        outside = await hub.http.get("/hookbot/v1/live", params={"topic": "other"}, headers=bearer("/sub/acme/"))
        assert outside.status_code == 403


async def test_it_is_an_active_subscription(tmp_path: Path) -> None:
    async with open_api(tmp_path, max_subscribers=1) as hub, live(hub):
        [listed] = (await hub.http.get("/hookbot/v1/subscriptions")).json()["subscriptions"]
        refused = await hub.http.get("/hookbot/v1/live")

    assert (listed["path"], listed["format"]) == ("/hookbot/v1/live", "live")
    assert refused.status_code == 429


async def test_who_asks_only_for_its_head_is_not_kept_waiting(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        statuses = [(await hub.http.head(f"/hookbot/v1/{path}")).status_code for path in ("live", "session")]

    assert statuses == [405, 200]


async def test_what_its_client_does_not_read_counts_and_is_cut(made_view: MadeView) -> None:
    cut: list[str] = []
    async with made_view(lambda: cut.append("view")) as (view, services):
        held = services.streams.held
        async with aclosing(view.lines()) as lines:
            await anext(lines)
            assert held.size == 0
            await services.broker.publish(Draft("a", b""))
            line = await anext(lines)

            assert held.size == len(line)
            held.hold("another", b"more", 10, what="more", cut=lambda: cut.append("another"))
            assert cut == ["view"]
        assert held.size == 10


async def test_it_ends_with_any_of_its_tokens(tmp_path: Path) -> None:
    now_us = [1_700_000_000_000_000]
    headers = {"Authorization": f"Bearer {narrowed('/sub/', expires='1700000100')}"}
    async with open_api(tmp_path, clock=lambda: now_us[0]) as hub, live(hub, headers) as view:
        now_us[0] += 200_000_000

        assert await view.take() is None


async def test_it_ends_when_the_hub_shuts_down(tmp_path: Path) -> None:
    async with AsyncExitStack() as clients:
        async with open_api(tmp_path) as hub:
            client = await clients.enter_async_context(await connect(hub.port))
            stream = Stream(client, "/hookbot/v1/live", bearer("/").items())
            await stream.ask()
            assert (await stream.answered()).status == 200
            assert "hello" in (await stream.lines(1))[0]

        await stream.closed()
