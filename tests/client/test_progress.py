"""The progress of a listener: what it resumes from, and what it acknowledges."""

import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookbot.client.progress import MAX_ACKED, REPEATED, AckedProgress, NewestFirstProgress, Progress
from hookbot.protocol.frames import Heartbeat, Hello
from hookbot.protocol.message import Gap, Message, format_id


def mid(n: int) -> str:
    return format_id("abcdefgh", n)


def message(n: int) -> Message:
    return Message("t", id=mid(n))


@pytest.mark.parametrize(
    ("since", "after_hello"),
    [
        (None, mid(9)),
        ("10m", mid(9)),
        ("all", "all"),
        (mid(3), mid(3)),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
    ],
)
def test_a_beginning_that_would_move_is_pinned_to_the_place_that_the_hub_names(
    since: str | None, after_hello: str
) -> None:
    progress = Progress(since)
    progress.subscribed(Hello("", mid(9)))
    assert progress.since == after_hello


def test_a_place_moves_with_messages_and_heartbeats_and_not_with_gaps_and_raw_frames() -> None:
    progress = Progress(None)
    assert progress.accept(message(1))
    assert not progress.accept(Heartbeat(mid(2)))
    assert progress.accept(Gap("retention", None, mid(7)))
    assert progress.accept(Message("t"))
    assert (progress.since, progress.take_ack()) == (mid(2), None)


@given(st.lists(st.sampled_from(["out", "done", "sent", "cut"]), max_size=60), st.randoms(use_true_random=False))
def test_a_cursor_is_never_acknowledged_past_what_is_in_hand_and_in_the_end_completely(
    steps: list[str], random: Random
) -> None:
    progress = AckedProgress(None, each=False)
    out, acked = 0, 0
    open_: list[int] = []
    for step in steps:
        if step == "out":
            out += 1
            assert progress.accept(message(out))
            open_.append(out)
        elif step == "done" and open_:
            progress.done(mid(open_.pop(random.randrange(len(open_)))))
        elif step == "sent" and (text := progress.take_ack()):
            ack = json.loads(text)
            assert ack["type"] == "ack"
            assert acked <= (acked := int(ack["id"][-15:])) < min(open_, default=out + 1)
        elif step == "cut":
            progress.subscribed(Hello("", mid(0), mid(0)))
            assert not any(progress.accept(message(n)) for n in open_)  # the hub sends them again
    for n in open_:
        progress.done(mid(n))
    progress.subscribed(Hello("", mid(0), mid(0)))
    last = progress.take_ack()
    assert (json.loads(last)["id"] if last else None) == (mid(out) if out else None)


def test_a_cursor_whose_last_acknowledgement_arrived_says_nothing_again() -> None:
    progress = AckedProgress(None, each=False)
    progress.accept(message(1))
    progress.done(mid(1))
    progress.take_ack()
    progress.subscribed(Hello("", mid(1), mid(1)))
    assert progress.take_ack() is None


def test_a_group_is_told_of_each_message_once() -> None:
    progress = AckedProgress(None, each=True)
    for n in (1, 2, 3):
        progress.accept(message(n))
    progress.done(mid(3))
    progress.done(mid(1))
    progress.done(mid(1))
    progress.done(mid(99))
    assert json.loads(progress.take_ack() or "") == {"type": "ack", "ids": [mid(3), mid(1)]}
    assert progress.take_ack() is None


def hello(position: int = 0, generation: str | None = "1") -> Hello:
    return Hello("", mid(position), mid(position), generation)


@pytest.mark.parametrize("each", [True, False])
def test_what_was_acknowledged_and_comes_again_is_acknowledged_again_and_not_received(each: bool) -> None:
    progress = AckedProgress(None, each=each)
    progress.subscribed(hello())
    for n in (1, 2):
        assert progress.accept(message(n))
        progress.done(mid(n))
    progress.take_ack()

    progress.subscribed(hello())
    progress.take_ack()

    assert [progress.accept(message(n)) for n in (1, 2, 3)] == [False, False, True]
    again = json.loads(progress.take_ack() or "")
    assert again == ({"type": "ack", "ids": [mid(1), mid(2)]} if each else {"type": "ack", "id": mid(2)})
    assert progress.take_ack() is None


def test_what_comes_again_any_number_of_times_is_acknowledged_again_once() -> None:
    progress = AckedProgress(None, each=True)
    progress.subscribed(hello())
    progress.accept(message(1))
    progress.done(mid(1))

    for _ in range(3000):
        assert not progress.accept(message(1))

    assert json.loads(progress.take_ack() or "")["ids"] == [mid(1)]
    assert progress.take_ack() is None


@pytest.mark.parametrize("each", [True, False])
@pytest.mark.parametrize("generation", [None, "2"])
def test_what_was_acknowledged_comes_again_once_the_hub_was_moved_by_hand_or_does_not_say(
    each: bool, generation: str | None
) -> None:
    progress = AckedProgress(None, each=each)
    progress.subscribed(hello(generation="1" if generation else None))
    progress.accept(message(1))
    progress.done(mid(1))
    progress.take_ack()

    progress.subscribed(hello(0 if generation else 1, generation=generation))

    assert progress.take_ack() is None
    assert progress.accept(message(1))


def test_what_is_in_hand_when_the_cursor_is_moved_by_hand_comes_again_and_is_not_acknowledged_before() -> None:
    progress = AckedProgress(None, each=False)
    progress.subscribed(hello())
    progress.accept(message(7))
    progress.subscribed(hello(generation="2"))

    progress.done(mid(7))

    assert progress.take_ack() is None
    assert [progress.accept(message(n)) for n in range(1, 8)] == [True] * 7


def test_a_member_of_a_group_acknowledges_the_last_messages_again_before_others_are_given_them() -> None:
    progress = AckedProgress(None, each=True)
    progress.subscribed(hello())
    for n in range(1, REPEATED + 50):
        progress.accept(message(n))
        progress.done(mid(n))
    progress.take_ack()
    progress.accept(message(200))
    progress.done(mid(200))

    progress.subscribed(hello(position=100))

    ids = json.loads(progress.take_ack() or "")["ids"]
    assert ids == [mid(n) for n in [*range(101, REPEATED + 50), 200]]
    progress.subscribed(hello(position=200))
    assert progress.take_ack() is None


def test_a_message_that_is_not_done_is_received_once_on_all_connections_together() -> None:
    progress = AckedProgress(None, each=True)
    progress.subscribed(hello())
    assert progress.accept(message(1))
    progress.subscribed(hello())
    assert not progress.accept(message(1))
    assert progress.take_ack() is None


def test_another_message_with_the_id_of_an_acknowledged_one_is_received() -> None:
    progress = AckedProgress(None, each=True)
    progress.subscribed(hello())
    progress.accept(message(1))
    progress.done(mid(1))

    assert progress.accept(Message("t", id=mid(1), time_us=99))


@pytest.mark.parametrize("each", [True, False])
def test_messages_of_a_restored_log_are_received_although_lost_ones_with_their_ids_are_in_hand(each: bool) -> None:
    progress = AckedProgress(None, each=each)
    progress.subscribed(hello())
    for n in (1, 2, 3):
        assert progress.accept(Message("t", id=mid(n), time_us=n))
    progress.done(mid(1))
    progress.subscribed(hello(1))
    progress.take_ack()

    # The backup had only the first message, and what was published since has the ids of the others.
    assert progress.accept(Message("t", id=mid(2), time_us=12))
    progress.done(mid(3))
    assert progress.take_ack() is None
    assert progress.accept(Message("t", id=mid(3), time_us=13))
    progress.done(mid(2))
    assert json.loads(progress.take_ack() or "") == {"type": "ack"} | ({"ids": [mid(2)]} if each else {"id": mid(2)})


@pytest.mark.parametrize("each", [True, False])
def test_a_cursor_or_group_that_the_hub_has_lost_is_created_where_it_was(each: bool) -> None:
    progress = AckedProgress("all", each=each)
    assert progress.since == "all"
    progress.subscribed(hello(4))
    assert progress.since == mid(4)
    for n in (5, 6):
        progress.accept(message(n))
    progress.done(mid(5))
    # A member does not know what the others have handled.
    assert progress.since == mid(4 if each else 5)


def test_no_more_acknowledged_messages_are_remembered_than_may_come_again() -> None:
    progress = AckedProgress(None, each=True)
    progress.subscribed(hello())
    for n in range(MAX_ACKED + 1):
        progress.accept(message(n))
        progress.done(mid(n))

    assert [progress.accept(message(n)) for n in (0, 1, MAX_ACKED)] == [True, False, False]


def test_a_frame_does_not_acknowledge_more_than_a_hub_reads_at_once() -> None:
    progress = AckedProgress(None, each=True)
    for n in range(2500):
        progress.accept(message(n))
        progress.done(mid(n))

    frames = []
    while frame := progress.take_ack():
        frames.append(frame)
    assert [len(json.loads(frame)["ids"]) for frame in frames] == [1000, 1000, 500]
    assert max(map(len, frames)) < 64 << 10


def test_newest_first_nothing_is_received_twice_or_missed_after_a_reconnection() -> None:
    progress = NewestFirstProgress("all")
    received = [n for n in (9, 8, 7) if progress.accept(message(n))]
    assert not progress.accept(Heartbeat(mid(9)))
    assert progress.since == "all"

    received += [n for n in (11, 10, 9, 8, 7, 6, 5) if progress.accept(message(n))]

    assert received == [9, 8, 7, 6, 5]
    assert not progress.accept(Gap("damage", mid(7), mid(9)))
    assert progress.accept(Gap("retention", None, mid(5)))


def test_with_a_cursor_gaps_are_handed_over_and_heartbeats_are_not() -> None:
    progress = AckedProgress(None, each=False)

    assert progress.accept(Gap("retention", None, mid(7)))
    assert not progress.accept(Heartbeat(mid(8)))
    assert progress.take_ack() is None


def test_without_a_cursor_a_message_that_is_done_is_not_acknowledged() -> None:
    progress = Progress(None)
    progress.accept(message(1))

    progress.done(mid(1))

    assert progress.take_ack() is None
