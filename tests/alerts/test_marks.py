"""Marks: saved and read again, by each kind of log."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hookbot.alerts.marks import MARK, Mark, read_marks
from hookbot.alerts.subjects import Subject
from hookbot.broker.consumer_state import renewed
from hookbot.log.contract import Log
from hookbot.log.memory import MemoryLog
from hookbot.log.sqlite import open_sqlite_log
from hookbot.protocol.message import MAX_TIME_US

SUBJECT = Subject("source", "/unsafe/ä b/")
TOLD = SUBJECT.firing(1, "the source is silent")


@pytest.fixture(params=["memory", "sqlite"])
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Log]:
    if request.param == "memory":
        yield MemoryLog()
    else:
        async with open_sqlite_log(tmp_path) as log:
            yield log


@pytest.mark.parametrize("mark", [Mark(0), Mark(MAX_TIME_US), Mark(1, TOLD)])
async def test_a_mark_is_read_as_it_was_saved(log: Log, mark: Mark) -> None:
    await log.append([], cursors={MARK + SUBJECT.key: mark.noted, "cursor /sub/alert a": 1})

    assert await read_marks(log) == {SUBJECT.key: mark}
    # A mark is none of a client, to whom a restore has to say something.
    [saved] = await log.cursors(MARK)
    assert renewed(saved) == saved.note
