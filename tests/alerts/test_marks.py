"""Marks: saved and read again, by each kind of log."""

import pytest

from hookbot.alerts.marks import MARK, Mark, read_marks
from hookbot.alerts.subjects import Subject
from hookbot.broker.consumer_state import renewed
from hookbot.log.contract import Log
from hookbot.protocol.message import MAX_TIME_US

SUBJECT = Subject("source", "/unsafe/ä b/")
TOLD = SUBJECT.firing(1, "the source is silent")


@pytest.mark.parametrize("mark", [Mark(0), Mark(MAX_TIME_US), Mark(1, TOLD)])
async def test_a_mark_is_read_as_it_was_saved(each_log: Log, mark: Mark) -> None:
    await each_log.append([], cursors={MARK + SUBJECT.key: mark.noted, "cursor /sub/alert a": 1})

    assert await read_marks(each_log) == {SUBJECT.key: mark}
    # A mark is none of a client, to whom a restore has to say something.
    [saved] = await each_log.cursors(MARK)
    assert renewed(saved) == saved.note
