"""What a publish costs when many topics are subscribed: in this process, without sockets."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import trio

from hookbot.broker import open_broker
from hookbot.log import MemoryLog
from hookbot.message import Draft
from hookbot.topics import TopicFilter

from ..contestants import HOOKBOT, Stage
from ..plan import Plan
from ..samples import Cell, Sample

REFERENCES = {"µs per publish": None}
TOPIC = "a/b/c/d/e/f/g/h"
SUBTREES = [TOPIC[: 2 * depth] for depth in range(8)]
PUBLISHES_PER_S = 10_000
"""About: what is measured takes as long as the plan wants."""


def measure(stage: Stage, plan: Plan) -> Iterator[Sample]:
    """One subscribed topic, many, and many with a subtree on each level; they take turns."""
    others = [f"other/{n}" for n in range(plan.topics - 1)]
    cases = {
        ("one topic", 1): [TOPIC],
        ("one topic", plan.topics): [TOPIC, *others],
        ("subtrees on 8 levels", 8): SUBTREES,
        ("subtrees on 8 levels", plan.topics): [*SUBTREES, *others],
    }
    publishes = max(10, int(plan.seconds * PUBLISHES_PER_S))
    for round in range(plan.rounds):
        for (case, n), topics in cases.items():
            cost_s = trio.run(publish_cost_s, topics, publishes)
            yield Sample(Cell("topics", case, n, HOOKBOT.name), round, {"µs per publish": cost_s * 1e6})


async def publish_cost_s(topics: Sequence[str], publishes: int) -> float:
    """What a publish costs while all these are subscribed."""
    async with open_broker(MemoryLog()) as broker:
        with ExitStack() as stack:
            for topic in topics:
                stack.enter_context(broker.subscribe(TopicFilter.parse(topic)))
            draft = Draft(TOPIC, bytes(200))
            await broker.publish(draft)
            start = time.process_time()
            for _ in range(publishes):
                await broker.publish(draft)
            return (time.process_time() - start) / publishes
