"""Rooms of several contestants at once, which are then measured in turns."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from benchmarks.contestants import Contestant, Stage
from benchmarks.room import Room


@contextmanager
def rooms(
    stage: Stage, contestants: Collection[Contestant], topics: Sequence[str]
) -> Iterator[Mapping[Contestant, Room]]:
    """A room for each contestant that is present, with a subscriber to each of the topics, until the block ends."""
    with ExitStack() as stack:
        yield {
            one: stack.enter_context(Room(stage.start(one).port, one.protocol, topics))
            for one in stage.present(contestants)
        }
