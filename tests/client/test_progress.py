"""The progress of a listener: what it resumes from, and what it acknowledges."""

import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookbot.client.progress import AckedProgress, Progress
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


def test_a_group_gets_a_message_again_whose_acknowledgement_was_lost() -> None:
    progress = AckedProgress(None, each=True)
    progress.accept(message(1))
    progress.done(mid(1))
    progress.take_ack()
    progress.subscribed(Hello("", mid(0), mid(0)))
    assert progress.accept(message(1))


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
