"""Failovers of the PostgreSQL log: positions that are left out so that none is given twice, and what was lost.

Only the hubs know what was there before, and each only what it has heard of. So each reports that to the others, and
nobody passes the place of the failover before all have done so: else it would miss a message without being told.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from .engine import ScanRange

if TYPE_CHECKING:
    from psycopg import Connection

# Positions that are left out at a failover: more than a hub can have given out that the new server does not know.
JUMP = 1_000_000
# More than are stored in a second: a dump that is restored may be old.
JUMP_PER_S = 10_000
# A hub that has not reported by then has died, too.
REPORT_S = 10

UNDECIDED = "the server has failed over, and not all hubs have told yet what was there before"

# Messages that retention has deleted were there as well.
# Replication of single tables leaves sequences out.
_LOAD_NEWEST = """
    SELECT newest, greatest(pos.last_value, newest, %s::bigint),
        greatest(extract(epoch FROM clock_timestamp()) - clock.last_value / 1000000, 0)::bigint
    FROM pos, clock,
        (
            SELECT greatest(
                (SELECT max(position) FROM log), (SELECT max(greatest(passed, lost)) FROM budget)
            ) AS newest
        ) stored
    """
_LEAVE_OUT = "SELECT setval('pos', %s)"
# The hubs that were there: each renews its row every few seconds.
_INSERT_FAILOVER = """
    INSERT INTO failover ("before", "after", lost_up_to, unheard, until) VALUES (
        %s, %s, %s,
        ARRAY(SELECT id FROM hub WHERE until > (SELECT max(until) FROM hub) - interval '10 seconds' AND NOT %s),
        clock_timestamp() + make_interval(secs => %s)
    )
    """
_REPORT = """
    UPDATE failover SET unheard = array_remove(unheard, %(hub)s::text),
        lost_up_to = CASE WHEN %(told)s < "before" - 1 THEN greatest(lost_up_to, %(told)s) ELSE lost_up_to END
    WHERE %(hub)s = ANY(unheard) OR "after" < %(told)s AND "before" - 1 > %(told)s AND lost_up_to < %(told)s
    """
_LOAD_FAILOVERS = """
    SELECT "before", "after", lost_up_to, unheard <> '{}' AND until > clock_timestamp() FROM failover ORDER BY "before"
    """


class History(NamedTuple):
    """History of a server's data. In another one, positions may be free that were given out in this one."""

    system: int
    """Number of a cluster and of all its replicas, but not of one into which a dump was restored."""
    timeline: int
    """Grows with each failover to a replica."""


@dataclass(frozen=True, slots=True)
class Failover:
    """Positions between `after` and `before`: they may have been given out before a failover, and never are again.

    Messages up to `lost_up_to` are known to be lost; none is if it equals `after`.
    """

    before: int
    after: int
    lost_up_to: int
    awaits_reports: bool = False
    """True while a hub that may know more has not reported."""

    @property
    def is_lossy(self) -> bool:
        """True if messages are known to be lost."""
        return self.lost_up_to > self.after

    @property
    def is_open(self) -> bool:
        """True while it is not known whether messages were lost."""
        return self.awaits_reports and not self.is_lossy


@dataclass(frozen=True, slots=True)
class Failovers:
    """All failovers of a log, in the order of their positions."""

    failovers: tuple[Failover, ...] = ()

    @property
    def is_open(self) -> bool:
        """True while of one it is not known whether messages were lost."""
        return any(failover.is_open for failover in self.failovers)

    def at(self, position: int) -> Failover | None:
        """The failover between a position and the next message, if there is one."""
        for failover in self.failovers:
            if failover.after <= position < failover.before - 1:
                return failover
        return None

    def hole_after(self, position: int) -> Failover | None:
        """The failover in which messages after a position were lost, before any that is still there."""
        failover = self.at(position)
        return failover if failover and (failover.is_lossy or position > failover.after) else None

    def first_after(self, position: int) -> Failover | None:
        """The first failover that leaves out a position after this one."""
        return next((one for one in self.failovers if position < one.before - 1), None)

    def around(self, scan: ScanRange) -> ScanRange:
        """The part of a range before the first failover that lost messages, and not ending amid the hole of another."""
        for failover in self.failovers:
            if scan.low <= failover.after < scan.end:
                if failover.is_lossy:
                    return replace(scan, high=min(scan.high, failover.after), end=failover.after)
                scan = replace(scan, end=max(scan.end, failover.before - 1))
        return scan


def record_failover(connection: "Connection[Any]", told: int, *, from_copy: bool) -> int:
    """Let positions continue far behind the newest one, under the lock, and return the last that is left out.

    `told` was given out by a hub. `from_copy` if the data is a copy of the log, as from a dump: it may be much older,
    and the hubs of that log do not come here, so something is taken to be lost.
    """
    [(newest, last, age_s)] = connection.execute(_LOAD_NEWEST, (told,)).fetchall()
    left_out = int(last) + JUMP + (age_s * JUMP_PER_S if from_copy else 0)
    connection.execute(_LEAVE_OUT, (left_out,))
    lost_up_to = left_out if from_copy else newest
    connection.execute(_INSERT_FAILOVER, (left_out + 1, newest, lost_up_to, from_copy, REPORT_S))
    return left_out


def report(connection: "Connection[Any]", hub: str, told: int) -> None:
    """Report that a hub has heard of messages up to `told`: those that the log does not have any more were lost."""
    connection.execute(_REPORT, {"hub": hub, "told": told})


def load_failovers(connection: "Connection[Any]") -> Failovers:
    """All failovers."""
    return Failovers(tuple(Failover(*row) for row in connection.execute(_LOAD_FAILOVERS)))
