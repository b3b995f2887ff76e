import sqlite3
from pathlib import Path

import pytest

from hookbot.log.sqlite import open_sqlite_log
from hookbot.log.sqlite_copies import load_copies
from hookbot.log.sqlite_queries import load_epoch
from hookbot.protocol.message import Draft, format_id
from support.damage import GARBAGE, database, leaves, spoil

COUNT = 100


async def write_copies(directory: Path) -> None:
    async with open_sqlite_log(directory) as log:
        first = format_id(log.epoch, 1)
        await log.append([Draft("a", bytes(500)), *[Draft("a", bytes(500), routed_from=first)] * (COUNT - 1)])


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_copies_around_a_damaged_page_are_found(tmp_path: Path, garbage: str) -> None:
    await write_copies(tmp_path)
    pages = leaves(tmp_path, "body")
    spoil(tmp_path, pages[len(pages) // 2], garbage)

    async with open_sqlite_log(tmp_path) as log:
        found = [copy.position for copy in (await log.copies(after=0)).copies]

    assert found == sorted(set(found))
    assert {2, COUNT} <= set(found)
    assert len(found) < COUNT - 1


async def test_a_failing_disk_is_no_damage(tmp_path: Path) -> None:
    await write_copies(tmp_path)

    with database(tmp_path) as connection:
        epoch = load_epoch(connection)
        connection.set_progress_handler(lambda: 1, 1)
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            load_copies(connection, shared={epoch: COUNT}, low=0, high=COUNT)
