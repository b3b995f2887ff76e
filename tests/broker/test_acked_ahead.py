"""Acknowledgements ahead of the reading of a group, compared with a set of positions."""

from hypothesis import given
from hypothesis import strategies as st

from hookbot.broker.acked_ahead import MAX_RANGES, AckedAhead

ranges = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)).map(lambda pair: (pair[0], sum(pair))), max_size=8)


@given(ranges, st.lists(st.integers(1, 70)))
def test_a_position_is_acknowledged_if_it_was_added_or_in_a_range(
    given_ranges: list[tuple[int, int]], added: list[int]
) -> None:
    ahead = AckedAhead(given_ranges)
    for position in added:
        ahead.add(position)
    acked = {*added, *(position for first, last in given_ranges for position in range(first, last + 1))}

    assert ahead.newest == max(acked, default=0)
    assert {position for first, last in ahead.after(30) for position in range(first, last + 1)} == {
        position for position in acked if position > 30
    }
    for position in range(75):
        end = ahead.end_of(position)
        assert (end is not None) == (position in acked)
        assert end is None or set(range(position, end + 1)) <= acked


def test_a_position_that_is_acknowledged_again_and_again_takes_no_room() -> None:
    ahead = AckedAhead([(3, 9)])
    for _ in range(2 * MAX_RANGES):
        ahead.add(5)
        ahead.add(20)
    assert ahead.after(0) == [(3, 9), (20, 20)]


def test_beyond_the_limit_nothing_is_added() -> None:
    ahead = AckedAhead()
    for position in range(2, 2 * MAX_RANGES + 10, 2):
        ahead.add(position)
    assert len(ahead.after(0)) == MAX_RANGES
    assert ahead.newest == 2 * MAX_RANGES
