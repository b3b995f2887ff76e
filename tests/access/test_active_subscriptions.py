"""Active subscriptions, and what ends them."""

import logging
from functools import partial
from typing import Any

import pytest
import trio

from hookbot.access.active_subscriptions import GRANT_ENDED, SWEEP_BATCH, ActiveSubscriptions, sweep_subscriptions
from hookbot.access.authorizer import Authorizer, Grant
from hookbot.access.quotas import Quota, Quotas
from hookbot.errors import QuotaReached, TooManyRequests, Unauthorized
from hookbot.hub.logging_setup import fields_of
from hookbot.protocol.topics import TopicFilter
from support import KEY
from support.subscriptions import Unconnected

AUTHORIZER = Authorizer([KEY], revoked=["gone"])
PLAIN = Grant(KEY, path="/sub/")


class Watched(Authorizer):
    """Authorizer that records the grants that it checks."""

    def __init__(self, *args: list[str], **options: Any) -> None:
        super().__init__(*args, **options)
        self.looked_at: list[Grant] = []

    def is_valid(self, grant: Grant, *, now_s: float) -> bool:
        self.looked_at.append(grant)
        return super().is_valid(grant, now_s=now_s)


def make_active(now_s: int = 0, authorizer: Authorizer = AUTHORIZER, **limits: Any) -> ActiveSubscriptions:
    return ActiveSubscriptions(authorizer, clock_us=lambda: now_s * 1_000_000, **limits)


def sweep(active: ActiveSubscriptions) -> int:
    """Check every subscription, as after a reload, and return the number of steps."""
    active.adopt(make_active(authorizer=active.authorizer))
    return len(list(active.sweep()))


def test_what_is_granted_goes_on() -> None:
    active = make_active(now_s=99)
    subscriptions = [Unconnected(grant) for grant in (PLAIN, Grant(KEY, names=("ann",)), Grant(KEY, expires_s=100))]
    for subscription in subscriptions:
        active.add(subscription)
    assert sweep(active) == 3
    assert not any(subscription.ended for subscription in subscriptions)
    assert len(active) == 3


@pytest.mark.parametrize(
    "grant",
    [
        Grant("another key"),
        Grant(KEY, digest="sha256"),
        Grant(KEY, names=("ann", "gone")),
        Grant(KEY, expires_s=100),
        Grant(KEY, expires_s=50),
    ],
)
def test_what_is_no_longer_granted_ends_and_nothing_else(grant: Grant) -> None:
    active = make_active(now_s=100, authorizer=Authorizer([KEY], digests=["sha1"], revoked=["gone"]))
    subscriptions = [Unconnected(which) for which in (PLAIN, grant, grant, Grant(KEY, expires_s=101))]
    for subscription in subscriptions:
        active.add(subscription)
    assert sweep(active) == 4
    assert [subscription.ended for subscription in subscriptions] == [[], [GRANT_ENDED], [GRANT_ENDED], []]


def test_what_expires_ends_without_anything_else_being_looked_at() -> None:
    authorizer, now_us = Watched([KEY]), [99_000_000]
    active = ActiveSubscriptions(authorizer, clock_us=lambda: now_us[0])
    soon, later = Unconnected(Grant(KEY, expires_s=100)), Unconnected(Grant(KEY, expires_s=200))
    for subscription in (Unconnected(PLAIN), soon, later):
        active.add(subscription)
    assert len(list(active.sweep())) == 2
    now_us[0] = 100_000_000
    assert len(list(active.sweep())) == 2
    assert soon.ended == [GRANT_ENDED]
    assert not later.ended
    assert authorizer.looked_at == [soon.grant, later.grant] * 2
    active.remove(soon)
    assert len(list(active.sweep())) == 1
    assert authorizer.looked_at[4:] == [later.grant]


def test_a_subscription_may_leave_while_others_are_ended() -> None:
    active, grant = make_active(), Grant("another key")
    for _ in range(3):
        subscription = Unconnected(grant)
        subscription.on_end = partial(active.remove, subscription)
        active.add(subscription)
    assert sweep(active) == 3
    assert len(active) == 0


def test_all_may_leave_between_two_of_them() -> None:
    active, one, two = make_active(), Unconnected(Grant("one")), Unconnected(Grant("two"))
    active.add(one)
    active.add(two)
    active.adopt(make_active())
    steps = active.sweep()
    next(steps)
    assert one.ended
    active.remove(one)
    active.remove(two)
    assert list(steps) == []
    assert not two.ended


def test_what_is_no_longer_granted_does_not_begin() -> None:
    active = make_active()
    with pytest.raises(Unauthorized):
        active.check(Grant("another key"), TopicFilter(("foo",)))
    with pytest.raises(Unauthorized), active.hold(Unconnected(Grant("another key"))):
        """Never reached."""
    assert len(active) == 0


def test_there_are_only_so_many_in_all() -> None:
    active, one = make_active(max_subscribers=2), Unconnected(PLAIN)
    active.add(one)
    active.check(PLAIN, TopicFilter(("foo",)))
    active.add(Unconnected(Grant(KEY, path="/")))
    with pytest.raises(TooManyRequests, match="this hub") as refused:
        active.check(Grant(KEY, path="/other"), TopicFilter(("foo",)))
    assert refused.value.retry_after_s > 0
    active.remove(one)
    active.check(PLAIN, TopicFilter(("foo",)))


def test_there_are_only_so_many_for_a_token_however_it_is_narrowed() -> None:
    active, one = make_active(authorizer=Authorizer([KEY, "old"]), max_per_token=2), Unconnected(PLAIN)
    active.add(one)
    active.add(Unconnected(Grant(KEY, path="/sub/", expires_s=100)))
    for same in (PLAIN, Grant(KEY, path="/sub/", live_only=True)):
        with pytest.raises(TooManyRequests, match="this token"):
            active.check(same, TopicFilter(("foo",)))
    for another in (Grant(KEY, path="/"), Grant(KEY, path="/sub/", names=("ann",)), Grant("old", path="/sub/")):
        active.check(another, TopicFilter(("foo",)))
    active.remove(one)
    active.check(PLAIN, TopicFilter(("foo",)))


def test_limits_may_change_while_there_are_subscriptions() -> None:
    active = make_active()
    for _ in range(3):
        active.add(Unconnected(PLAIN))
    active.check(PLAIN, TopicFilter(("foo",)))
    active.adopt(make_active(max_per_token=3))
    with pytest.raises(TooManyRequests):
        active.check(PLAIN, TopicFilter(("foo",)))
    active.adopt(make_active(max_per_token=4))
    active.check(PLAIN, TopicFilter(("foo",)))
    active.adopt(make_active(max_subscribers=3))
    with pytest.raises(TooManyRequests):
        active.check(PLAIN, TopicFilter(("foo",)))


def test_each_is_listed_with_its_time_and_found_by_an_id_of_its_own() -> None:
    active, other = make_active(now_s=5), make_active()
    one, two = Unconnected(PLAIN), Unconnected(Grant(KEY, names=("ann",)))
    for subscription in (one, two):
        active.add(subscription)
    other.add(Unconnected(PLAIN))
    id = active.id_of(one)

    assert list(active.all()) == [one, two]
    assert one.since_us == 5_000_000
    assert active.find(id) is one
    assert active.find(active.id_of(two)) is two
    assert other.find(id) is None
    active.remove(one)
    active.add(Unconnected(PLAIN))
    assert active.find(id) is None


def test_who_leaves_while_all_are_looked_at_is_left_out() -> None:
    active = make_active()
    one, two, three = Unconnected(PLAIN), Unconnected(PLAIN), Unconnected(Grant(KEY, path="/"))
    for subscription in (one, two, three):
        active.add(subscription)
    looked_at = active.all()

    assert next(looked_at) is one
    active.remove(two)
    active.remove(three)
    active.add(Unconnected(PLAIN))
    assert list(looked_at) == []


def test_nothing_is_left_of_those_who_have_left() -> None:
    active = make_active()
    for number in range(3):
        with active.hold(Unconnected(Grant(KEY, names=(str(number),), expires_s=100))):
            assert len(active) == 1
    assert len(active) == 0
    assert not list(active.all())
    assert not active._by_grant
    assert not active._expiring
    assert not active._held


async def test_a_sweep_of_very_many_subscriptions_lets_others_run_meanwhile() -> None:
    active = ActiveSubscriptions(Authorizer(["key"]), clock_us=lambda: 0)
    turns, ended_in_turn = 0, list[int]()
    for _ in range(3 * SWEEP_BATCH):
        active.add(Unconnected(Grant("a key that is gone", expires_s=1), lambda: ended_in_turn.append(turns)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sweep_subscriptions, active, 0)
        while len(ended_in_turn) < 3 * SWEEP_BATCH:
            turns += 1
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()

    assert ended_in_turn[0] < ended_in_turn[-1]


def test_who_begins_and_ends_is_logged_for_who_looks_closely(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "hookbot.access")
    active = make_active()
    with active.hold(Unconnected(PLAIN)):
        pass

    assert caplog.messages == ["a subscription began", "a subscription ended"]
    of_it = {"client": "192.0.2.1", "path": "/sub/topic", "format": "raw"}
    assert [fields_of(record) for record in caplog.records] == [of_it, of_it]


def test_subscriptions_count_in_quotas_also_those_of_a_reload() -> None:
    def quotas(*prefixes: str) -> Quotas:
        return Quotas(Quota(prefix, {"subscribers": 1}, {"subscribers": 1}) for prefix in prefixes)

    active, topic = make_active(quotas=quotas("x")), TopicFilter(("topic",))
    subscription = Unconnected(PLAIN)
    active.add(subscription)
    active.check(PLAIN, topic)

    active.adopt(make_active(quotas=quotas("topic", "x")))
    with pytest.raises(QuotaReached, match="the quota of 'topic' is reached"):
        active.check(PLAIN, topic)
    active.check(PLAIN, TopicFilter(("other",)))
    active.remove(subscription)
    active.check(PLAIN, topic)
    assert [quota.subscribers for quota in active.quotas] == [0, 0]
