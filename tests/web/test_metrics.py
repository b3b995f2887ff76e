"""Metrics: what a hub shows of itself, read at a scrape."""

from collections.abc import Mapping, Sequence
from typing import Any

from hookbot.access.senders import Standing
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
        return [{"name": "github", **dict.fromkeys(ROUTER_METRICS, 3)}]

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
    } <= set(shown)


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
