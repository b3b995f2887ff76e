"""Other budgets for a log on disk. `test_budgets.py` has those of all engines."""

from pathlib import Path

from hookbot.log.retention import Budget, Retention
from hookbot.log.sqlite import open_sqlite_log
from hookbot.protocol.message import Draft
from support.damage import database, leaves, spoil

KEEP = Retention(max_age_s=None, max_bytes=None, max_unsafe_bytes=None, sections=(Budget("a/", None, None, 100),))


async def test_messages_of_a_damaged_log_are_counted_as_far_as_they_can_be_read(tmp_path: Path) -> None:
    async with open_sqlite_log(tmp_path) as log:
        await log.append([Draft("ab"[n % 2] + "/x") for n in range(5000)])
    spoil(tmp_path, leaves(tmp_path, "log")[2])

    async with open_sqlite_log(tmp_path) as log:
        while await log.trim(KEEP, now_us=0):
            pass

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
        while await log.trim(KEEP, now_us=0):
            pass

    with database(tmp_path) as connection:
        assert dict(connection.execute("SELECT prefix, count FROM budget")) == {"": 24, "/unsafe/": 0, "a/": 23}
