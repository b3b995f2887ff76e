"""Unused space of the log on disk, in a file where copies of rows were left."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hookbot.errors import Unavailable
from hookbot.log import sqlite_unused
from hookbot.log.retention import Retention
from hookbot.log.sqlite import SqliteLog, open_sqlite_log
from hookbot.log.sqlite_file import FILE, PAGE_BYTES, LogFile, open_log_file
from hookbot.log.sqlite_unused import UnusedSpace
from hookbot.protocol.message import Draft
from hookbot.protocol.topics import EVERYTHING
from support.sqlite_tables import TIME_US

COPY = b"<left behind>"
# In a row, and in pages of its own, of which the last is not full.
SMALL, LARGE = 2500, 5 * PAGE_BYTES + 300
LEAF = 13


async def fill(directory: Path) -> None:
    async with open_sqlite_log(directory) as log:
        await log.append(
            [Draft("a", bytes([65 + number % 26]) * (LARGE, SMALL)[number % 5 > 0]) for number in range(60)]
        )


def gaps(content: bytes) -> Iterator[int]:
    """Where the gap of each leaf of the messages' tables ends in the file."""
    for page in range(PAGE_BYTES, len(content), PAGE_BYTES):
        rows, end = (int.from_bytes(content[page + at : page + at + 2], "big") for at in (3, 5))
        # The identity has one row.
        if content[page] == LEAF and rows > 1 and 8 + 2 * rows + len(COPY) < end <= PAGE_BYTES:
            yield page + end


def ends(content: bytes) -> Iterator[int]:
    """Where the last page of each large body ends in the file."""
    for page in range(PAGE_BYTES, len(content), PAGE_BYTES):
        of_body = content[page : page + 5]
        if of_body[:4] == bytes(4) and 65 <= of_body[4] < 91 and not content[page + PAGE_BYTES - 1]:
            yield page + PAGE_BYTES


def leave_copies(directory: Path) -> int:
    """Leave copies in all unused space, as SQLite may do it; their number."""
    path = directory / FILE
    content = path.read_bytes()
    places = [*gaps(content), *ends(content)]
    with path.open("r+b") as opened:
        for place in places:
            opened.seek(place - len(COPY))
            opened.write(COPY)
    return len(places)


def copies_left(directory: Path) -> int:
    return (directory / FILE).read_bytes().count(COPY)


async def bodies(log: SqliteLog) -> list[bytes]:
    page = await log.read(EVERYTHING, after=0, limit=1000, max_bytes=1 << 30)
    return [message.body for message in page.messages]


async def erase(log: SqliteLog) -> None:
    while await log.erase():
        pass


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_unused, "_STEP_PAGES", 12)


async def test_copies_in_gaps_and_behind_bodies_are_overwritten(tmp_path: Path) -> None:
    await fill(tmp_path)
    content = (tmp_path / FILE).read_bytes()
    assert len([*gaps(content)]) > 2
    assert len([*ends(content)]) > 2
    left = leave_copies(tmp_path)
    assert copies_left(tmp_path) == left
    async with open_sqlite_log(tmp_path) as log:
        before = await bodies(log)
        await log.delete([7])
        await erase(log)

        assert copies_left(tmp_path) == 0
        assert await bodies(log) == [*before[:6], *before[7:]]
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.usefixtures("small_steps")
async def test_what_is_appended_between_two_steps_is_whole(tmp_path: Path) -> None:
    await fill(tmp_path)
    leave_copies(tmp_path)
    async with open_sqlite_log(tmp_path) as log:
        await log.delete([7])
        steps = 0
        while await log.erase():
            steps += 1
            await log.append([Draft("b", b"x" * (LARGE, SMALL)[steps % 2])] if steps < 10 else [])

        assert steps > 3
        assert copies_left(tmp_path) == 0
        assert len(await bodies(log)) == 59 + min(steps, 9)


@pytest.mark.usefixtures("small_steps")
async def test_it_ends_while_more_is_appended_in_each_step_than_one_overwrites(tmp_path: Path) -> None:
    await fill(tmp_path)
    leave_copies(tmp_path)
    async with open_sqlite_log(tmp_path) as log:
        await log.delete([7])
        steps = 0
        while steps < 100 and await log.erase():
            steps += 1
            await log.append([Draft("b", b"x" * SMALL)] * 80)

        assert steps < 100
        assert copies_left(tmp_path) == 0


@pytest.mark.usefixtures("small_steps")
async def test_retention_waits_until_all_is_overwritten(tmp_path: Path) -> None:
    await fill(tmp_path)
    leave_copies(tmp_path)
    async with open_sqlite_log(tmp_path) as log:
        await log.delete([7])
        assert await log.erase()

        assert await log.trim(Retention(max_count=1), now_us=TIME_US)
        assert len(await bodies(log)) == 59
        while await log.trim(Retention(max_count=1), now_us=TIME_US):
            pass

        assert len(await bodies(log)) == 1
        assert copies_left(tmp_path) == 0


@pytest.mark.usefixtures("small_steps")
async def test_retention_goes_on_while_another_process_keeps_it_from_being_overwritten(tmp_path: Path) -> None:
    await fill(tmp_path)
    async with open_sqlite_log(tmp_path) as log:
        await log.delete([7])
        assert await log.erase()
        await log.append([Draft("a")])
        with closing(sqlite3.connect(tmp_path / FILE)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM log").fetchone()
            await log.append([Draft("a")])
            with pytest.raises(Unavailable, match="another process reads the log"):
                await erase(log)

            await log.trim(Retention(max_count=1), now_us=TIME_US)

            assert len(await bodies(log)) == 1


def test_what_damage_has_garbled_is_left_alone(tmp_path: Path) -> None:
    file: LogFile
    with closing(open_log_file(tmp_path)) as file:
        file.writer.execute("INSERT INTO body VALUES (1, '', zeroblob(100))")
        file.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        [[root]] = file.writer.execute("SELECT rootpage FROM sqlite_master WHERE name = 'body'")
        with (tmp_path / FILE).open("r+b") as opened:
            opened.seek((root - 1) * PAGE_BYTES)
            opened.write(b"\x05" + b"\xff" * (PAGE_BYTES - 1))
        garbled = (tmp_path / FILE).read_bytes()

        unused = UnusedSpace()
        while unused.overwrite_step(file):
            pass

        assert (tmp_path / FILE).read_bytes() == garbled
