"""Room for cursors and groups: how many a path may have, and each limit under which it falls."""

from collections.abc import Callable, Collection
from typing import Protocol

from ..errors import Refused
from ..protocol.topics import TopicFilter
from .claims import ConsumerId

# Each costs memory and two rows in the log until 30 days after its last use: clients may not create any number.
MAX_PER_PATH = 100


class CursorLimit(Protocol):
    """Limit on the cursors and groups of some paths."""

    def check_cursor(self, paths: Collection[str]) -> None:
        """Raise `Refused` if there may not be another one of its paths, beside those that have these."""


LimitsOf = Callable[[TopicFilter], Collection[CursorLimit]]
"""Function for the limits under which the cursors and groups of a filter fall."""


def no_limits(wanted: TopicFilter) -> Collection[CursorLimit]:
    """No limits, for any filter."""
    return ()


def check_room(id: ConsumerId, others: Collection[ConsumerId], limits_of: LimitsOf) -> None:
    """Raise `Refused` if there is no room for another cursor or group beside these."""
    paths = [other.path for other in others]
    if paths.count(id.path) >= MAX_PER_PATH:
        raise Refused(f"{id.path!r} has {MAX_PER_PATH} cursors and groups already; delete one of them first")
    for limit in limits_of(id.wanted):
        limit.check_cursor(paths)
