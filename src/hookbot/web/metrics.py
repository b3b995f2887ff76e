"""Metrics: plain numbers that the hub keeps anyway, read when somebody scrapes them."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import trio

from ..access.control import AccessControl
from ..broker.broker import Broker
from ..broker.counts import Counts
from ..errors import Unavailable
from ..log.contract import Log
from ..log.histogram import Histogram
from ..log.trusted_clock import TrustedClock
from .bodies import BodyBudget
from .held_bytes import HeldBytes
from .replies import Replies
from .unauthenticated import UnauthenticatedConnections

MetricKind = Literal["counter", "gauge", "histogram"]
Labels = str | tuple[str, ...]
Read = Callable[[], float | Histogram | Mapping[Any, float]]
Load = Callable[[], Awaitable[Mapping[str, Any]]]

RouterStates = Callable[[], Sequence[Mapping[str, Any]]]
"""Function that returns the state of each router as a JSON object; `web` may not import `routers`."""

# Prometheus waits for ten seconds, and without the others.
LOAD_S = 3.0

ROUTER_GAUGES = ("lag", "hanging")
STATE = ("router", "state")
ROUTER_METRICS = {
    "lag": "Messages in the log that the router has not read yet.",
    "routed": "Messages routed.",
    "published": "Messages published by the router.",
    "failed": "Messages given up after the last retry.",
    "restarts": "Restarts after a crash.",
    "blocked": "Times that the router blocked the event loop.",
    "abandoned": "Runs abandoned because they did not end.",
    "hanging": "Abandoned runs that have not ended yet.",
}


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that can be read, or with `labels` a number for each of their values."""

    kind: MetricKind
    name: str
    help: str
    labels: Sequence[str]
    read: Read


class Metrics:
    """The metrics of one hub."""

    def __init__(self) -> None:
        self._metrics: list[Metric] = []
        self._loads: list[Callable[[], Awaitable[None]]] = []

    def __iter__(self) -> Iterator[Metric]:
        return iter(self._metrics)

    def add(self, kind: MetricKind, name: str, help: str, read: Read, *, label: Labels = ()) -> None:
        """Add the metric ``hookbot_<name>``; with a `label`, `read` returns a number for each of the label's values.

        With several, it returns a number for each tuple of their values. There must be a bound on how many that are.
        """
        labels = (label,) if isinstance(label, str) else label
        self._metrics.append(Metric(kind, f"hookbot_{name}", help, labels, read))

    def add_loaded(self, load: Load, *gauges: tuple[str, str, Labels]) -> None:
        """Add gauges, each with its name, help and label. All are read from what `load` returns, by name.

        Those that are not in it are left out. So are all, if it takes longer than `LOAD_S`, or raises `Unavailable` or
        `OSError`.
        """
        loaded: dict[str, Any] = {}

        async def reload() -> None:
            found: Mapping[str, Any] = {}
            with trio.move_on_after(LOAD_S), suppress(Unavailable, OSError):
                found = await load()
            # Without a wait in between: another scrape may be about to read it.
            loaded.clear()
            loaded.update(found)

        self._loads.append(reload)
        for name, help, label in gauges:
            self.add("gauge", name, help, partial(_loaded, loaded, name), label=label)

    async def load(self) -> None:
        """Load what somebody has to be waited for; call it before the metrics are read."""
        async with trio.open_nursery() as nursery:
            for load in self._loads:
                nursery.start_soon(load)


def hub_metrics(broker: Broker, access: AccessControl, routers: RouterStates) -> Metrics:
    """The metrics of what a hub stores, sends and refuses, and of its routers."""
    metrics = Metrics()
    counts = broker.counts
    metrics.add("counter", "published", "Messages stored.", lambda: counts.published)
    metrics.add("counter", "published_bytes", "Bytes of the bodies of stored messages.", lambda: counts.published_bytes)
    metrics.add(
        "counter",
        "duplicates",
        "Publishes that repeated a stored message and were not stored again.",
        lambda: counts.duplicates,
    )
    metrics.add("gauge", "head", "Position of the newest message.", lambda: broker.head)
    metrics.add(
        "gauge",
        "clock_jump_seconds",
        "Seconds by which the machine's clock is ahead of the time that the hub goes by; 0 while it follows.",
        lambda: broker.clock.jump_s,
    )
    _add_commits(metrics, broker)
    _add_log(metrics, broker)
    _add_deliveries(metrics, broker, access)
    _add_refusals(metrics, broker, access)
    for field, help in ROUTER_METRICS.items():
        kind: MetricKind = "gauge" if field in ROUTER_GAUGES else "counter"
        metrics.add(kind, f"router_{field}", help, partial(_by_router, routers, field), label="router")
    metrics.add("gauge", "router_state", "1 for the state of the router.", partial(_states, routers), label=STATE)
    return metrics


def _add_commits(metrics: Metrics, broker: Broker) -> None:
    counts, writer = broker.counts, broker.writer
    metrics.add("counter", "commits", "Commits of the log.", lambda: counts.commit_times.count)
    metrics.add("counter", "commit_seconds", "Seconds that commits of the log took.", lambda: counts.commit_times.sum)
    for name, help, histogram in (
        ("store_duration_seconds", "Seconds from a publish to the end of its commit.", counts.store_times),
        ("commit_duration_seconds", "Seconds that a commit took.", counts.commit_times),
        ("sync_duration_seconds", "Seconds of a commit that the disk took.", broker.log.sync_times),
        ("batch_messages", "Messages that a commit stored.", counts.batch_messages),
        ("line_length", "Submissions that waited when a commit began, its own included.", counts.line_lengths),
    ):
        metrics.add("histogram", name, help, partial(_same, histogram))
    waiting = "Submissions that wait to be stored"
    metrics.add("gauge", "waiting_publishes", f"{waiting}.", lambda: writer.waiting[0] + broker.flow.held)
    metrics.add(
        "gauge", "waiting_bytes", "Bytes of those that nothing but the log holds up.", lambda: writer.waiting[1]
    )


def _add_log(metrics: Metrics, broker: Broker) -> None:
    log = broker.log
    for name, help, field in (
        ("log_messages", "Messages in the log.", "messages"),
        ("log_bytes", "Bytes of the messages in the log, as retention counts them.", "size"),
    ):
        metrics.add("gauge", name, help, partial(_used, log, field, 1), label="prefix")
    oldest = "Time of the oldest message in the log; 0 if there is none."
    metrics.add("gauge", "log_oldest_timestamp_seconds", oldest, partial(_used, log, "oldest_us", 1e-6), label="prefix")
    metrics.add("counter", "trimmed", "Messages that retention has deleted.", lambda: log.trimmed)


def _add_deliveries(metrics: Metrics, broker: Broker, access: AccessControl) -> None:
    counts, active = broker.counts, access.active
    metrics.add("counter", "delivered", "Messages sent to subscribers.", lambda: counts.delivered)
    for name, help, field in (
        ("sent_messages", "Messages sent to subscribers.", "messages"),
        ("sent_bytes", "Bytes of their frames.", "bytes"),
    ):
        metrics.add("counter", name, help, partial(_delivered, counts, field), label="format")
    waited = "Seconds from a publish until a subscriber that waited for it was sent it."
    metrics.add("histogram", "tell_duration_seconds", waited, lambda: counts.tell_times)
    metrics.add("counter", "gaps", "Gaps that subscribers were told of.", lambda: counts.gaps, label="reason")
    metrics.add("gauge", "subscribers", "Active subscriptions.", lambda: len(active))
    metrics.add("gauge", "subscriptions", "Active subscriptions.", lambda: active.by_format, label="format")


def _add_refusals(metrics: Metrics, broker: Broker, access: AccessControl) -> None:
    counts = broker.counts
    metrics.add("counter", "refused", "Requests answered with an error status.", lambda: counts.refused, label="status")
    refusals = "Requests refused or failed."
    metrics.add("counter", "refusals", refusals, lambda: counts.refused_because, label="reason")
    for field, help in (
        ("accepted", "Genuine deliveries."),
        ("duplicates", "Genuine deliveries that were seen before."),
        ("refused", "Requests that were refused."),
    ):
        metrics.add("counter", f"source_{field}", help, partial(_by_source, access, field), label="source")
    last = "Time of the last genuine delivery that is known."
    times = partial(_accepted_times, access, broker.clock)
    metrics.add("gauge", "source_last_accepted_timestamp_seconds", last, times, label="source")


def add_limits(
    metrics: Metrics, bodies: BodyBudget, held: HeldBytes, unauthenticated: UnauthenticatedConnections
) -> None:
    """Add the metrics of what the hub holds for untrusted clients, and refuses them."""
    metrics.add("gauge", "held_bytes", "Bytes that wait for slow subscribers.", lambda: held.size)
    metrics.add("gauge", "stalled_subscribers", "Subscribers that have not taken what was sent.", lambda: len(held))
    metrics.add("counter", "cut_subscribers", "Slow subscribers cut off for memory.", lambda: held.cut)
    metrics.add("gauge", "body_bytes", "Bytes of bodies received but not answered yet.", lambda: bodies.held_bytes)
    metrics.add(
        "counter",
        "bodies_refused",
        "Bodies refused because they were too slow or took too much memory.",
        lambda: bodies.refused,
        label="reason",
    )
    metrics.add(
        "gauge",
        "unauthenticated_connections",
        "Connections that have shown no token or signature.",
        lambda: unauthenticated.count,
    )
    metrics.add(
        "counter",
        "connections_refused",
        "Connections refused because their address had too many of these.",
        lambda: unauthenticated.refused,
    )
    metrics.add(
        "counter",
        "connections_evicted",
        "Connections ended to make room for others.",
        lambda: unauthenticated.evicted,
    )


def add_replies(metrics: Metrics, replies: Replies) -> None:
    """Add the metrics of senders that wait for a reply, and of listeners that give some."""
    metrics.add("gauge", "waiting_senders", "Senders that wait for a reply.", lambda: replies.waiting)
    waits = "Senders that have waited for a reply, by what has ended that."
    metrics.add("counter", "reply_waits", waits, lambda: replies.waits, label="outcome")
    metrics.add("histogram", "reply_duration_seconds", "Seconds until a reply came.", partial(_same, replies.times))
    metrics.add("counter", "replies", "Replies of listeners.", lambda: replies.given, label="outcome")


def _loaded(loaded: Mapping[str, Any], name: str) -> Any:
    return loaded.get(name, {})


def _same(histogram: Histogram) -> Histogram:
    return histogram


def _used(log: Log, field: str, unit: float) -> Mapping[str, float]:
    return {prefix: getattr(used, field) * unit for prefix, used in log.usage().items()}


def _delivered(counts: Counts, field: str) -> Mapping[str, float]:
    return {format: getattr(delivered, field) for format, delivered in counts.delivered_in.items()}


def _by_source(access: AccessControl, field: str) -> Mapping[str, float]:
    return {source.topic: getattr(source.activity, field) for source in access.sources}


def _accepted_times(access: AccessControl, clock: TrustedClock) -> Mapping[str, float]:
    now_s, monotonic_s = clock() / 1e6, clock.monotonic_s
    known = {source.topic: source.activity.last_accepted_s for source in access.sources}
    return {topic: now_s - (monotonic_s - at_s) for topic, at_s in known.items() if at_s is not None}


def _by_router(routers: RouterStates, field: str) -> Mapping[str, float]:
    return {one["name"]: one[field] for one in routers()}


def _states(routers: RouterStates) -> Mapping[tuple[str, str], float]:
    return {(one["name"], one["state"]): 1 for one in routers()}
