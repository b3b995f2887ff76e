"""Subscriptions that stand, and what ends them."""

import pytest

from hookbot.access.active_subscriptions import ActiveSubscriptions
from hookbot.access.authorizer import Authorizer, Grant
from hookbot.errors import TooManyRequests, Unauthorized

KEY = "key"
AUTHORITY = Authorizer([KEY], revoked=["gone"])
PLAIN = Grant(KEY, path="/sub/")


def nothing():
    """Ends nothing."""


class Moment:
    """When, and by whose word, grants are good."""

    def __init__(self, active, now_s=0, authorizer=AUTHORITY):
        self.now_s = now_s
        self.authorizer = authorizer
        active.is_granted = lambda grant: self.authorizer.stands(grant, now_s=self.now_s)


def end_what_is_over(active):
    for end in active.over():
        if end:
            end()


def test_what_is_granted_stands():
    active, ended = ActiveSubscriptions(), []
    Moment(active, now_s=99)
    for grant in (PLAIN, Grant(KEY, names=("ann",)), Grant(KEY, expires_s=100)):
        active.add(grant, object(), lambda: ended.append(1))
    active.review()
    end_what_is_over(active)
    assert ended == []
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
def test_what_is_no_longer_granted_ends_and_nothing_else(grant):
    active, ended = ActiveSubscriptions(), []
    Moment(active, now_s=100, authorizer=Authorizer([KEY], digests=["sha1"], revoked=["gone"]))
    for which in (PLAIN, grant, grant, Grant(KEY, expires_s=101)):
        active.add(which, object(), lambda which=which: ended.append(which))
    active.review()
    end_what_is_over(active)
    assert ended == [grant, grant]


def test_what_expires_ends_without_anything_else_being_looked_at():
    active, ended, looked_at = ActiveSubscriptions(), [], []
    moment = Moment(active, now_s=99)
    is_granted, active.is_granted = active.is_granted, lambda grant: looked_at.append(grant) or is_granted(grant)
    soon, later = Grant(KEY, expires_s=100), Grant(KEY, expires_s=200)
    for which in (PLAIN, soon, later):
        active.add(which, "key", lambda which=which: ended.append(which))
    end_what_is_over(active)
    moment.now_s = 100
    end_what_is_over(active)
    assert ended == [soon]
    assert looked_at == [soon, later] * 2
    active.remove(soon, "key")
    end_what_is_over(active)
    assert looked_at[4:] == [later]


def test_a_subscription_may_leave_while_others_are_ended():
    active, grant = ActiveSubscriptions(), Grant("another key")
    Moment(active)
    for key in range(3):
        active.add(grant, key, lambda key=key: active.remove(grant, key))
    active.review()
    end_what_is_over(active)
    assert len(active) == 0


def test_all_may_leave_between_two_of_them():
    active = ActiveSubscriptions()
    Moment(active)
    active.add(Grant("one"), 1, nothing)
    active.add(Grant("two"), 2, nothing)
    active.review()
    over = active.over()
    assert next(over) is nothing
    active.remove(Grant("one"), 1)
    active.remove(Grant("two"), 2)
    assert list(over) == []


def test_what_is_no_longer_granted_does_not_begin():
    active = ActiveSubscriptions()
    Moment(active)
    with pytest.raises(Unauthorized):
        active.check(Grant("another key"))
    with pytest.raises(Unauthorized), active.stand(Grant("another key"), nothing):
        """Never reached."""
    assert len(active) == 0


def test_there_are_only_so_many_in_all():
    active = ActiveSubscriptions(max_subscribers=2)
    active.add(PLAIN, "one", nothing)
    active.check(PLAIN)
    active.add(Grant(KEY, path="/"), "two", nothing)
    with pytest.raises(TooManyRequests, match="this hub") as refused:
        active.check(Grant(KEY, path="/other"))
    assert refused.value.retry_after_s > 0
    active.remove(PLAIN, "one")
    active.check(PLAIN)


def test_there_are_only_so_many_for_a_token_however_it_is_narrowed():
    active = ActiveSubscriptions(max_per_token=2)
    active.add(PLAIN, "one", nothing)
    active.add(Grant(KEY, path="/sub/", expires_s=100), "two", nothing)
    for same in (PLAIN, Grant(KEY, path="/sub/", live_only=True)):
        with pytest.raises(TooManyRequests, match="this token"):
            active.check(same)
    for another in (Grant(KEY, path="/"), Grant(KEY, path="/sub/", names=("ann",)), Grant("old", path="/sub/")):
        active.check(another)
    active.remove(PLAIN, "one")
    active.check(PLAIN)


def test_limits_may_change_while_subscriptions_stand():
    active = ActiveSubscriptions()
    for key in range(3):
        active.add(PLAIN, key, nothing)
    active.check(PLAIN)
    active.max_per_token = 3
    with pytest.raises(TooManyRequests):
        active.check(PLAIN)
    active.max_per_token = 4
    active.check(PLAIN)


def test_nothing_is_left_of_those_who_have_left():
    active = ActiveSubscriptions()
    for number in range(3):
        with active.stand(Grant(KEY, names=(str(number),), expires_s=100), nothing):
            assert len(active) == 1
    assert len(active) == 0
    assert not active._ends
    assert not active._expiring
    assert not active._held
