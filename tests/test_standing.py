"""Subscriptions that stand, and what ends them."""

import pytest

from hookbot.authority import Authority, Grant
from hookbot.errors import TooManyRequests
from hookbot.standing import Standing

KEY = "key"
AUTHORITY = Authority([KEY], revoked=["gone"])
PLAIN = Grant(KEY, path="/sub/")


def nothing():
    """Ends nothing."""


def over(standing, *, now_s=0, authority=AUTHORITY):
    for end in standing.over(authority, now_s=now_s):
        end()


def test_what_is_granted_stands():
    standing, ended = Standing(), []
    for grant in (PLAIN, Grant(KEY, names=("ann",)), Grant(KEY, expires_s=100)):
        standing.add(grant, object(), lambda: ended.append(1))
    over(standing, now_s=99)
    assert ended == []
    assert len(standing) == 3


@pytest.mark.parametrize(
    "grant",
    [Grant("another key"), Grant(KEY, names=("ann", "gone")), Grant(KEY, expires_s=100), Grant(KEY, expires_s=50)],
)
def test_what_is_no_longer_granted_ends_and_nothing_else(grant):
    standing, ended = Standing(), []
    for which in (PLAIN, grant, grant, Grant(KEY, expires_s=101)):
        standing.add(which, object(), lambda which=which: ended.append(which))
    over(standing, now_s=100)
    assert ended == [grant, grant]


def test_a_subscription_may_leave_while_others_are_ended():
    standing = Standing()
    for key in range(3):
        standing.add(Grant("another key"), key, lambda key=key: standing.remove(Grant("another key"), key))
    over(standing)
    assert len(standing) == 0


def test_a_subscription_that_takes_its_time_is_told_again():
    standing, ended = Standing(), []
    with standing.stand(Grant("another key"), lambda: ended.append(1)):
        over(standing)
        over(standing)
        assert len(ended) == 2
    over(standing)
    assert len(ended) == 2


def test_there_are_only_so_many_in_all():
    standing = Standing(max_subscribers=2)
    standing.add(PLAIN, "one", nothing)
    standing.check(PLAIN)
    standing.add(Grant(KEY, path="/"), "two", nothing)
    with pytest.raises(TooManyRequests, match="this hub") as refused:
        standing.check(Grant(KEY, path="/other"))
    assert refused.value.retry_after_s > 0
    standing.remove(PLAIN, "one")
    standing.check(PLAIN)


def test_there_are_only_so_many_for_a_token_however_it_is_narrowed():
    standing = Standing(max_per_token=2)
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
    standing = Standing()
    for key in range(3):
        standing.add(PLAIN, key, nothing)
    standing.check(PLAIN)
    standing.max_per_token = 3
    with pytest.raises(TooManyRequests):
        standing.check(PLAIN)
    standing.max_per_token = 4
    standing.check(PLAIN)


def test_nothing_is_left_of_those_who_have_left():
    standing = Standing()
    for number in range(3):
        with standing.stand(Grant(KEY, names=(str(number),)), nothing):
            assert len(standing) == 1
    assert len(standing) == 0
    assert not standing._ends
    assert not standing._held
