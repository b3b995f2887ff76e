"""Delays between attempts that fail."""

from hypothesis import given
from hypothesis import strategies as st

from hookbot.backoff import GOOD_S, LONGEST_S, SHORTEST_S, Backoff


@given(st.integers(1, 40))
def test_delays_stay_between_the_shortest_and_a_bound_that_doubles(failures: int) -> None:
    backoff = Backoff()
    delays = [backoff.next_s() for _ in range(failures)]
    for n, delay in enumerate(delays, 1):
        assert SHORTEST_S <= delay <= min(LONGEST_S, SHORTEST_S * 2**n)


def test_a_good_minute_starts_over_and_less_does_not() -> None:
    backoff = Backoff()
    for _ in range(20):
        backoff.next_s(lasted_s=GOOD_S - 1)
    assert max(backoff.next_s(lasted_s=GOOD_S - 1) for _ in range(100)) > 5
    assert backoff.next_s(lasted_s=GOOD_S) <= 2 * SHORTEST_S


def test_a_delay_is_never_less_than_the_hub_asked_for_and_not_the_same_for_everyone() -> None:
    delays = {Backoff().next_s(at_least_s=60) for _ in range(20)}
    assert len(delays) > 1
    assert all(60 + SHORTEST_S <= delay <= 60 + 2 * SHORTEST_S for delay in delays)


def test_a_smaller_spread_raises_the_lower_bound_with_the_upper_one() -> None:
    backoff = Backoff(0.1, 5, spread=0.5)
    delays = [backoff.next_s() for _ in range(20)]
    for n, delay in enumerate(delays, 1):
        bound = min(5, 0.1 * 2**n)
        assert max(0.1, bound / 2) <= delay <= bound
