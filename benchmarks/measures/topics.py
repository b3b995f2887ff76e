"""Cost of a publish by number of subscribed topics, in this process and without sockets."""

import gc
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack

import trio

from benchmarks.contestants import HOOKBOT, Stage
from benchmarks.plan import Plan
from benchmarks.samples import Cell, Sample
from hookbot.broker.broker import Broker, open_broker
from hookbot.log.memory import MemoryLog
from hookbot.protocol.message import Draft
from hookbot.protocol.topics import TopicFilter

REFERENCES = {"µs per publish": None}
COUNTED = "subscribed topics"
TOPIC = "a/b/c/d/e/f/g/h"
SUBTREES = [TOPIC[: 2 * depth] for depth in range(8)]
DRAFT = Draft(TOPIC, bytes(200))
# A rough guess, only to turn the duration in the plan into a number of publishes.
PUBLISHES_PER_S = 10_000

Subscribed = Mapping[tuple[str, int], Sequence[str]]
"""Subscribed topics by case."""


def measure(stage: Stage, plan: Plan) -> Iterator[Sample]:
    """Measure one subscribed topic, many, and many with a subtree on each level, in turns."""
    others = [f"other/{n}" for n in range(plan.topics - 8)]
    subscribed = {
        ("one topic", 1): [TOPIC],
        ("one topic", plan.topics): [TOPIC, *others],
        ("subtrees on 8 levels", 8): SUBTREES,
        ("subtrees on 8 levels", plan.topics): [*SUBTREES, *others],
    }
    yield from trio.run(take_turns, subscribed, plan)


async def take_turns(subscribed: Subscribed, plan: Plan) -> list[Sample]:
    """Samples of a broker for each case, measured in turns."""
    publishes = max(10, int(plan.seconds * PUBLISHES_PER_S))
    samples = []
    async with AsyncExitStack() as stack:
        brokers: dict[tuple[str, int], Broker] = {}
        for case, topics in subscribed.items():
            brokers[case] = await stack.enter_async_context(open_broker(MemoryLog()))
            for topic in topics:
                stack.enter_context(brokers[case].subscribe(TopicFilter.parse(topic)))
        gc.collect()
        for round in range(plan.rounds):
            for (name, n), broker in brokers.items():
                cost_s = await publish_cost_s(broker, publishes)
                samples.append(Sample(Cell("topics", name, n, HOOKBOT.name), round, {"µs per publish": cost_s * 1e6}))
    return samples


async def publish_cost_s(broker: Broker, publishes: int) -> float:
    """CPU time of one publish, in seconds."""
    await broker.publish(DRAFT)
    start = time.process_time()
    for _ in range(publishes):
        await broker.publish(DRAFT)
    return (time.process_time() - start) / publishes
