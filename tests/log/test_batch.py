import pytest

from hookbot.errors import Superseded
from hookbot.log.batch import Batch, moved_in
from hookbot.log.contract import Move, Noted, Unit
from hookbot.log.duties import Held
from hookbot.protocol.message import Draft

EPOCH = "abcdefgh"


def batch(**positions: int) -> Batch:
    return Batch(EPOCH, 5, 1, {}, positions)


def test_cursors_that_are_moved_are_named() -> None:
    units = [Unit((), {"a": Move(1, 2), "b": 3}), Unit((), {"c": None, "d": Move(None, 1)})]
    assert moved_in(units) == ["a", "d"]


def test_a_batch_knows_where_it_begins_and_ends() -> None:
    one = batch()
    one.add_unit(Unit([Draft("a"), Draft("/unsafe/b")]))

    assert (one.after, one.head, [message.position for message in one.messages]) == (5, 7, [6, 7])


def test_the_last_word_of_a_cursor_is_saved() -> None:
    one = batch(a=1)
    for new in (Noted(2, "x"), Move(2, 3), None, Move(None, 4)):
        assert one.add_unit(Unit((), {"a": new})) == []

    assert one.cursors == {"a": Noted(4)}


@pytest.mark.parametrize(("fences", "is_stored"), [({"d": 2}, True), ({"d": 3}, False), ({}, False), (None, True)])
def test_a_unit_for_a_duty_is_stored_while_the_hub_has_it(fences: dict[str, int] | None, is_stored: bool) -> None:
    one = Batch(EPOCH, 5, 1, {}, fences=fences)

    result = one.add_unit(Unit([Draft("t")], duty=Held("d", 2)))

    assert isinstance(result, Superseded) is not is_stored
    assert len(one.messages) == is_stored


def test_a_superseded_unit_leaves_no_trace() -> None:
    one = batch(a=1)

    result = one.add_unit(Unit([Draft("t")], {"b": 1, "a": Move(2, 3)}))

    assert isinstance(result, Superseded)
    assert (one.head, one.stored, one.cursors) == (5, [], {})
