"""Limits on the bodies that are being received."""

from contextlib import suppress

import pytest

from hookbot.errors import BodyTooLarge, Unavailable
from hookbot.web.limits import BodyBudget


@pytest.fixture
def bodies() -> BodyBudget:
    return BodyBudget(max_body_bytes=10, max_receiving_bytes=15)


def test_a_body_is_whole_when_it_is_closed(bodies: BodyBudget) -> None:
    body = bodies.open()
    body.write(b"abc")
    body.write(bytearray(b"def"))
    assert body.close() == b"abcdef"
    assert bodies.receiving_bytes == 0


def test_a_body_may_be_as_large_as_is_allowed_and_no_larger(bodies: BodyBudget) -> None:
    body = bodies.open()
    body.write(b"x" * 10)
    with pytest.raises(BodyTooLarge, match="10 bytes"):
        body.write(b"x")


def test_all_bodies_together_are_bounded(bodies: BodyBudget) -> None:
    first, second = bodies.open(), bodies.open()
    first.write(b"x" * 10)
    second.write(b"x" * 5)
    with pytest.raises(Unavailable):
        second.write(b"x")


def test_a_body_that_has_arrived_makes_room(bodies: BodyBudget) -> None:
    first, second = bodies.open(), bodies.open()
    first.write(b"x" * 10)
    first.close()
    second.write(b"x" * 10)
    assert bodies.receiving_bytes == 10


def test_a_body_that_was_refused_counts_until_it_is_closed(bodies: BodyBudget) -> None:
    with bodies.open() as body:
        body.write(b"x" * 8)
        with pytest.raises(BodyTooLarge):
            body.write(b"x" * 8)
        assert bodies.receiving_bytes == 8
    assert bodies.receiving_bytes == 0


def test_a_sender_that_vanishes_leaves_nothing_behind(bodies: BodyBudget) -> None:
    with suppress(ConnectionError), bodies.open() as body:
        body.write(b"x" * 8)
        raise ConnectionError
    assert bodies.receiving_bytes == 0


def test_a_body_may_be_closed_twice(bodies: BodyBudget) -> None:
    with bodies.open() as body:
        body.write(b"abc")
        assert body.close() == b"abc"
    assert bodies.receiving_bytes == 0
