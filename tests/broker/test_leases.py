"""Leases: every rule one by one, and then all of them at random."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from hookbot.broker.acked_ahead import MAX_RANGES
from hookbot.broker.leases import LeaseHolder, Leases


def member(leases: Leases, *, room: int = 1000, timeout_s: float = 60.0) -> LeaseHolder:
    holder = LeaseHolder(room, timeout_s, wake=lambda: None)
    leases.join(holder)
    return holder


def filled(count: int, *, lane: Callable[..., Any] = lambda position: position) -> Leases:
    leases = Leases(0)
    for position in range(1, count + 1):
        leases.add(position, lane(position))
    return leases


def fetch(leases: Leases, holder: LeaseHolder, *, now: float = 0.0) -> list[tuple[int, bool | None]]:
    """Messages given to a member, each with True if it was sent before."""
    return [(position, leases.send(holder, position, now)) for position in tuple(holder.given)]


def give(leases: Leases, holder: LeaseHolder, count: int, *, now: float = 0.0) -> list[int]:
    leases.ask(holder, count)
    leases.grant(now)
    fetched = fetch(leases, holder, now=now)
    leases.ask(holder, 0)
    return [position for position, _ in fetched]


def test_those_who_ask_are_given_messages_in_turn() -> None:
    leases = filled(6)
    first, second, third = (member(leases) for _ in range(3))
    for holder in (first, second, third):
        leases.ask(holder, 10)

    leases.grant(0)

    assert [list(holder.given) for holder in (first, second, third)] == [[1, 4], [2, 5], [3, 6]]


def test_who_does_not_ask_is_given_nothing() -> None:
    leases = filled(2)
    quiet, asking = member(leases), member(leases)

    assert give(leases, asking, 10) == [1, 2]
    assert not quiet.given


def test_nobody_has_more_than_there_is_room_for() -> None:
    leases = filled(5)
    holder = member(leases, room=2)

    assert give(leases, holder, 10) == [1, 2]
    assert give(leases, holder, 10) == []

    leases.ack(1)
    assert give(leases, holder, 10) == [3]


def test_somebody_who_asked_for_more_than_there_was_is_given_it_later() -> None:
    leases = filled(1)
    holder = member(leases)
    leases.ask(holder, 2)
    leases.grant(0)
    assert leases.has_demand

    leases.add(2, 2)
    leases.grant(0)

    assert list(holder.given) == [1, 2]
    assert not leases.has_demand


def test_the_floor_is_before_the_oldest_that_is_not_acknowledged() -> None:
    leases = filled(3)
    give(leases, member(leases), 3)

    leases.ack(2)
    assert leases.floor == 0

    leases.ack(1)
    assert leases.floor == 2

    leases.ack(3)
    leases.reached = 7
    assert leases.floor == 7


def test_what_a_member_had_is_given_to_another_when_it_leaves_and_marked_if_it_was_sent() -> None:
    leases = filled(2)
    leaving, staying = member(leases), member(leases)
    leases.ask(leaving, 2)
    leases.grant(0)
    leases.send(leaving, 1, 0)

    leases.leave(leaving)
    leases.ask(staying, 2)
    leases.grant(0)

    assert fetch(leases, staying) == [(1, True), (2, False)]


def test_a_lease_ends_when_its_time_is_over_and_not_before() -> None:
    leases = filled(2)
    slow = member(leases, timeout_s=10)
    give(leases, slow, 1, now=0)
    give(leases, slow, 1, now=5)

    assert not leases.expire(9.9)
    assert leases.expire(10)

    other = member(leases)
    assert give(leases, other, 5, now=10) == [1]


def test_the_time_of_a_lease_begins_when_the_message_is_fetched() -> None:
    leases = filled(2)
    holder = member(leases, timeout_s=10)
    leases.ask(holder, 2)
    leases.grant(0)
    leases.send(holder, 1, 7)

    assert leases.expire(10)  # the other one, which nobody has fetched
    assert list(holder.leased) == [1]
    assert leases.expire(17)


def test_a_message_whose_lease_ended_is_given_to_another_rather_than_to_the_same() -> None:
    leases = filled(1)
    slow, other = member(leases, timeout_s=10), member(leases)
    give(leases, slow, 1)
    leases.expire(10)
    leases.ask(slow, 1)
    leases.ask(other, 1)

    leases.grant(10)

    assert list(other.given) == [1]
    assert not slow.given


def test_a_message_whose_lease_ended_is_given_to_the_same_if_there_is_no_other() -> None:
    leases = filled(1)
    slow = member(leases, timeout_s=10)
    give(leases, slow, 1)
    leases.expire(10)

    assert give(leases, slow, 1, now=10) == [1]


def test_a_late_ack_counts_while_the_message_waits_for_another() -> None:
    leases = filled(2)
    slow, other = member(leases, timeout_s=10), member(leases)
    give(leases, slow, 1)
    leases.expire(10)

    leases.ack(1)

    assert leases.floor == 1
    assert give(leases, other, 5) == [2]


def test_a_late_ack_counts_while_another_has_the_message_who_is_then_free_for_more() -> None:
    leases = filled(2)
    slow, other = member(leases, timeout_s=10), member(leases, room=1)
    give(leases, slow, 1)
    leases.expire(10)
    assert give(leases, other, 1) == [1]

    leases.ack(1)

    assert give(leases, other, 1) == [2]
    leases.ack(1)  # the other one, too; it changes nothing
    assert leases.floor == 1


def test_only_what_was_sent_or_is_acknowledged_counts_as_sent() -> None:
    leases = filled(3)
    holder = member(leases)
    give(leases, holder, 1)
    leases.ask(holder, 1)
    leases.grant(0)

    assert [leases.was_sent(position) for position in (1, 2, 3, 4)] == [True, False, False, False]

    leases.ack(1)
    assert leases.was_sent(1)


def test_a_message_that_is_taken_back_before_it_was_fetched_is_not_sent() -> None:
    leases = filled(1)
    holder = member(leases, timeout_s=10)
    leases.ask(holder, 1)
    leases.grant(0)
    leases.expire(10)

    assert leases.send(holder, 1, 10) is None


def test_by_topic_the_messages_of_a_topic_go_to_one_member_until_it_has_acknowledged_them() -> None:
    leases = filled(6, lane=lambda position: "ab"[position % 2])
    first, second = member(leases), member(leases)

    assert give(leases, first, 1) == [1]
    assert give(leases, second, 10) == [2, 4, 6]

    leases.add(7, "b")
    assert give(leases, second, 10) == []
    assert give(leases, first, 10) == [3, 5, 7]


def test_by_topic_the_rest_of_a_topic_is_for_anybody_once_its_holder_has_acknowledged_everything() -> None:
    leases = filled(3, lane=lambda position: "a")
    first, second = member(leases), member(leases)
    give(leases, first, 1)
    leases.ack(1)

    assert give(leases, second, 1) == [2]
    assert give(leases, first, 1) == []


def test_by_topic_a_lease_that_ends_takes_the_later_ones_of_its_topic_with_it() -> None:
    leases = filled(3, lane=lambda position: "a")
    slow, other = member(leases, timeout_s=10), member(leases)
    give(leases, slow, 1, now=0)
    give(leases, slow, 1, now=8)

    leases.expire(10)

    assert give(leases, other, 5, now=10) == [1, 2, 3]


def test_by_topic_a_busy_topic_does_not_hold_up_the_others() -> None:
    leases = filled(5, lane=lambda position: "a" if position < 5 else "b")
    stuck, other = member(leases), member(leases)
    give(leases, stuck, 1)

    assert give(leases, other, 10) == [5]
    assert leases.waiting == 3


def again(leases: Leases) -> Leases:
    """The leases of a group that has rested, before it reads anything."""
    return Leases(leases.floor, acked=leases.acked(), sent=leases.sent(1000), received=leases.reached)


def read(leases: Leases, count: int) -> None:
    """Read the log up to a position."""
    while (position := leases.skip_acked(leases.reached)) < count:
        leases.add(position + 1, position + 1)


def test_a_group_that_has_rested_begins_with_what_is_not_acknowledged() -> None:
    leases = filled(6)
    leaving = member(leases)
    give(leases, leaving, 4)
    for position in (1, 3, 4):
        leases.ack(position)
    leases.leave(leaving)
    assert (leases.floor, leases.acked(), leases.sent(10)) == (1, [(3, 4)], {2})

    rested = again(leases)
    read(rested, 6)
    newcomer = member(rested)
    rested.ask(newcomer, 10)
    rested.grant(0)

    assert (rested.floor, rested.reached, rested.acked()) == (1, 6, [(3, 4)])
    assert fetch(rested, newcomer) == [(2, True), (5, False), (6, False)]


def test_what_is_acknowledged_is_not_even_read() -> None:
    leases = Leases(0, acked=[(2, 100), (101, 200), (300, 400)])

    assert [leases.skip_acked(position) for position in (0, 1, 150, 200, 299, 400)] == [0, 100, 200, 200, 400, 400]
    assert leases.reached == 400


def test_a_range_is_kept_whole_while_it_is_read() -> None:
    leases = Leases(0, acked=[(2, 5), (8, 9)])
    for position in (1, 2, 3):
        leases.add(position, position)

    assert leases.acked() == [(2, 3), (4, 5), (8, 9)]
    assert again(leases).acked() == leases.acked()


def test_what_was_received_before_may_be_acknowledged_before_it_is_read() -> None:
    leases = Leases(0, received=5)
    assert [leases.was_sent(position) for position in (3, 5, 6)] == [True, True, False]

    leases.ack(3)
    leases.ack(5)
    assert leases.acked() == [(3, 3), (5, 5)]

    read(leases, 6)
    assert give(leases, member(leases), 10) == [1, 2, 4, 6]
    assert leases.acked() == [(3, 3), (5, 5)]


def test_the_oldest_ranges_are_kept_and_no_more_than_their_limit() -> None:
    leases = filled(2 * MAX_RANGES + 3)
    for position in range(2, 2 * MAX_RANGES + 4, 2):
        leases.ack(position)

    assert leases.acked() == [(position, position) for position in range(2, 2 * MAX_RANGES + 1, 2)]


class Group(RuleBasedStateMachine):
    """Members come and go, acknowledge late, twice, or never: compared with a plain account of what they have."""

    members = Bundle("members")

    @initialize(by_topic=st.booleans())
    def begin(self, by_topic: bool) -> None:
        self.by_topic = by_topic
        self.leases = Leases(0)
        self.holders: list[LeaseHolder] = []
        self.now = 0.0
        self.topics: dict[int, str] = {}
        self.sent: set[int] = set()
        self.acked: set[int] = set()

    @rule(topics=st.text("ab", min_size=1, max_size=4))
    def add(self, topics: str) -> None:
        for topic in topics:
            position = self.leases.reached + 1
            self.topics[position] = topic
            self.leases.add(position, topic if self.by_topic else position)
        self.leases.grant(self.now)

    @rule(target=members, room=st.integers(1, 6), timeout_s=st.sampled_from([4.0, 6.0]))
    def join(self, room: int, timeout_s: float) -> LeaseHolder:
        holder = member(self.leases, room=room, timeout_s=timeout_s)
        self.holders.append(holder)
        return holder

    @rule(holder=consumes(members))
    def leave(self, holder: LeaseHolder) -> None:
        self.leases.leave(holder)
        self.holders.remove(holder)
        assert not holder.leased
        assert not holder.given

    @rule(holder=members, count=st.integers(0, 3))
    def ask(self, holder: LeaseHolder, count: int) -> None:
        self.leases.ask(holder, count)
        self.leases.grant(self.now)
        for other in self.holders:
            if other.wants > 0:
                assert not self.free_lanes(), "somebody asks for what lies there"
                assert not other.reserved

    @rule(holder=members, count=st.integers(1, 3))
    def take(self, holder: LeaseHolder, count: int) -> None:
        self.ask(holder, count)
        for position in tuple(holder.given):
            assert self.leases.send(holder, position, self.now) == (position in self.sent)
            self.sent.add(position)
        self.leases.ask(holder, 0)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        position = data.draw(st.sampled_from(sorted(self.sent)))
        assert self.leases.was_sent(position)
        self.leases.ack(position)
        self.acked.add(position)
        self.leases.grant(self.now)

    @rule(seconds=st.sampled_from([1.0, 3.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.leases.expire(self.now)
        assert all(item.deadline > self.now for holder in self.holders for item in holder.leased.values())

    @rule(data=st.data())
    def everybody_leaves_and_the_group_rests(self, data: st.DataObject) -> None:
        for holder in tuple(self.holders):
            self.leases.leave(holder)
        reached = self.leases.reached
        self.leases = again(self.leases)
        late = data.draw(st.sets(st.sampled_from(sorted(self.sent)))) if self.sent else set()
        for position in late:
            assert self.leases.was_sent(position)
            self.leases.ack(position)
        self.acked |= late
        while (position := self.leases.skip_acked(self.leases.reached)) < reached:
            self.leases.add(position + 1, self.topics[position + 1] if self.by_topic else position + 1)
        for holder in self.holders:
            self.leases.join(holder)

    @invariant()
    def nothing_is_lost_and_nobody_has_what_another_has(self) -> None:
        unacked = self.topics.keys() - self.acked
        leased = [position for holder in self.holders for position in holder.leased]
        assert len(leased) == len(set(leased))
        assert set(leased) <= unacked
        assert len(self.leases) == len(unacked)
        assert self.leases.waiting == len(unacked) - len(leased)
        assert self.leases.floor == (min(unacked) - 1 if unacked else self.leases.reached)
        assert all(len(holder.leased) <= holder.room for holder in self.holders)

    @invariant()
    def a_topic_stays_in_order_on_one_member(self) -> None:
        if self.by_topic:
            for topic in "ab":
                holders = [holder for holder in self.holders if self.of(topic, holder.leased)]
                assert len(holders) <= 1
                if holders:
                    leased = self.of(topic, holders[0].leased)
                    waiting = self.of(topic, self.topics.keys() - self.acked - set(leased))
                    assert not waiting or min(waiting) > max(leased)

    def of(self, topic: str, positions: Iterable[int]) -> list[int]:
        return [position for position in positions if self.topics[position] == topic]

    def free_lanes(self) -> set[Any]:
        leased = {position for holder in self.holders for position in holder.leased}
        waiting = self.topics.keys() - self.acked - leased
        busy = {self.topics[position] for position in leased} if self.by_topic else set()
        return {position for position in waiting if self.topics[position] not in busy}

    def teardown(self) -> None:
        if not hasattr(self, "leases"):
            return
        for holder in self.holders:
            self.leases.leave(holder)
        last = member(self.leases, room=10_000)
        rest = give(self.leases, last, 10_000, now=self.now)
        assert sorted(rest) == sorted(self.topics.keys() - self.acked)
        for position in rest:
            self.leases.ack(position)
        assert self.leases.floor == self.leases.reached
        assert not self.leases._lanes


TestGroup = pytest.mark.slow(Group.TestCase)
TestGroup.settings = settings(max_examples=150, stateful_step_count=60)


@pytest.mark.parametrize("by_topic", [False, True])
def test_a_long_line_is_given_out_completely(by_topic: bool) -> None:
    leases = filled(3000, lane=lambda position: position % 7 if by_topic else position)
    holders = [member(leases, room=10) for _ in range(5)]

    done = []
    while leases:
        for holder in holders:
            for position in give(leases, holder, 64):
                leases.ack(position)
                done.append(position)

    assert sorted(done) == list(range(1, 3001))
