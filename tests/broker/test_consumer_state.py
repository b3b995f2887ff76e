"""The state of a cursor or a group, as it is saved and loaded."""

import pytest

from hookbot.broker.claims import ConsumerId
from hookbot.broker.consumer_state import ConsumerState, renewed
from hookbot.log.contract import SavedCursor

ID = ConsumerId("group", "/sub/t", "g")


def loaded(note: str, *, head: int = 100) -> ConsumerState:
    return ConsumerState.load(SavedCursor(str(ID), 5, 1, note), used_us=7, head=head)


def test_a_state_is_loaded_as_it_was_saved() -> None:
    state = ConsumerState(ID, 5, 7)
    state.acked = lambda: [(7, 9), (12, 12)]

    again = loaded(state.note)

    assert (again.id, again.position, again.saved, again.used_us, again.sent) == (ID, 5, 5, 7, 100)
    assert (again.generation, list(again.acked())) == (state.generation, [(7, 9), (12, 12)])
    assert again.note == state.note


def test_two_states_have_different_generations() -> None:
    assert ConsumerState(ID, 5, 7).generation != ConsumerState(ID, 5, 7).generation


def test_a_state_of_an_earlier_version_has_acknowledged_nothing_beyond_its_position() -> None:
    assert loaded("").generation == loaded("").generation
    assert list(loaded("").acked()) == []


@pytest.mark.parametrize(
    "note", ["{", "[]", "7", '"x"', '{"acked": 7}', '{"acked": [7]}', '{"acked": [["x", 1]]}', '{"acked": [[1, null]]}']
)
def test_a_damaged_note_counts_as_none_and_its_generation_as_a_new_one(note: str) -> None:
    assert list(loaded(note).acked()) == []
    assert loaded(note).generation != loaded(note).generation


def test_what_was_acknowledged_beyond_the_head_that_is_left_does_not_count() -> None:
    note = '{"generation": "x", "acked": [[7, 9], [11, 13]]}'
    assert list(loaded(note, head=9).acked()) == [(7, 9)]


def test_what_was_sent_to_members_that_have_left_is_kept() -> None:
    state = loaded("{}")
    state.sent_unacked = frozenset({9, 7})

    again = loaded(state.note)

    assert again.sent_unacked == {7, 9}
    assert loaded(state.note, head=8).sent_unacked == {7}
    assert again.note == state.note


def test_a_restored_state_has_another_generation_and_has_acknowledged_the_same() -> None:
    state = loaded('{"generation": "x", "acked": [[7, 9]], "sent": [6]}')

    again = loaded(renewed(SavedCursor(str(ID), 5, 7, state.note)))

    assert again.generation not in ("x", loaded(renewed(SavedCursor(str(ID), 5, 7, ""))).generation)
    assert (list(again.acked()), again.sent_unacked) == ([(7, 9)], {6})
    assert renewed(SavedCursor("router/github", 5, 7, "")) == ""
