"""Figures that are loaded for a scrape: of cursors and groups, and of the hubs that share a log."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hookbot.access.tokens import make_token
from hookbot.alerts.marks import MARK, Mark
from hookbot.alerts.subjects import Subject
from hookbot.errors import Unavailable
from hookbot.log.duties import HubInfo
from hookbot.protocol.since import FromOldest
from hookbot.web.figures import NAMED_CONSUMERS, add_consumers, add_family
from hookbot.web.metrics import Metrics
from hookbot.web.prometheus import render
from support import KEY, SECRET
from support.alerts import until_watched
from support.consumers import WorkingLog, open_hub, take
from support.hubs import open_whole_hub
from support.metrics import Shown, scrape


async def shown_by(metrics: Metrics) -> Shown:
    await metrics.load()
    return Shown(render(metrics).decode())


async def test_shown_is_how_far_cursors_and_groups_are_behind() -> None:
    metrics = Metrics()
    async with open_hub(WorkingLog()) as hub:
        add_consumers(metrics, hub.consumers)
        await hub.publish("t", "other", "t")
        async with hub.open(cursor="c", since=FromOldest()) as consumer, hub.open(group="g"):
            await take(consumer, 2)
            shown = await shown_by(metrics)

    assert shown['hookbot_consumers{kind="cursor"}'] == shown['hookbot_consumers_connected{kind="group"}'] == 1
    assert shown['hookbot_consumers_unacked_messages{kind="cursor"}'] == 2
    assert shown['hookbot_consumers_behind_messages{kind="cursor"}'] == 2
    assert shown['hookbot_consumer_behind_messages{kind="cursor",name="c",path="/sub/t"}'] == 2
    assert shown['hookbot_consumers_behind_messages{kind="group"}'] == 0
    assert 'hookbot_consumer_behind_seconds{kind="group",name="g",path="/sub/t"}' not in shown


async def test_only_those_furthest_behind_are_named() -> None:
    metrics = Metrics()
    async with open_hub(WorkingLog()) as hub:
        add_consumers(metrics, hub.consumers)
        for number in range(NAMED_CONSUMERS + 1):
            async with hub.open(cursor=f"c{number}"):
                pass
            await hub.publish("t")
        shown = await shown_by(metrics)

    named = [sample.labels["name"] for sample in shown.samples if sample.name == "hookbot_consumer_behind_messages"]
    assert len(named) == NAMED_CONSUMERS
    assert f"c{NAMED_CONSUMERS}" not in named
    assert shown['hookbot_consumers{kind="cursor"}'] == NAMED_CONSUMERS + 1


class Hubs:
    """A log with these hubs, or one that fails."""

    epoch, head = "abcdefgh", 7

    def __init__(self, hubs: Sequence[HubInfo] | None) -> None:
        self.duties: Any = self
        self._hubs = hubs

    def find(self, name: str) -> None:
        return None

    async def hubs(self) -> Sequence[HubInfo]:
        if self._hubs is None:
            raise Unavailable("gone")
        return self._hubs


def hub(configuration: str, seen_ago_s: float = 0.0) -> HubInfo:
    return HubInfo(configuration, "", "1", f'{{"key": "{configuration}"}}', 0, seen_ago_s, 5, ())


@pytest.mark.parametrize(
    ("hubs", "number", "differing"),
    [([], 0, 0), ([hub("a"), hub("a"), hub("b")], 3, 1), ([hub("b", 3600), hub("a")], 1, 0)],
)
async def test_shown_are_the_hubs_alive_and_those_that_are_configured_otherwise(
    hubs: Sequence[HubInfo], number: int, differing: int
) -> None:
    metrics, log = Metrics(), Hubs(hubs)
    add_family(metrics, log)  # type: ignore[arg-type]

    shown = await shown_by(metrics)

    assert (shown["hookbot_hubs"], shown["hookbot_hubs_differing"], shown["hookbot_trims"]) == (number, differing, 0)


async def test_what_cannot_be_loaded_is_left_out_and_the_rest_is_shown() -> None:
    metrics, log = Metrics(), Hubs(None)
    add_family(metrics, log)  # type: ignore[arg-type]

    shown = await shown_by(metrics)

    assert "hookbot_hubs" not in shown
    assert shown["hookbot_trims"] == 0


async def test_shown_is_what_is_used_of_quotas_and_what_they_have_refused(tmp_path: Path) -> None:
    text = '[quotas."team/"]\npublishes = "2/h"\ncursors = 3\n'
    async with open_whole_hub(tmp_path, text) as hub:
        for _ in range(3):
            await hub.post("/pub/team/x", token=make_token(KEY, "/pub/"))
        async with hub.listen("/sub/team/x?cursor=c", "v1"):
            answer = await hub.http.get("/metrics", headers={"Authorization": f"Bearer {make_token(KEY, '/metrics')}"})
    shown = Shown(answer.text)

    for kind, limit, used, refused in (("publishes", 2, 2, 1), ("cursors", 3, 1, 0)):
        labels = f'{{kind="{kind}",prefix="team/"}}'
        assert shown[f"hookbot_quota_limit{labels}"] == limit
        assert round(shown[f"hookbot_quota_used{labels}"]) == used
        assert shown[f"hookbot_quota_refused_total{labels}"] == refused
    assert shown['hookbot_refusals_total{reason="quota_reached"}'] == 1


async def test_shown_is_which_source_is_silent_and_which_alert_is_firing(tmp_path: Path) -> None:
    sources = "".join(
        f'[[sources]]\ntopic = "/unsafe/{name}/"\nprovider = "github"\nsecrets = ["{SECRET}"]\n{more}\n'
        for name, more in (("shop", 'expect_every = "1d"'), ("forge", 'expect_every = "2d"'), ("other", ""))
    )
    alerts = '[[alerts]]\ngroup = "g"\npath = "/sub/x"\nbehind = 1\n'
    silent = Subject("source", "/unsafe/shop/")
    async with open_whole_hub(tmp_path, sources + alerts) as hub:
        await until_watched(hub.running.broker)
        mark = Mark(1, silent.firing(1, "it is silent"))
        await hub.running.broker.commit([], cursors={MARK + silent.key: mark.noted})
        await hub.deliver("github", "/unsafe/pub/forge/x")
        shown = await scrape(hub.http)

    assert shown['hookbot_source_silent{source="/unsafe/shop/"}'] == 1
    assert shown['hookbot_source_silent{source="/unsafe/forge/"}'] == 0
    assert len(shown.all("hookbot_source_silent")) == 2
    assert shown['hookbot_alert_firing{kind="group",name="g",path="/sub/x"}'] == 0
    [accepted] = shown.all("hookbot_source_last_accepted_timestamp_seconds")
    assert accepted == pytest.approx(hub.clock_us() / 1e6, abs=60)
