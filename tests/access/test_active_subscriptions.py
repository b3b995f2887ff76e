"""Active subscriptions, and what ends them."""

from functools import partial
from typing import Any

import pytest

from hookbot.access.active_subscriptions import ActiveSubscriptions
from hookbot.access.authorizer import Authorizer, Grant
from hookbot.errors import TooManyRequests, Unauthorized
from support import KEY

AUTHORIZER = Authorizer([KEY], revoked=["gone"])
PLAIN = Grant(KEY, path="/sub/")


def nothing() -> None:
    """Callback that does nothing."""


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
    active, ended = make_active(now_s=99), []
    for grant in (PLAIN, Grant(KEY, names=("ann",)), Grant(KEY, expires_s=100)):
        active.add(grant, object(), lambda: ended.append(1))
    assert sweep(active) == 3
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
def test_what_is_no_longer_granted_ends_and_nothing_else(grant: Grant) -> None:
    active = make_active(now_s=100, authorizer=Authorizer([KEY], digests=["sha1"], revoked=["gone"]))
    ended: list[Grant] = []
    for which in (PLAIN, grant, grant, Grant(KEY, expires_s=101)):
        active.add(which, object(), partial(ended.append, which))
    assert sweep(active) == 4
    assert ended == [grant, grant]


def test_what_expires_ends_without_anything_else_being_looked_at() -> None:
    ended: list[Grant] = []
    authorizer, now_us = Watched([KEY]), [99_000_000]
    active = ActiveSubscriptions(authorizer, clock_us=lambda: now_us[0])
    soon, later = Grant(KEY, expires_s=100), Grant(KEY, expires_s=200)
    for which in (PLAIN, soon, later):
        active.add(which, "key", partial(ended.append, which))
    assert len(list(active.sweep())) == 2
    now_us[0] = 100_000_000
    assert len(list(active.sweep())) == 2
    assert ended == [soon]
    assert authorizer.looked_at == [soon, later] * 2
    active.remove(soon, "key")
    assert len(list(active.sweep())) == 1
    assert authorizer.looked_at[4:] == [later]


def test_a_subscription_may_leave_while_others_are_ended() -> None:
    active, grant = make_active(), Grant("another key")
    for key in range(3):
        active.add(grant, key, partial(active.remove, grant, key))
    assert sweep(active) == 3
    assert len(active) == 0


def test_all_may_leave_between_two_of_them() -> None:
    active, ended = make_active(), []
    active.add(Grant("one"), 1, lambda: ended.append(1))
    active.add(Grant("two"), 2, lambda: ended.append(2))
    active.adopt(make_active())
    steps = active.sweep()
    next(steps)
    assert ended == [1]
    active.remove(Grant("one"), 1)
    active.remove(Grant("two"), 2)
    assert list(steps) == []
    assert ended == [1]


def test_what_is_no_longer_granted_does_not_begin() -> None:
    active = make_active()
    with pytest.raises(Unauthorized):
        active.check(Grant("another key"))
    with pytest.raises(Unauthorized), active.hold(Grant("another key"), nothing):
        """Never reached."""
    assert len(active) == 0


def test_there_are_only_so_many_in_all() -> None:
    active = make_active(max_subscribers=2)
    active.add(PLAIN, "one", nothing)
    active.check(PLAIN)
    active.add(Grant(KEY, path="/"), "two", nothing)
    with pytest.raises(TooManyRequests, match="this hub") as refused:
        active.check(Grant(KEY, path="/other"))
    assert refused.value.retry_after_s > 0
    active.remove(PLAIN, "one")
    active.check(PLAIN)


def test_there_are_only_so_many_for_a_token_however_it_is_narrowed() -> None:
    active = make_active(authorizer=Authorizer([KEY, "old"]), max_per_token=2)
    active.add(PLAIN, "one", nothing)
    active.add(Grant(KEY, path="/sub/", expires_s=100), "two", nothing)
    for same in (PLAIN, Grant(KEY, path="/sub/", live_only=True)):
        with pytest.raises(TooManyRequests, match="this token"):
            active.check(same)
    for another in (Grant(KEY, path="/"), Grant(KEY, path="/sub/", names=("ann",)), Grant("old", path="/sub/")):
        active.check(another)
    active.remove(PLAIN, "one")
    active.check(PLAIN)


def test_limits_may_change_while_there_are_subscriptions() -> None:
    active = make_active()
    for key in range(3):
        active.add(PLAIN, key, nothing)
    active.check(PLAIN)
    active.adopt(make_active(max_per_token=3))
    with pytest.raises(TooManyRequests):
        active.check(PLAIN)
    active.adopt(make_active(max_per_token=4))
    active.check(PLAIN)
    active.adopt(make_active(max_subscribers=3))
    with pytest.raises(TooManyRequests):
        active.check(PLAIN)


def test_nothing_is_left_of_those_who_have_left() -> None:
    active = make_active()
    for number in range(3):
        with active.hold(Grant(KEY, names=(str(number),), expires_s=100), nothing):
            assert len(active) == 1
    assert len(active) == 0
    assert not active._ends
    assert not active._expiring
    assert not active._held
