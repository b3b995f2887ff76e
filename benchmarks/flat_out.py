"""Publishing as fast as a contestant answers: rate, CPU time and latencies."""

from dataclasses import dataclass
from statistics import quantiles

from benchmarks.processes import Meter, Process, settle
from benchmarks.room import Published, Room
from benchmarks.samples import Values
from benchmarks.supply import MOST_PER_S, Supply


@dataclass(frozen=True)
class FlatOut:
    """Result of a run."""

    published: Published
    wall_s: float
    cpu_s: float
    load: Values
    """``generator``, its load, and ``refused``, the number of publishes."""

    @property
    def per_s(self) -> float:
        """Publishes per second."""
        return self.published.messages / self.wall_s

    @property
    def cpu_us(self) -> float:
        """CPU time of the contestant for each publish, in microseconds."""
        return self.cpu_s / self.published.messages * 1e6

    def latencies(self, last: float = 1.0) -> Values:
        """Percentiles of the deliveries in the `last` part of the run."""
        delays_s = self.published.delivered_s
        return percentiles(delays_s[int(len(delays_s) * (1 - last)) :])


def flat_out(
    process: Process,
    room: Room,
    supply: Supply,
    seconds: float,
    *,
    sampled: bool = False,
    most_per_s: int = MOST_PER_S,
) -> FlatOut:
    """Publish for `seconds`, wait until everything is received and the contestant is idle."""
    # Warm up.
    room.publish_for(seconds / 10, supply)
    supply.prepare(seconds, most_per_s)
    meter, refused = Meter(process), room.refused
    published = room.publish_for(seconds, supply, sampled=sampled)
    wall_s, generator = meter.wall_s, meter.generator
    # What the contestant does later belongs to the cost, such as remembering what was routed.
    settle([process])
    return FlatOut(published, wall_s, meter.cpu_s, {"generator": generator, "refused": room.refused - refused})


def percentiles(delays_s: list[float]) -> Values:
    """Median and 99th percentile of latencies, in milliseconds."""
    cuts = quantiles(delays_s, n=100, method="inclusive")
    return {"ms, p50": cuts[49] * 1e3, "ms, p99": cuts[98] * 1e3}
