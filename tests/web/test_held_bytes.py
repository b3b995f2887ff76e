"""Held bytes: what is counted, and who is cut off when it is too much."""

import logging
from functools import partial

import pytest

from hookbot.web.held_bytes import HeldBytes


class Slow:
    """Slow clients by name, of which some are cut off."""

    def __init__(self, max_bytes: int) -> None:
        self.held = HeldBytes(max_bytes)
        self.cut: list[str] = []

    def hold(self, name: str, data: bytes) -> None:
        self.held.hold(name, data, len(data), what="topic", cut=partial(self.cut.append, name))


def test_a_frame_that_several_wait_for_is_counted_once() -> None:
    slow, frame = Slow(100), b"x" * 60
    for name in "abc":
        slow.hold(name, frame)
    assert (slow.held.size, slow.cut) == (60, [])

    for name in "abc":
        slow.held.release(name)
    assert slow.held.size == 0


def test_what_a_client_holds_takes_the_place_of_what_it_held() -> None:
    slow = Slow(100)
    slow.hold("a", b"x" * 60)
    slow.hold("a", b"y" * 70)
    assert (slow.held.size, slow.cut) == (70, [])

    slow.held.release("a")
    slow.held.release("a")
    assert slow.held.size == 0


def test_who_holds_most_is_cut_and_it_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    slow = Slow(100)
    slow.hold("little", b"x" * 10)
    slow.hold("much", b"x" * 60)
    with caplog.at_level(logging.WARNING):
        slow.hold("less", b"x" * 50)

    assert (slow.cut, slow.held.size, slow.held.cut) == (["much"], 60, 1)
    assert "a subscriber of topic is cut off" in caplog.text


def test_who_has_held_as_much_for_longer_is_cut_first() -> None:
    slow = Slow(100)
    for name in "abc":
        slow.hold(name, bytes(bytearray(40)))

    assert slow.cut == ["a"]


def test_of_a_shared_frame_each_holds_a_share_and_it_is_gone_with_the_last() -> None:
    slow, shared = Slow(100), b"x" * 90
    for name in "abc":
        slow.hold(name, shared)
    slow.hold("alone", b"y" * 40)
    assert slow.cut == ["alone"]

    slow.hold("most", b"z" * 29)
    assert slow.cut == ["alone", "a", "b", "c"]
    assert slow.held.size == 29


def test_a_single_frame_may_be_larger_than_all() -> None:
    slow, frame = Slow(100), b"x" * 1000
    slow.hold("a", frame)
    slow.hold("b", frame)

    assert (slow.cut, slow.held.size) == ([], 1000)


def test_it_is_known_how_many_clients_are_slow() -> None:
    slow = Slow(100)
    slow.hold("a", b"x")
    slow.hold("b", b"y")
    assert len(slow.held) == 2

    slow.held.release("a")
    assert len(slow.held) == 1
