"""Other budgets for a log on disk: its messages are counted for them in steps, between which more are stored."""

import sqlite3
from collections.abc import Iterable

from . import sqlite_damage as damage
from . import sqlite_queries as queries
from .budgets import Partitions
from .sqlite_retention import count_on, save_partitions

# Messages that one step counts, in a few milliseconds; if all have different topics, in some tens.
COUNTED = 5000


class Regrouping:
    """Partitions of other budgets, of which some messages are counted. Its methods run in threads."""

    def __init__(self, partitions: Partitions, prefixes: Iterable[str]) -> None:
        self._partitions = partitions.regrouped(prefixes)
        self._counted = min(one.passed for one in partitions.by_prefix.values())
        """Position up to which they are counted."""
        self.prefixes = self._partitions.budgets.prefixes

    def count(self, connection: sqlite3.Connection, now: Partitions, *, limit: int) -> Partitions | None:
        """Count one step of the messages; the partitions in place of those `now`, when all are counted."""
        head, limit = now.head, min(limit, COUNTED)
        with queries.transaction(connection):
            counted, up_to = count_on(connection, self._partitions, after=self._counted, up_to=head, limit=limit)
            self._partitions, self._counted = counted, up_to
            if up_to < head:
                return None
            # Messages were stored meanwhile.
            regrouped = now.regrouped(self.prefixes).counting(counted.totals)
            save_partitions(connection, regrouped)
        return regrouped

    def count_past_damage(self, connection: sqlite3.Connection, now: Partitions) -> Partitions:
        """Count all messages that can be read; the partitions in place of those `now`."""
        regrouped = now.regrouped(self.prefixes)
        counted = {prefix: damage.count_again(connection, regrouped, prefix) for prefix in self.prefixes}
        regrouped = regrouped.updated(counted)
        with queries.transaction(connection):
            save_partitions(connection, regrouped)
        return regrouped
