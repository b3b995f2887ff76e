"""Rate limits, on a clock that the tests set."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookbot.access.rate_limits import MAX_KEYS, Bucket, Rate, RateLimiter
from hookbot.errors import ConfigError, TooManyRequests

NOW_S = 1_700_000_000.0


def passes(throttle: RateLimiter, key: str = "a", *, now_s: float = NOW_S) -> bool:
    try:
        throttle.use(key, now_s=now_s)
    except TooManyRequests:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "rate"),
    [("100/s", Rate(100, 1)), ("60/m", Rate(60, 60)), ("1/h", Rate(1, 3600)), ("10000/s", Rate(10000, 1))],
)
def test_a_rate_is_so_many_in_a_time(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate


@pytest.mark.parametrize(
    "text", ["", "100", "100/", "/s", "0/s", "-1/s", "1.5/s", "10/d", "10/ s", "1e3/s", "9" * 5000]
)
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="100/s"):
        Rate.parse(text)


def test_so_many_pass_at_once_and_then_one_for_each_part_of_the_time() -> None:
    throttle = RateLimiter(Rate(5, 60), "things")
    assert [passes(throttle) for _ in range(7)] == [True] * 5 + [False] * 2
    assert not passes(throttle, now_s=NOW_S + 11)
    assert [passes(throttle, now_s=NOW_S + 12) for _ in range(2)] == [True, False]
    assert [passes(throttle, now_s=NOW_S + 1000) for _ in range(6)] == [True] * 5 + [False]


def test_each_key_is_counted_by_itself() -> None:
    throttle = RateLimiter(Rate(1, 60), "things")
    assert passes(throttle, "a")
    assert passes(throttle, "b")
    assert not passes(throttle, "a")


def test_who_has_to_wait_is_told_for_how_long_and_then_passes() -> None:
    throttle = RateLimiter(Rate(2, 60), "things")
    assert passes(throttle)
    assert passes(throttle)
    with pytest.raises(TooManyRequests, match="too many things") as refused:
        throttle.use("a", now_s=NOW_S + 0.5)
    assert refused.value.retry_after_s == 30
    assert passes(throttle, now_s=NOW_S + 0.5 + refused.value.retry_after_s)


def test_who_goes_on_trying_does_not_wait_longer() -> None:
    throttle = RateLimiter(Rate(1, 60), "things")
    assert passes(throttle)
    for second in range(60):
        assert not passes(throttle, now_s=NOW_S + second)
    assert passes(throttle, now_s=NOW_S + 60)


def test_a_clock_that_was_set_back_makes_nobody_wait_longer_than_the_time() -> None:
    throttle = RateLimiter(Rate(2, 60), "things")
    assert passes(throttle)
    with pytest.raises(TooManyRequests) as refused:
        throttle.use("a", now_s=NOW_S - 86400)
    assert refused.value.retry_after_s <= 60
    assert passes(throttle, now_s=NOW_S - 86400 + 30)


@given(st.integers(1, 50), st.lists(st.floats(0, 100), max_size=200))
def test_never_more_than_the_rate_allows_pass(count: int, moments: list[float]) -> None:
    throttle = RateLimiter(Rate(count, 10), "things")
    passed = [moment for moment in sorted(moments) if passes(throttle, now_s=NOW_S + moment)]
    for first, start in enumerate(passed):
        within = [moment for moment in passed[first:] if moment - start <= 10]
        assert len(within) <= 2 * count + 1  # a full bucket, and what runs out of it meanwhile


def test_who_did_something_long_ago_is_forgotten_when_there_are_too_many() -> None:
    throttle = RateLimiter(Rate(1, 3600), "things")
    assert passes(throttle, "first")
    for number in range(MAX_KEYS - 1):
        assert passes(throttle, str(number))
    assert not passes(throttle, "first")
    assert passes(throttle, "one more")
    assert passes(throttle, "0")
    assert not passes(throttle, "first")


@pytest.mark.parametrize(
    ("text", "rate"),
    [("10MB/s", Rate(10 << 20, 1)), ("100KiB/m", Rate(100 << 10, 60)), ("1GB/h", Rate(1 << 30, 3600))],
)
def test_a_rate_of_bytes_has_a_size(text: str, rate: Rate) -> None:
    assert Rate.parse_bytes(text) == rate


@pytest.mark.parametrize("text", ["", "1GB", "1GB/", "/h", "1/h", "0B/s", "1GB/d", "1 GB/h", "1.5GB/h"])
def test_what_is_no_rate_of_bytes_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="10MB/s"):
        Rate.parse_bytes(text)


def test_several_uses_are_counted_at_once_or_not_at_all() -> None:
    bucket = Bucket(Rate(100, 10))
    assert bucket.use(70, now_s=NOW_S) == 0
    assert bucket.wait_s(50, now_s=NOW_S) == pytest.approx(2)
    assert bucket.use(50, now_s=NOW_S) == pytest.approx(2)
    assert bucket.used(now_s=NOW_S) == pytest.approx(70)
    assert bucket.wait_s(30, now_s=NOW_S) == bucket.use(30, now_s=NOW_S) == 0
    assert bucket.used(now_s=NOW_S + 5) == pytest.approx(50)
    assert bucket.used(now_s=NOW_S + 50) == 0
