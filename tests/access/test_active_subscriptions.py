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

    def __init__(self, standing, now_s=0, authority=AUTHORITY):
        self.now_s = now_s
        self.authority = authority
        standing.is_granted = lambda grant: self.authority.stands(grant, now_s=self.now_s)


def end_what_is_over(standing):
    for end in standing.over():
        if end:
            end()


def test_what_is_granted_stands():
    standing, ended = ActiveSubscriptions(), []
    Moment(standing, now_s=99)
    for grant in (PLAIN, Grant(KEY, names=("ann",)), Grant(KEY, expires_s=100)):
        standing.add(grant, object(), lambda: ended.append(1))
    standing.review()
    end_what_is_over(standing)
    assert ended == []
    assert len(standing) == 3


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
    standing, ended = ActiveSubscriptions(), []
    Moment(standing, now_s=100, authority=Authorizer([KEY], digests=["sha1"], revoked=["gone"]))
    for which in (PLAIN, grant, grant, Grant(KEY, expires_s=101)):
        standing.add(which, object(), lambda which=which: ended.append(which))
    standing.review()
    end_what_is_over(standing)
    assert ended == [grant, grant]


def test_what_expires_ends_without_anything_else_being_looked_at():
    standing, ended, looked_at = ActiveSubscriptions(), [], []
    moment = Moment(standing, now_s=99)
    is_granted, standing.is_granted = standing.is_granted, lambda grant: looked_at.append(grant) or is_granted(grant)
    soon, later = Grant(KEY, expires_s=100), Grant(KEY, expires_s=200)
    for which in (PLAIN, soon, later):
        standing.add(which, "key", lambda which=which: ended.append(which))
    end_what_is_over(standing)
    moment.now_s = 100
    end_what_is_over(standing)
    assert ended == [soon]
    assert looked_at == [soon, later] * 2
    standing.remove(soon, "key")
    end_what_is_over(standing)
    assert looked_at[4:] == [later]


def test_a_subscription_may_leave_while_others_are_ended():
    standing, grant = ActiveSubscriptions(), Grant("another key")
    Moment(standing)
    for key in range(3):
        standing.add(grant, key, lambda key=key: standing.remove(grant, key))
    standing.review()
    end_what_is_over(standing)
    assert len(standing) == 0


def test_all_may_leave_between_two_of_them():
    standing = ActiveSubscriptions()
    Moment(standing)
    standing.add(Grant("one"), 1, nothing)
    standing.add(Grant("two"), 2, nothing)
    standing.review()
    over = standing.over()
    assert next(over) is nothing
    standing.remove(Grant("one"), 1)
    standing.remove(Grant("two"), 2)
    assert list(over) == []


def test_what_is_no_longer_granted_does_not_begin():
    standing = ActiveSubscriptions()
    Moment(standing)
    with pytest.raises(Unauthorized):
        standing.check(Grant("another key"))
    with pytest.raises(Unauthorized), standing.stand(Grant("another key"), nothing):
        """Never reached."""
    assert len(standing) == 0


def test_there_are_only_so_many_in_all():
    standing = ActiveSubscriptions(max_subscribers=2)
    standing.add(PLAIN, "one", nothing)
    standing.check(PLAIN)
    standing.add(Grant(KEY, path="/"), "two", nothing)
    with pytest.raises(TooManyRequests, match="this hub") as refused:
        standing.check(Grant(KEY, path="/other"))
    assert refused.value.retry_after_s > 0
    standing.remove(PLAIN, "one")
    standing.check(PLAIN)


def test_there_are_only_so_many_for_a_token_however_it_is_narrowed():
    standing = ActiveSubscriptions(max_per_token=2)
    standing.add(PLAIN, "one", nothing)
    standing.add(Grant(KEY, path="/sub/", expires_s=100), "two", nothing)
    for same in (PLAIN, Grant(KEY, path="/sub/", live_only=True)):
        with pytest.raises(TooManyRequests, match="this token"):
            standing.check(same)
    for another in (Grant(KEY, path="/"), Grant(KEY, path="/sub/", names=("ann",)), Grant("old", path="/sub/")):
        standing.check(another)
    standing.remove(PLAIN, "one")
    standing.check(PLAIN)


def test_limits_may_change_while_subscriptions_stand():
    standing = ActiveSubscriptions()
    for key in range(3):
        standing.add(PLAIN, key, nothing)
    standing.check(PLAIN)
    standing.max_per_token = 3
    with pytest.raises(TooManyRequests):
        standing.check(PLAIN)
    standing.max_per_token = 4
    standing.check(PLAIN)


def test_nothing_is_left_of_those_who_have_left():
    standing = ActiveSubscriptions()
    for number in range(3):
        with standing.stand(Grant(KEY, names=(str(number),), expires_s=100), nothing):
            assert len(standing) == 1
    assert len(standing) == 0
    assert not standing._ends
    assert not standing._expiring
    assert not standing._held
