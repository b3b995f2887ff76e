"""What the load generator receives."""

import pytest
from benchmarks.receiving import MessageCounter

PING = b"\x89\x00"
SMALL = b"\x82\x03abc"
EMPTY = b"\x82\x00"
LARGE = b"\x82\x7e\x01\x00" + bytes(256)
HUGE = b"\x82\x7f" + (70_000).to_bytes(8) + bytes(70_000)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000, 1 << 20])
def test_messages_are_counted_however_the_stream_is_cut(size: int) -> None:
    stream = SMALL + PING + LARGE + EMPTY + SMALL + HUGE + PING + EMPTY
    counter = MessageCounter()

    counts = [counter.count(stream[place : place + size]) for place in range(0, len(stream), size)]

    assert sum(counts) == 6
    assert counts[-1] > 0


def test_a_message_counts_when_its_last_byte_has_come() -> None:
    counter = MessageCounter()

    assert counter.count(LARGE[:-1]) == 0
    assert counter.count(LARGE[-1:] + SMALL) == 2
