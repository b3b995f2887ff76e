"""What runs in a thread while a test uses it."""

from concurrent.futures import Future
from threading import Event

import pytest

from hookbot.testing.background import in_background


def until_stopped(ready: Future[Event]) -> None:
    stop = Event()
    ready.set_result(stop)
    stop.wait()


def fail(*_: object) -> None:
    raise ExceptionGroup("of a nursery", [ZeroDivisionError("a bug")])


def fail_later(ready: Future[Event]) -> None:
    until_stopped(ready)
    fail()


def test_it_runs_until_the_block_ends() -> None:
    with in_background(until_stopped, Event.set) as stop:
        assert not stop.is_set()
    assert stop.is_set()


def test_an_error_at_its_beginning_is_raised_at_the_beginning_of_the_block() -> None:
    begun = False
    with pytest.raises(ZeroDivisionError), in_background(fail, fail):
        begun = True
    assert not begun


def test_an_error_at_its_end_is_raised_at_the_end_of_the_block() -> None:
    with pytest.raises(ZeroDivisionError), in_background(fail_later, Event.set):
        pass


def test_an_error_of_the_block_ends_it() -> None:
    with pytest.raises(KeyError, match="mine"), in_background(until_stopped, Event.set):
        raise KeyError("mine")


def test_it_may_have_ended_by_itself() -> None:
    def stop(_: object) -> None:
        raise RuntimeError("the event loop is closed")

    with in_background(lambda ready: ready.set_result(1), stop) as value:
        assert value == 1
