from dataclasses import replace
from itertools import accumulate
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hookbot.log.budgets import Partitions
from hookbot.log.retention import STEP_BYTES, Partition, Retention, RetentionLimits, Row
from hookbot.protocol.topics import UNSAFE

KEEP_ALL = Retention(max_age_s=None, max_bytes=None, max_count=None, max_unsafe_bytes=None)


def limits(*, unsafe: bool = False, now_us: int = 0, **kept: Any) -> RetentionLimits:
    return replace(KEEP_ALL, **kept).limits(now_us)[UNSAFE if unsafe else ""]


def test_a_partition_is_the_same_after_a_batch_without_messages_for_it() -> None:
    partition = Partition().grown([(1, 5, 100)])

    assert partition.grown([]) == partition


def test_after_everything_was_passed_only_new_messages_count() -> None:
    partition = replace(Partition().grown([(1, 5, 100), (2, 6, 100)]), passed=2)

    grown = partition.grown([(3, 7, 50)])

    assert (grown.count, grown.size, grown.oldest_us) == (1, 50, 7)


def test_positions_are_dense_after_what_is_deleted_and_after_what_was_copied_with_holes() -> None:
    copied = Partition(head=9, count=3, passed=2, dense=5)
    grown = copied.grown([(10, 7, 50)])

    assert grown.dense == 5
    assert Partitions.of({"": grown, "/unsafe/": Partition(passed=3)}).dense == 5
    assert Partitions.of({"": grown, "/unsafe/": Partition(passed=6)}).dense == 6


def test_without_limits_nothing_is_due() -> None:
    partition = Partition().grown([(1, 5, 100)])

    assert not partition.due(limits(now_us=1 << 60))


def test_the_bytes_of_each_partition_have_their_own_limit() -> None:
    partition = Partition().grown([(1, 5, 100)])

    assert partition.due(limits(max_bytes=99))
    assert not partition.due(limits(max_bytes=99, unsafe=True))
    assert partition.due(limits(max_unsafe_bytes=99, unsafe=True))
    assert not partition.due(limits(max_unsafe_bytes=99))


def test_a_limit_that_is_just_reached_is_kept() -> None:
    partition = Partition().grown([(1, 5_000_000, 100)])

    assert not partition.due(limits(max_bytes=100, max_count=1, max_age_s=5, now_us=10_000_000))
    assert partition.due(limits(max_age_s=5, now_us=10_000_001))


def test_an_empty_partition_is_never_due() -> None:
    partition = Partition().grown([(1, 5, 100)])

    assert not partition.shrunk([(1, 5, 100)], 1).due(limits(max_bytes=-1, max_count=-1, max_age_s=0, now_us=1 << 60))


def test_one_step_takes_few_large_messages() -> None:
    rows = [(position, 0, STEP_BYTES // 2) for position in range(1, 10)]

    assert Partition().grown(rows).doomed(rows, limits(max_count=0)) == 2


rows = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 5), st.integers(1, 100)), min_size=1, max_size=30).map(
    lambda steps: list(
        zip(
            accumulate(step[0] for step in steps),
            accumulate(step[1] for step in steps),
            (step[2] for step in steps),
            strict=True,
        )
    )
)


@given(
    rows=rows,
    max_count=st.none() | st.integers(0, 30),
    max_bytes=st.none() | st.integers(0, 1000),
    max_age_us=st.none() | st.integers(0, 100),
    step=st.integers(1, 40),
)
def test_what_is_kept_is_the_longest_end_that_all_limits_allow(
    rows: list[Row], max_count: int | None, max_bytes: int | None, max_age_us: int | None, step: int
) -> None:
    now_us = rows[-1][1]
    age_s = None if max_age_us is None else max_age_us / 1_000_000
    allowed = limits(max_count=max_count, max_bytes=max_bytes, max_age_s=age_s, now_us=now_us)
    partition, kept = Partition().grown(rows), rows

    while partition.due(allowed):
        oldest = kept[:step]
        taken = partition.doomed(oldest, allowed)
        partition, kept = partition.shrunk(oldest, taken), kept[taken:]

    assert kept == next(
        rows[start:]
        for start in range(len(rows) + 1)
        if (max_count is None or len(rows[start:]) <= max_count)
        and (max_bytes is None or sum(row[2] for row in rows[start:]) <= max_bytes)
        and all(row[1] >= allowed.before_us for row in rows[start : start + 1])
    )
    gone = rows[: len(rows) - len(kept)]
    assert (partition.count, partition.size) == (len(kept), sum(row[2] for row in kept))
    assert (partition.lost, partition.lost_us) == (gone[-1][:2] if gone else (0, 0))
    assert partition.lost <= partition.passed
    assert all(row[0] > partition.passed and row[1] >= partition.oldest_us for row in kept)
    assert (partition.head, partition.head_us) == rows[-1][:2]
