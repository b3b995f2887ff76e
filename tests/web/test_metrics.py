"""Metrics: what a hub shows of itself, read at a scrape."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from hookbot.access.senders import Standing
from hookbot.errors import TooManyRequests, Unavailable
from hookbot.log.contract import Unit
from hookbot.protocol.message import Draft
from hookbot.protocol.request import Request
from hookbot.web.bodies import BodyBudget
from hookbot.web.held_bytes import HeldBytes
from hookbot.web.metrics import ROUTER_METRICS, Metrics, add_limits, hub_metrics
from hookbot.web.prometheus import render
from hookbot.web.unauthenticated import UnauthenticatedConnections
from support.fast_path import open_fast_path


def lines(metrics: Metrics) -> list[str]:
    return render(metrics).decode().splitlines()


async def test_a_hub_shows_what_was_published_and_how_its_routers_are() -> None:
    def routers() -> Sequence[Mapping[str, Any]]:
        return [{"name": "github", "state": "running", **dict.fromkeys(ROUTER_METRICS, 3)}]

    async with open_fast_path() as hub:
        metrics = hub_metrics(hub.broker, hub.access, routers)
        await hub.publish("topic", b"hello")
        listener = await hub.listen()
        await hub.publish("topic", b"hello")
        await listener.payload()
        shown = lines(metrics)

    assert {
        "hookbot_published_total 2.0",
        "hookbot_published_bytes_total 10.0",
        "hookbot_delivered_total 1.0",
        "hookbot_commits_total 2.0",
        "hookbot_duplicates_total 0.0",
        "hookbot_head 2.0",
        "hookbot_subscribers 1.0",
        'hookbot_router_lag{router="github"} 3.0',
        'hookbot_router_restarts_total{router="github"} 3.0',
        'hookbot_router_state{router="github",state="running"} 1.0',
        "hookbot_store_duration_seconds_count 2.0",
        "hookbot_tell_duration_seconds_count 1.0",
        'hookbot_sent_messages_total{format="raw"} 1.0',
        'hookbot_sent_bytes_total{format="raw"} 7.0',
        'hookbot_subscriptions{format="raw"} 1.0',
        "hookbot_batch_messages_sum 2.0",
        'hookbot_log_messages{prefix=""} 2.0',
        'hookbot_log_messages{prefix="/unsafe/"} 0.0',
        "hookbot_waiting_publishes 0.0",
    } <= set(shown)


async def test_a_hub_shows_which_publishes_wait_and_how_they_are_refused() -> None:
    draft = Draft("topic", b"12345")
    async with open_fast_path() as hub:
        metrics = hub_metrics(hub.broker, hub.access, list)
        hub.broker.writer.submit(Unit([draft]), lambda _: None)
        waiting = lines(metrics)
        hub.services.refuse(TooManyRequests("later", retry_after_s=1), Request("POST", b"/pub/a", (), ""))
        shown = lines(metrics)

    assert {"hookbot_waiting_publishes 1.0", f"hookbot_waiting_bytes {draft.size}.0"} <= set(waiting)
    assert 'hookbot_refusals_total{reason="too_many_requests"} 1.0' in shown


@pytest.mark.parametrize("failure", [Unavailable("no"), FileNotFoundError()])
async def test_what_is_loaded_is_loaded_for_each_scrape_and_left_out_while_that_fails(failure: Exception) -> None:
    async def load() -> Mapping[str, Any]:
        if not values:
            raise failure
        return {"hubs": values.pop()}

    values, metrics = [2.0, 1.0], Metrics()
    metrics.add_loaded(load, ("hubs", "Hubs.", ()))
    shown = []
    for _ in range(3):
        await metrics.load()
        shown.append([line for line in lines(metrics) if line.startswith("hookbot_hubs ")])

    assert shown == [["hookbot_hubs 1.0"], ["hookbot_hubs 2.0"], []]


async def test_what_cannot_be_loaded_in_time_holds_up_nothing_else(autojump_clock: MockClock) -> None:
    async def hang() -> Mapping[str, Any]:
        await trio.sleep_forever()

    async def load() -> Mapping[str, Any]:
        return {"hubs": 2.0}

    metrics = Metrics()
    metrics.add_loaded(hang, ("disk_free_bytes", "Bytes.", ()))
    metrics.add_loaded(load, ("hubs", "Hubs.", ()))
    await metrics.load()

    assert [line for line in lines(metrics) if line.startswith("hookbot_")] == ["hookbot_hubs 2.0"]


async def test_a_hub_shows_what_bodies_take_and_which_were_refused() -> None:
    metrics = Metrics()
    bodies = BodyBudget(10, 40)
    held = HeldBytes(10)
    held.hold("slow", b"abcd", 4, what="topic", cut=lambda: None)
    add_limits(metrics, bodies, held, UnauthenticatedConnections())
    bodies.open(None, Standing.TOKEN, "").write(b"abc")
    bodies.open(None, Standing.UNKNOWN, "").time_out()

    assert {
        "hookbot_body_bytes 3.0",
        "hookbot_held_bytes 4.0",
        "hookbot_cut_subscribers_total 0.0",
        'hookbot_bodies_refused_total{reason="slow"} 1.0',
        'hookbot_bodies_refused_total{reason="share"} 0.0',
        'hookbot_bodies_refused_total{reason="full"} 0.0',
    } <= set(lines(metrics))
