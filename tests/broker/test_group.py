"""A group and its members: leases, acknowledgements, gaps."""

from collections import defaultdict
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from hookbot.broker.channels import Entry
from hookbot.broker.group import Member
from hookbot.broker.limits import BrokerLimits
from hookbot.errors import Ended, Refused
from hookbot.log.contract import Page
from hookbot.log.sqlite import open_sqlite_log
from hookbot.protocol.envelope import LARGE_BODY
from hookbot.protocol.message import Gap
from hookbot.protocol.since import FromOldest
from support.clock import pass_time
from support.consumers import ConsumerHub, WorkingLog, ack_each, join, open_hub, shown, take, take_marked, takes_nothing
from support.damage import lose_bodies


async def test_each_message_goes_to_one_member(hub: ConsumerHub) -> None:
    async with join(hub) as first, join(hub) as second, trio.open_nursery() as nursery:
        received: dict[str, list[int]] = defaultdict(list)

        async def receive(name: str, member: Member) -> None:
            while len(received["first"]) + len(received["second"]) < 20:
                received[name] += shown(await member.take())
            nursery.cancel_scope.cancel()

        nursery.start_soon(receive, "first", first)
        nursery.start_soon(receive, "second", second)
        for _ in range(20):
            await hub.publish("t")

    assert sorted(received["first"] + received["second"]) == list(range(1, 21))
    assert not set(received["first"]) & set(received["second"])


@pytest.mark.slow
async def test_a_backlog_is_shared_fairly_by_those_who_ask(memory_hub: ConsumerHub, autojump_clock: MockClock) -> None:
    hub = memory_hub
    await hub.publish(*["t"] * 1000)
    async with join(hub, since=FromOldest()) as first, join(hub) as second, join(hub) as third:
        received: dict[str, list[int]] = defaultdict(list)

        async def receive(name: str, member: Member) -> None:
            while True:
                received[name] += shown(await member.take())

        async with trio.open_nursery() as nursery:
            for name, member in {"first": first, "second": second, "third": third}.items():
                nursery.start_soon(receive, name, member)
            await pass_time(1)
            nursery.cancel_scope.cancel()

    assert all(250 < len(each) < 420 for each in received.values())
    assert sorted(n for each in received.values() for n in each) == list(range(1, 1001))


async def test_nobody_has_more_than_may_be_unacknowledged(memory_hub: ConsumerHub, autojump_clock: MockClock) -> None:
    hub = memory_hub
    await hub.publish(*["t"] * 5)
    async with join(hub, since=FromOldest(), max_unacked=2) as member:
        assert await take(member, 2) == [1, 2]
        assert await takes_nothing(member)

        ack_each(member, hub, 2)
        assert await take(member, 1) == [3]
        assert await takes_nothing(member)


async def test_an_ack_gives_more_to_a_member_that_waits(hub: ConsumerHub) -> None:
    await hub.publish("t", "t")
    async with join(hub, since=FromOldest(), max_unacked=1) as member, trio.open_nursery() as nursery:
        await take(member, 1)

        @nursery.start_soon
        async def ack_later() -> None:
            await wait_all_tasks_blocked()
            ack_each(member, hub, 1)

        assert await take(member, 1) == [2]


async def test_a_slow_member_does_not_hold_up_the_others(memory_hub: ConsumerHub, autojump_clock: MockClock) -> None:
    hub = memory_hub
    async with join(hub) as slow, join(hub) as quick:
        await hub.publish(*["t"] * 3)
        await take(slow, 1)
        await hub.publish(*["t"] * 500)

        received: list[int] = []
        while len(received) < 500:
            received += shown(await quick.take())
            ack_each(quick, hub, *received[-1:])


async def test_what_a_member_that_leaves_has_not_acknowledged_goes_to_another_and_is_marked(hub: ConsumerHub) -> None:
    await hub.publish("t", "t", "t")
    async with join(hub) as staying:
        async with join(hub, since=FromOldest()):
            pass
        await hub.publish("t", "t", "t")
        async with join(hub) as leaving:
            assert await take(leaving, 3) == [4, 5, 6]
            ack_each(leaving, hub, 5)

        assert await take_marked(staying, 2) == [(4, True), (6, True)]


async def test_what_was_given_to_a_member_but_never_fetched_is_not_marked(hub: ConsumerHub) -> None:
    async with join(hub) as staying:
        async with join(hub) as leaving:
            with trio.move_on_after(0):
                await leaving.take()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(leaving.take)
                await wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            await hub.publish("t")

        assert await take_marked(staying, 1) == [(1, False)]


@pytest.mark.parametrize("size", [60_000, LARGE_BODY + 1], ids=["many", "large"])
async def test_what_a_member_is_given_comes_in_pages(memory_hub: ConsumerHub, size: int) -> None:
    async with join(memory_hub, since=FromOldest()) as first:
        await memory_hub.publish(*["t"] * 20, size=size)
        assert await take(first, 20) == list(range(1, 21))
    async with join(memory_hub) as second:
        taken: list[int] = []
        while len(taken) < 20:
            page = [item for item in await second.take() if isinstance(item, Entry)]
            assert sum(entry.message.size for entry in page[1:]) <= memory_hub.broker.limits.page_bytes
            taken += shown(page)
    assert taken == list(range(1, 21))


async def test_what_is_not_acknowledged_in_time_goes_to_another_and_is_marked(
    memory_hub: ConsumerHub, autojump_clock: MockClock
) -> None:
    hub = memory_hub
    async with join(hub, ack_timeout_s=60) as slow, join(hub) as other:
        await hub.publish("t")
        await take(slow, 1)

        with trio.move_on_after(59) as scope:
            await other.take()
        assert scope.cancelled_caught
        with trio.fail_after(3):
            assert await take_marked(other, 1) == [(1, True)]


async def test_what_is_not_acknowledged_in_time_comes_again_to_a_member_that_is_alone(
    memory_hub: ConsumerHub, autojump_clock: MockClock
) -> None:
    hub = memory_hub
    async with join(hub, ack_timeout_s=5) as member:
        await hub.publish("t")

        assert await take_marked(member, 3) == [(1, False), (1, True), (1, True)]
        ack_each(member, hub, 1)
        with trio.move_on_after(20) as scope:
            await member.take()
        assert scope.cancelled_caught


async def test_a_late_ack_counts(memory_hub: ConsumerHub, autojump_clock: MockClock) -> None:
    hub = memory_hub
    async with join(hub, ack_timeout_s=5) as slow, join(hub) as other:
        await hub.publish("t", "t")
        assert await take(slow, 2) == [1, 2]
        await pass_time(6)
        ack_each(slow, hub, 1)

        assert await take_marked(other, 1) == [(2, True)]
        ack_each(slow, hub, 2)
        ack_each(other, hub, 2)
        assert other.skip_unwanted() == 2


async def test_a_member_that_comes_back_may_acknowledge_what_it_was_sent_before(hub: ConsumerHub) -> None:
    async with join(hub) as other:
        async with join(hub) as member:
            await hub.publish("t")
            await take(member, 1)
        async with join(hub) as member:
            ack_each(member, hub, 1)
            assert other.skip_unwanted() == 1


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (None, "not an acknowledgement for a group"),
        ({"type": "ack", "id": "x"}, "not an acknowledgement for a group"),
        ({"type": "ack", "ids": "x"}, "not an acknowledgement for a group"),
        ({"type": "ack", "ids": {"x": 1}}, "not an acknowledgement for a group"),
        ({"type": "ack", "ids": [["x"]]}, "not the id of a message"),
        ({"type": "ack", "ids": ["zzzzzzzz-000000000000001"]}, "belongs to another log"),
    ],
)
async def test_an_ack_that_is_none_is_refused(
    memory_hub: ConsumerHub, autojump_clock: MockClock, answer: dict[str, Any] | None, why: str
) -> None:
    async with join(memory_hub) as member:
        with pytest.raises(Refused, match=why):
            member.ack(answer)
        member.ack({"type": "ack", "ids": []})


@pytest.mark.parametrize("wrong", [3, 4])
async def test_an_ack_with_one_message_that_was_not_sent_changes_nothing(
    memory_hub: ConsumerHub, autojump_clock: MockClock, wrong: int
) -> None:
    hub = memory_hub
    await hub.publish("t", "t", "t")
    async with join(hub, since=FromOldest(), max_unacked=2) as member:
        await take(member, 2)

        with pytest.raises(Refused, match="has not been sent yet"):
            ack_each(member, hub, 1, wrong)

        assert member.skip_unwanted() == 0


async def test_a_quiet_group_follows_the_head(hub: ConsumerHub) -> None:
    async with join(hub) as member:
        await hub.publish("t")
        await take(member, 1)
        ack_each(member, hub, 1)
        await hub.publish("other", "other")

        assert member.skip_unwanted() == 3
        assert (await hub.consumers.list())[0].lag == 0


async def test_by_topic_a_topic_stays_on_the_member_that_has_it(
    memory_hub: ConsumerHub, autojump_clock: MockClock
) -> None:
    hub = memory_hub
    async with join(hub, "", by_topic=True) as first, join(hub, "", by_topic=True) as second:
        await hub.publish("a")
        assert await take(first, 1) == [1]
        await hub.publish("a", "b", "a")

        assert await take(second, 1) == [3]
        assert await takes_nothing(second)
        assert await take(first, 2) == [2, 4]


async def test_by_topic_the_next_message_is_for_anybody_when_the_ones_before_are_acknowledged(
    memory_hub: ConsumerHub, autojump_clock: MockClock
) -> None:
    hub = memory_hub
    async with join(hub, by_topic=True, max_unacked=1) as first, join(hub, by_topic=True) as second:
        await hub.publish("t", "t")
        assert await take(first, 1) == [1]
        assert await takes_nothing(second)

        ack_each(first, hub, 1)
        assert await take(second, 1) == [2]


async def test_by_topic_a_topic_moves_as_a_whole_and_in_order(
    memory_hub: ConsumerHub, autojump_clock: MockClock
) -> None:
    hub = memory_hub
    async with join(hub, by_topic=True, ack_timeout_s=10) as slow, join(hub, by_topic=True) as other:
        await hub.publish("t", "t")
        await take(slow, 2)
        await pass_time(9)
        await hub.publish("t")
        await take(slow, 1)
        await pass_time(3)

        assert await take_marked(other, 3) == [(1, True), (2, True), (3, True)]


@pytest.mark.slow
@pytest.mark.parametrize("limits", [BrokerLimits(group_backlog=1000)])
async def test_a_topic_that_is_held_up_does_not_fill_the_memory(
    memory_hub: ConsumerHub, autojump_clock: MockClock
) -> None:
    hub = memory_hub
    async with join(hub, "", by_topic=True, max_unacked=1) as stuck, join(hub, "", by_topic=True) as other:
        await hub.publish("a")
        await take(stuck, 1)
        await hub.publish(*["a"] * 3000, "b")

        assert await takes_nothing(other)
        assert 1000 <= len(stuck._group.leases) < 2000

        for position in range(1, 2500):
            ack_each(stuck, hub, position)
            if await take(stuck, 1) == [2500]:
                break
        assert await take(other, 1) == [3002]


async def test_every_member_is_told_of_a_gap(hub: ConsumerHub) -> None:
    async with join(hub):
        pass
    await hub.publish("t", "t", "t")
    await hub.trim(1)
    async with join(hub) as first, join(hub) as second:
        assert await take(first, 1) == [(None, 3)]
        assert await take(second, 1) == [(None, 3)]
        second.skip_unwanted()
        assert await take(second, 1) == [3]
        ack_each(second, hub, 3)
        async with join(hub) as late:
            await hub.publish("t")
            assert await take(late, 1) == [4]


async def test_a_gap_is_told_again_until_something_is_acknowledged(hub: ConsumerHub) -> None:
    async with join(hub):
        pass
    await hub.publish("t", "t")
    await hub.trim(1)
    for _ in range(2):
        async with join(hub) as member:
            assert await take(member, 1) == [(None, 2)]
            await wait_all_tasks_blocked()
            member.skip_unwanted()


async def test_gaps_that_nobody_has_taken_yet_are_told_as_one(hub: ConsumerHub) -> None:
    async with join(hub) as member:
        member.tell(Gap("retention", hub.id(1), hub.id(3)))
        member.tell(Gap("retention", hub.id(4), hub.id(9)))

        assert shown(await member.take()) == [(1, 9)]


@pytest.mark.slow
@pytest.mark.parametrize("limits", [BrokerLimits(window_messages=2)])
async def test_a_gap_opens_before_a_group_that_reads_too_slowly(
    memory_hub: ConsumerHub, autojump_clock: MockClock
) -> None:
    hub = memory_hub
    page_messages = hub.broker.limits.page_messages
    async with join(hub, max_unacked=1) as member:
        await hub.publish("t")
        await take(member, 1)
        await hub.publish(*["t"] * 1000)
        ack_each(member, hub, 1)
        await take(member, 1)
        await hub.trim(1)
        async with join(hub) as other:
            read_before = await take(other, page_messages - 1)
            assert read_before == list(range(3, page_messages + 2))
            assert sorted(await take(other, 2), key=str) == [(513, 1001), 1001]


async def test_a_message_that_retention_took_before_it_could_come_again_is_told_as_a_gap(
    memory_hub: ConsumerHub, autojump_clock: MockClock
) -> None:
    hub = memory_hub
    async with join(hub, ack_timeout_s=5) as slow, join(hub) as other:
        await hub.publish("x", "t", "x", "t")
        assert await take(slow, 2) == [2, 4]
        await hub.trim(1)
        await pass_time(6)

        assert sorted(await take(other, 2), key=str) == [(1, 3), 4]
        ack_each(other, hub, 4)
        assert other.skip_unwanted() == 4


async def test_members_are_sent_away_while_the_log_cannot_be_read_and_find_everything_when_they_come_back(
    memory_hub: ConsumerHub, autojump_clock: MockClock
) -> None:
    hub = memory_hub
    async with join(hub):
        await hub.publish("t")
    await pass_time(1)
    hub.log.broken = True
    async with join(hub) as member:
        with pytest.raises(Ended, match="the disk is gone") as ended:
            await member.take()
    assert ended.value.code == 1013

    hub.log.broken = False
    async with join(hub) as member:
        assert await take(member, 1) == [1]


async def test_a_wait_that_is_cut_short_loses_nothing(memory_hub: ConsumerHub, autojump_clock: MockClock) -> None:
    async with join(memory_hub) as member:
        assert await takes_nothing(member)
        await memory_hub.publish("t")
        assert await take(member, 1) == [1]


async def test_a_member_that_waits_is_told_why_its_group_has_ended(hub: ConsumerHub, nursery: trio.Nursery) -> None:
    async def delete() -> None:
        await wait_all_tasks_blocked()
        await hub.consumers.delete("group", "/sub/t", "g")

    async with join(hub) as member:
        nursery.start_soon(delete)
        with pytest.raises(Ended, match="the group g was deleted"):
            await member.take()
        await wait_all_tasks_blocked()
        with pytest.raises(Ended, match="the group g was deleted"):
            await member.take()


async def test_a_group_that_has_ended_no_longer_moves(hub: ConsumerHub) -> None:
    async with join(hub) as member:
        await wait_all_tasks_blocked()
        await hub.consumers.delete("group", "/sub/t", "g")
        await hub.publish("other", "t")

        assert member.skip_unwanted() == 0


class HeldLog(WorkingLog):
    """A log whose reads wait until the test releases them."""

    def __init__(self) -> None:
        super().__init__()
        self.may_read = trio.Event()
        self.may_read.set()

    async def read(self, *args: Any, **options: Any) -> Page:
        await self.may_read.wait()
        return await super().read(*args, **options)


async def test_a_message_that_is_acknowledged_late_while_it_is_read_for_another_member_is_not_sent_again(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    log = HeldLog()
    received: list[int] = []
    async with open_hub(log) as hub, join(hub, ack_timeout_s=5) as late, join(hub) as other:

        async def receive() -> None:
            while not received:
                received.extend(shown(await other.take()))

        # The group follows the log, and reads nothing for the first member.
        await wait_all_tasks_blocked()
        await hub.publish("t")
        assert await take(late, 1) == [1]
        nursery.start_soon(receive)
        log.may_read = trio.Event()
        await pass_time(7)
        ack_each(late, hub, 1)

        log.may_read.set()
        await wait_all_tasks_blocked()
        assert received == []

        await hub.publish("t")
        await wait_all_tasks_blocked()
        assert received == [2]


@pytest.mark.slow
@pytest.mark.parametrize("by_topic", [False, True])
@pytest.mark.parametrize("seed", range(6))
async def test_whoever_comes_goes_stalls_or_forgets_every_message_is_done_in_the_end(
    memory_hub: ConsumerHub, autojump_clock: MockClock, seed: int, by_topic: bool
) -> None:
    simulation = Simulation(memory_hub, Random(seed), by_topic)
    await simulation.run(messages=400, members=5)
    await simulation.check()


@pytest.mark.slow
@pytest.mark.parametrize("by_topic", [False, True])
async def test_members_that_come_and_go_lose_nothing_on_disk(tmp_path: Path, by_topic: bool) -> None:
    async with open_sqlite_log(tmp_path) as log, open_hub(log) as hub:
        simulation = Simulation(hub, Random(7), by_topic, stalls=False)
        await simulation.run(messages=200, members=3)
        await simulation.check()


class Simulation:
    """Members that behave badly, and an account of the messages that each had."""

    def __init__(self, hub: ConsumerHub, random: Random, by_topic: bool, *, stalls: bool = True) -> None:
        self.hub = hub
        self.random = random
        self.by_topic = by_topic
        self.stalls = stalls
        self.topics: dict[int, str] = {}
        self.acked: set[int] = set()
        self.sent: set[int] = set()
        self.holder: dict[int, Any] = {}
        """Which member was sent a message last, and when."""
        self.published = False

    async def run(self, *, messages: int, members: int) -> None:
        async with trio.open_nursery() as nursery:
            for n in range(members):
                nursery.start_soon(self.member, n)
            await self.publish(messages)

    async def publish(self, messages: int) -> None:
        async with join(self.hub, "", by_topic=self.by_topic):
            while len(self.topics) < messages:
                for topic in self.random.choices("abcd", k=self.random.randint(1, 30)):
                    [message] = await self.hub.publish(topic)
                    self.topics[message.position] = topic
                await trio.sleep(self.random.random() * self.stalls)
            self.published = True

    async def member(self, name: int) -> None:
        while not (self.published and self.acked == self.topics.keys()):
            await trio.lowlevel.checkpoint()
            timeout_s = self.random.choice([5, 20]) if self.stalls else 3600
            room = self.random.choice([1, 3, 1000])
            asked = {"by_topic": self.by_topic, "ack_timeout_s": timeout_s, "max_unacked": room}
            async with join(self.hub, "", **asked) as consumer:
                me = object()
                for _ in range(self.random.randint(1, 30)):
                    items = []
                    with trio.move_on_after(1 if self.stalls else 0.02):
                        items = await consumer.take()
                    self.note(me, items, timeout_s)
                    await self.work(consumer, items)
                for position in [position for position, (who, _) in self.holder.items() if who is me]:
                    self.holder[position] = me, trio.current_time()  # it leaves: others may have it now

    def note(self, me: object, items: list[Entry], timeout_s: int) -> None:
        now = trio.current_time()
        for entry in items:
            position = entry.position
            self.topics[position] = entry.message.topic
            assert position not in self.acked, "it was done"
            assert entry.message.redelivered == (position in self.sent)
            who, until = self.holder.get(position, (me, 0))
            assert until <= now, "somebody else has it"
            if self.by_topic:
                self.topic_moves(position, who)
                self.check_order(me, position, now)
            self.sent.add(position)
            self.holder[position] = me, now + timeout_s

    def topic_moves(self, position: int, holder: object) -> None:
        """With the lease of a message, its holder also loses the later messages of the topic."""
        for other in self.unacked_like(position):
            if self.holder.get(other, (None, 0))[0] is holder:
                self.holder[other] = holder, 0

    def check_order(self, me: object, position: int, now: float) -> None:
        for other in self.unacked_like(position):
            who, until = self.holder.get(other, (None, 0))
            assert who is me or until <= now, "somebody else has one of its topic"
            assert who is me or other >= position, "an earlier one of its topic was left out"

    def unacked_like(self, position: int) -> list[int]:
        topic = self.topics[position]
        return [other for other, its in self.topics.items() if its == topic and other not in self.acked]

    async def work(self, consumer: Member, items: list[Entry]) -> None:
        if self.stalls and self.random.random() < 0.1:
            await trio.sleep(self.random.choice([1, 10, 30]))
        done = [entry.position for entry in items if self.random.random() < 0.8]
        self.random.shuffle(done)
        ack_each(consumer, self.hub, *done)
        for position in done:
            who, until = self.holder[position]
            if self.by_topic and until <= trio.current_time():  # too late to keep the topic
                self.topic_moves(position, who)
        self.acked.update(done)

    async def check(self) -> None:
        assert self.acked == self.sent == self.topics.keys()
        [listed] = await self.hub.consumers.list()
        assert listed.lag == 0


async def test_what_is_deleted_before_a_member_takes_it_counts_as_acknowledged(hub: ConsumerHub) -> None:
    await hub.publish("t", "t", "t", "t")
    async with join(hub, since=FromOldest(), max_unacked=1) as member:
        assert await take(member, 1) == [1]

        await hub.broker.delete([2, 4])
        ack_each(member, hub, 1)

        assert await take(member, 1) == [3]
        ack_each(member, hub, 3)
        await hub.publish("t")
        assert await take(member, 1) == [5]
        ack_each(member, hub, 5)
        assert member.skip_unwanted() == 5


async def test_what_is_deleted_does_not_come_again(hub: ConsumerHub) -> None:
    await hub.publish("t", "t", "t")
    async with join(hub, since=FromOldest()) as member:
        assert await take(member, 3) == [1, 2, 3]

    await hub.broker.delete([1, 2])

    async with join(hub) as member:
        assert await take_marked(member, 1) == [(3, True)]
        ack_each(member, hub, 3)
        assert member.skip_unwanted() == 3


async def test_a_message_that_is_damaged_is_a_gap_to_its_member_and_counts_as_acknowledged(tmp_path: Path) -> None:
    async with open_sqlite_log(tmp_path) as log, open_hub(log, limits=BrokerLimits(cached_pages=0)) as hub:
        async with join(hub, since=FromOldest()) as first:
            await hub.publish("t", "t", "t")
            assert await take(first, 3) == [1, 2, 3]
        lose_bodies(tmp_path, 2)

        async with join(hub) as second:
            gaps: list[Gap] = []
            # They come in one or several takes.
            while not gaps:
                gaps = [item for item in await second.take() if isinstance(item, Gap)]

    assert gaps == [Gap("damage", hub.id(1), hub.id(3))]
