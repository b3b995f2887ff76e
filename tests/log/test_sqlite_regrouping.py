"""Other budgets for a log on disk. `test_budgets.py` has those of all engines."""

from dataclasses import replace
from pathlib import Path

from hookbot.log.retention import Budget, Retention
from hookbot.log.sqlite import SqliteLog, open_sqlite_log
from hookbot.protocol.message import Draft
from hookbot.protocol.topics import EVERYTHING
from support.damage import database, leaves, spoil

DAY_US = 86_400_000_000
KEEP = Retention(max_age_s=None, max_bytes=None, max_unsafe_bytes=None, sections=(Budget("a/", None, None, 100),))


async def trim(log: SqliteLog, retention: Retention, *, now_us: int = 0) -> None:
    while await log.trim(retention, now_us=now_us):
        pass


async def test_messages_of_a_damaged_log_are_counted_as_far_as_they_can_be_read(tmp_path: Path) -> None:
    async with open_sqlite_log(tmp_path) as log:
        await log.append([Draft("ab"[n % 2] + "/x") for n in range(5000)])
    spoil(tmp_path, leaves(tmp_path, "log")[2])

    async with open_sqlite_log(tmp_path) as log:
        await trim(log, KEEP)

    with database(tmp_path) as connection:
        counts = dict(connection.execute("SELECT prefix, count FROM budget"))
    assert counts["a/"] == 100
    assert 0 < counts[""] < 2500


async def test_a_deletion_amid_the_count_is_counted_once(tmp_path: Path) -> None:
    async with open_sqlite_log(tmp_path, scan_length=10) as log:
        await log.append([Draft("ab"[n % 2] + "/x") for n in range(50)])
        for _ in range(3):
            await log.trim(KEEP, now_us=0)
        await log.delete([1, 3, 4])
        await trim(log, KEEP)

    with database(tmp_path) as connection:
        assert dict(connection.execute("SELECT prefix, count FROM budget")) == {"": 24, "/unsafe/": 0, "a/": 23}


async def test_rows_of_deleted_messages_that_retention_has_removed_are_no_damage(tmp_path: Path) -> None:
    keep_a_second = replace(KEEP, sections=(Budget("a/", 1, None, None),))
    async with open_sqlite_log(tmp_path) as log:
        await log.append([Draft("b/x"), Draft("a/x"), Draft("a/x")])
        await trim(log, KEEP)
        await log.delete([2, 3])
        await trim(log, keep_a_second, now_us=log.head_us + DAY_US)
        await log.append([Draft("b/x")])

        await trim(log, replace(KEEP, sections=()))

        page = await log.read(EVERYTHING, after=0, limit=10, max_bytes=1 << 20)
        assert ([message.position for message in page.messages], page.hole) == ([1, 4], "")
