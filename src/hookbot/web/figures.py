"""Figures that somebody has to be waited for: the log that counts, and the other hubs. They are loaded for a scrape."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from heapq import nlargest
from typing import Any

from ..access.control import AccessControl
from ..access.quotas import QuotaUse
from ..alerts.subjects import Subject
from ..alerts.watching import Alerts
from ..broker.broker import Broker
from ..broker.consumers import ConsumerInfo, Consumers
from ..broker.hubs import alive, describe_hubs
from ..log.contract import Log
from ..log.duties import TRIM, Family
from .metrics import Metrics

# A client may have made thousands, and each value of a label is a series that is kept for weeks.
NAMED_CONSUMERS = 20

CONSUMER = ("kind", "path", "name")
QUOTA = ("prefix", "kind")
KINDS = ("cursor", "group")


def add_consumers(metrics: Metrics, consumers: Consumers) -> None:
    """Add the metrics of cursors and groups: of all together, and of the `NAMED_CONSUMERS` that are furthest behind."""
    add = partial(metrics.add_loaded, partial(_consumers, consumers))
    add(
        ("consumers", "Cursors and groups.", "kind"),
        ("consumers_connected", "Those that are connected.", "kind"),
        ("consumers_unacked_messages", "Messages sent to them and not acknowledged.", "kind"),
        ("consumers_behind_messages", "Messages that wait for them, as far as they were counted.", "kind"),
        ("consumers_behind_seconds", "Age of the oldest message that waits for one of them.", "kind"),
        ("consumer_behind_messages", "Messages that wait for one of those furthest behind.", CONSUMER),
        ("consumer_behind_seconds", "Age of the oldest message that waits for one of those furthest behind.", CONSUMER),
    )


def add_family(metrics: Metrics, log: Log) -> None:
    """Add the metrics of the hubs that share a log."""
    metrics.add("gauge", "trims", "1 if this hub applies retention.", lambda: log.duties.find(TRIM) is not None)
    metrics.add_loaded(
        partial(_family, log),
        ("hubs", "Hubs that share the log and were heard of lately; 0 if it is not shared.", ()),
        ("hubs_differing", "Those whose configuration differs from that of the oldest.", ()),
    )


async def quota_uses(broker: Broker, access: AccessControl, consumers: Consumers) -> Sequence[QuotaUse]:
    """Use of the quotas. Raises `Unavailable` if one limits cursors, and their number is unknown."""
    paths: Sequence[str] = ()
    if any("cursors" in quota.limits for quota in access.quotas):
        await consumers.refresh()
        paths = consumers.paths()
    return list(access.quotas.uses(paths, now_s=broker.clock.monotonic_s))


def add_quotas(metrics: Metrics, broker: Broker, access: AccessControl, consumers: Consumers) -> None:
    """Add the metrics of quotas: as many as are configured."""
    metrics.add(
        "counter", "quota_refused", "Requests refused because of it.", partial(_quotas, access, "refused"), label=QUOTA
    )
    metrics.add("gauge", "quota_limit", "Limit of the quota.", partial(_quotas, access, "limit"), label=QUOTA)

    async def load() -> Mapping[str, Any]:
        uses = await quota_uses(broker, access, consumers)
        return {"quota_used": {(use.prefix, use.kind): use.used for use in uses}}

    metrics.add_loaded(load, ("quota_used", "What is used of the limit now.", QUOTA))


def add_alerts(metrics: Metrics, alerts: Alerts) -> None:
    """Add the metrics of what is watched: as much as is configured."""

    async def load() -> Mapping[str, Any]:
        firing = await alerts.firing()
        sources = [Subject("source", source.topic) for source in alerts.expecting]
        readers = [rule.subject for rule in alerts.rules]
        return {
            "source_silent": {one.name: one.key in firing for one in sources},
            "alert_firing": {(one.kind, one.path, one.name): one.key in firing for one in readers},
        }

    metrics.add_loaded(
        load,
        ("source_silent", "1 if the source has sent nothing for longer than is expected.", "source"),
        ("alert_firing", "1 if the reader is behind, by the rule of an alert.", CONSUMER),
    )


async def _consumers(consumers: Consumers) -> Mapping[str, Any]:
    await consumers.refresh()
    infos = await consumers.list()
    furthest = nlargest(NAMED_CONSUMERS, filter(_is_behind, infos), key=lambda info: (info.behind_s, info.behind))
    return {
        "consumers": _totals(infos, lambda info: 1),
        "consumers_connected": _totals(infos, lambda info: info.connected),
        "consumers_unacked_messages": _totals(infos, lambda info: info.unacked or 0),
        "consumers_behind_messages": _totals(infos, lambda info: info.behind or 0),
        "consumers_behind_seconds": {
            kind: max((info.behind_s or 0 for info in infos if info.kind == kind), default=0) for kind in KINDS
        },
        "consumer_behind_messages": {(info.kind, info.path, info.name): info.behind for info in furthest},
        "consumer_behind_seconds": {(info.kind, info.path, info.name): info.behind_s for info in furthest},
    }


async def _family(log: Log) -> Mapping[str, Any]:
    hubs = alive(await log.duties.hubs())
    described = describe_hubs(Family(log.epoch, log.head, hubs))
    return {"hubs": len(hubs), "hubs_differing": sum(bool(hub["differs"]) for hub in described)}


def _quotas(access: AccessControl, field: str) -> Mapping[tuple[str, str], float]:
    return {(use.prefix, use.kind): getattr(use, field) for use in access.quotas.uses((), now_s=0)}


def _is_behind(info: ConsumerInfo) -> bool:
    return bool(info.behind)


def _totals(infos: Sequence[ConsumerInfo], number: Callable[[ConsumerInfo], int]) -> Mapping[str, int]:
    totals = Counter(dict.fromkeys(KINDS, 0))
    for info in infos:
        totals[info.kind] += number(info)
    return totals
