"""Flow control: what is held back, for whom, and when it is admitted."""

from collections.abc import Sequence
from typing import Any

import pytest

from hookbot.broker.channels import Channel, Channels
from hookbot.broker.flow import LIGHT_BYTES, Flow
from hookbot.broker.frame_cache import FrameCache
from hookbot.broker.limits import BrokerLimits
from hookbot.errors import Unavailable
from hookbot.log.contract import News, Unit
from hookbot.protocol.message import Draft, Message, format_id
from hookbot.protocol.topics import TopicFilter

HEAVY = bytes(LIGHT_BYTES)


class Hub:
    """Flow control over channels, with a writer that stores what the test tells it to."""

    def __init__(self) -> None:
        self.channels = Channels(0, BrokerLimits(), FrameCache(1 << 20))
        writer: Any = self
        self.flow = Flow(self.channels, writer, due_bytes=2 * LIGHT_BYTES)
        self.submitted: list[tuple[Sequence[Draft], Any]] = []
        self.refuses = False
        self.answers: list[object] = []

    def submit(self, unit: Unit, done: Any) -> None:
        if self.refuses:
            raise Unavailable("full")
        self.submitted.append((unit.drafts, done))

    def flush_soon(self) -> None:
        """Whether the writer is told is seen in tests of the broker."""

    def publish(self, topic: str, body: bytes = HEAVY) -> None:
        self.flow.submit(Unit([Draft(topic, body)]), self.answers.append)

    @property
    def topics(self) -> list[str]:
        return [drafts[0].topic for drafts, _ in self.submitted]

    def store(self) -> None:
        """Store and announce the first submission."""
        [draft], done = self.submitted.pop(0)
        position = self.channels.head + 1
        message = Message(draft.topic, draft.body, id=format_id("somelogs", position))
        done([message])
        self.channels.announce(News(position - 1, [message], position))

    def fail(self) -> None:
        """Fail the first submission."""
        self.submitted.pop(0)[1](Unavailable("disk full"))


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def channels(hub: Hub) -> dict[str, Channel]:
    """Two topics and a tree of unsafe ones, each with a subscriber in step."""
    made = {topic: hub.channels.hold(TopicFilter.parse(topic)) for topic in ("a", "b", "/unsafe/")}
    for channel in made.values():
        channel.listeners = 1
    return made


def delivered(hub: Hub, channel: Channel) -> None:
    channel.deliveries += 1
    hub.channels.end_delivery(channel)
    hub.flow.admit()


def test_a_publish_waits_until_what_was_due_before_is_delivered(hub: Hub, channels: dict[str, Channel]) -> None:
    hub.publish("a")
    hub.publish("a")
    assert hub.topics == ["a"]
    hub.store()
    hub.flow.admit()
    assert hub.topics == []

    delivered(hub, channels["a"])

    assert hub.topics == ["a"]
    hub.store()
    assert len(hub.answers) == 2


def test_only_what_causes_many_deliveries_waits(hub: Hub, channels: dict[str, Channel]) -> None:
    hub.publish("a")
    hub.publish("a", b"small")
    hub.publish("nobody hears it")
    channels["b"].listeners = 0
    hub.publish("b")
    hub.publish("a")

    assert hub.topics == ["a", "a", "nobody hears it", "b"]


def test_a_publish_of_any_size_is_admitted_when_nothing_is_due(hub: Hub, channels: dict[str, Channel]) -> None:
    channels["a"].listeners = 1000
    hub.publish("a")
    hub.store()
    hub.publish("a")
    assert hub.topics == []

    delivered(hub, channels["a"])

    assert hub.topics == ["a"]


def test_topics_take_turns_and_all_unverified_ones_are_one_of_them(hub: Hub, channels: dict[str, Channel]) -> None:
    hub.publish("a")
    for topic in ("/unsafe/1", "/unsafe/2", "/unsafe/3", "a", "a", "b"):
        hub.publish(topic)
    admitted = []
    while hub.submitted:
        admitted += hub.topics
        hub.store()
        for channel in channels.values():
            delivered(hub, channel)

    assert admitted == ["a", "/unsafe/1", "a", "b", "/unsafe/2", "a", "/unsafe/3"]


def test_what_is_not_stored_is_not_due(hub: Hub, channels: dict[str, Channel]) -> None:
    hub.publish("a")
    hub.publish("a")
    hub.fail()

    assert hub.topics == ["a"]
    assert [str(answer) for answer in hub.answers] == ["disk full"]


def test_a_channel_without_holders_has_nothing_due(hub: Hub, channels: dict[str, Channel]) -> None:
    hub.publish("a")
    hub.store()
    assert hub.channels.due > 0

    hub.channels.release(channels["a"])

    assert hub.channels.due == 0


def test_who_waits_is_told_if_the_queue_is_full_when_it_is_admitted(hub: Hub, channels: dict[str, Channel]) -> None:
    hub.publish("a")
    hub.publish("a")
    hub.refuses = True

    hub.flow.close()

    assert [str(answer) for answer in hub.answers] == ["full"]


def test_nothing_waits_when_nobody_is_sent_anything_any_more(hub: Hub, channels: dict[str, Channel]) -> None:
    hub.publish("a")
    hub.publish("a")
    hub.publish("b")

    hub.flow.close()
    hub.publish("a")

    assert hub.topics == ["a", "a", "b", "a"]


def test_a_delivery_that_goes_on_leaves_only_the_rest_due(hub: Hub, channels: dict[str, Channel]) -> None:
    channels["a"].deliveries = 1
    for _ in range(3):
        hub.publish("a", b"small")
        hub.store()
    due = hub.channels.due

    hub.channels.continue_delivery(channels["a"], 2)
    assert hub.channels.due == due / 3

    channels["a"].deliveries = 2
    hub.channels.continue_delivery(channels["a"], 3)
    assert hub.channels.due == due / 3


def test_a_publish_of_any_size_does_not_wait_for_the_last_of_those_that_never_wait(
    hub: Hub, channels: dict[str, Channel]
) -> None:
    channels["b"].listeners = 1000
    hub.publish("a", b"small")
    hub.store()
    hub.publish("b")

    assert hub.channels.due > 0
    assert hub.topics == ["b"]
