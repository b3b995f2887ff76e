import pytest
import trio
from trio.testing import MockClock

from hookbot.log.held_duties import TERM_S, HeldDuties


async def test_a_duty_is_lost_when_its_time_is_over(
    autojump_clock: MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    duties, began = HeldDuties(), trio.current_time()
    nursery.start_soon(duties.expire)

    held = duties.add("trim", 1, asked_at=began)
    await held.lost.wait()

    assert trio.current_time() == began + TERM_S
    assert duties.find("trim") is None
    assert "could not be renewed" in caplog.text


async def test_the_time_of_a_duty_begins_before_it_is_asked_for(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    duties, began = HeldDuties(), trio.current_time()
    nursery.start_soon(duties.expire)
    held = duties.add("trim", 1, asked_at=began)

    await trio.sleep(6)
    duties.renew([held], ["trim"], asked_at=began + 4)
    await held.lost.wait()

    assert trio.current_time() == began + 4 + TERM_S


async def test_one_that_is_not_renewed_ends_and_the_others_do_not(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    duties, began = HeldDuties(), trio.current_time()
    nursery.start_soon(duties.expire)
    old, new = duties.add("old", 1, asked_at=began), duties.add("new", 1, asked_at=began + 1)

    await old.lost.wait()

    assert duties.all() == (new,)
    assert not new.lost.is_set()


async def test_what_another_hub_has_taken_over_is_lost() -> None:
    duties = HeldDuties()
    kept, lost = duties.add("kept", 1, asked_at=0), duties.add("lost", 1, asked_at=0)

    duties.renew([kept, lost], ["kept"], asked_at=3)

    assert lost.lost.is_set()
    assert duties.all() == (kept,)
    assert kept.ends == 3 + TERM_S


async def test_a_renewal_of_what_was_removed_meanwhile_does_nothing() -> None:
    duties = HeldDuties()
    held = duties.add("trim", 1, asked_at=0)
    assert duties.remove(held)

    duties.renew([held], [], asked_at=3)

    assert not duties.remove(held)
    assert duties.find("trim") is None


async def test_who_claims_a_duty_again_has_lost_it_before() -> None:
    duties = HeldDuties()

    first, second = duties.add("trim", 1, asked_at=0), duties.add("trim", 2, asked_at=0)

    assert first.lost.is_set()
    assert not duties.remove(first)
    assert duties.all() == (second,)
