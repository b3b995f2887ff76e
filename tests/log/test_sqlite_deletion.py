"""Deletion in the log on disk, on a new file."""

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from hookbot.errors import Unavailable
from hookbot.log.budgets import ROOTS, Partitions
from hookbot.log.retention import STEP_BYTES, STEP_ROWS, Partition, Retention
from hookbot.log.sqlite import SqliteLog, open_sqlite_log
from hookbot.log.sqlite_damage import count_again
from hookbot.log.sqlite_deletion import delete_step
from hookbot.log.sqlite_file import FILE, SPARE_BYTES, open_log_file
from hookbot.log.sqlite_retention import load_partitions
from hookbot.protocol.message import Draft
from hookbot.protocol.topics import EVERYTHING
from support.sqlite_tables import TIME_US, store

KEEP_ALL = Retention(max_age_s=None, max_bytes=None, max_unsafe_bytes=None)
# In a row, in several of one page, on pages of its own, and written apart.
SIZES = (20, 900, 7000, 9000, 100_000)
# A process that says of each step of a deletion that it is done.
DELETE_ALL = """
import sys
from contextlib import closing
from pathlib import Path
from hookbot.log.sqlite_deletion import delete_step
from hookbot.log.sqlite_file import open_log_file
from hookbot.log.sqlite_retention import load_partitions

with closing(open_log_file(Path(sys.argv[1]))) as file:
    partitions, head = load_partitions(file.writer), int(sys.argv[2])
    for first in range(1, head, 100):
        partitions, _ = delete_step(file.writer, partitions, range(first, first + 100))
        print(first, flush=True)
"""


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_log_file(tmp_path)) as file:
        yield file.writer


def counted(connection: sqlite3.Connection, head: int, *prefixes: str) -> Partitions:
    """The partitions, as they are counted anew."""
    partitions = Partitions.of({prefix: Partition(head, TIME_US) for prefix in (*ROOTS, *prefixes)})
    return partitions.updated({prefix: count_again(connection, partitions, prefix) for prefix in partitions.by_prefix})


def test_a_position_and_a_time_stay_of_what_is_deleted(connection: sqlite3.Connection) -> None:
    store(connection, Draft("a", b"1"), Draft("/unsafe/a", b"2"), Draft("a", b"3"))

    partitions, deletion = delete_step(connection, counted(connection, 3), [1, 2, 7])

    assert deletion == (2, [])
    rows = connection.execute("SELECT position, time_us, topic FROM log WHERE size = 0").fetchall()
    assert rows == [(1, TIME_US, ""), (2, TIME_US, "/unsafe/")]
    assert connection.execute("SELECT position FROM body").fetchall() == [(3,)]
    assert partitions.by_prefix == counted(connection, 3).by_prefix == load_partitions(connection).by_prefix
    assert [partition.count for partition in partitions.by_prefix.values()] == [1, 0]
    assert partitions.dense == 0


def test_what_is_deleted_stays_in_its_budget(connection: sqlite3.Connection) -> None:
    store(connection, Draft("a/b"), Draft("a/c"), Draft("a/b"))

    partitions, _ = delete_step(connection, counted(connection, 3, "a/"), [1, 2])

    assert connection.execute("SELECT topic FROM log").fetchall() == [("a/",), ("a/",), ("a/b",)]
    assert partitions.by_prefix == counted(connection, 3, "a/").by_prefix


def test_a_step_deletes_no_more_than_some_bytes_or_one_message(connection: sqlite3.Connection) -> None:
    bodies = [b"x", b"x" * (STEP_BYTES // 2), b"x" * (STEP_BYTES // 2), b"x" * STEP_BYTES]
    store(connection, *[Draft("a", body) for body in bodies])

    partitions, first = delete_step(connection, counted(connection, 4), [9, 4, 3, 2, 1])
    partitions, second = delete_step(connection, partitions, first.rest)
    partitions, third = delete_step(connection, partitions, second.rest)

    assert first == (1, [3, 2, 1])
    assert second == (2, [1])
    assert third == (1, [])
    assert partitions.by_prefix == counted(connection, 4).by_prefix


# The bytes


def drafts(marks: Sequence[bytes]) -> list[Draft]:
    """Messages of all sizes, each with a mark in its body and in its headers."""
    return [
        Draft("a", mark * (SIZES[number % len(SIZES)] // len(mark) + 1), (("X-Mark", mark.decode()),))
        for number, mark in enumerate(marks)
    ]


def marked(numbers: range) -> list[bytes]:
    return [b"<mark-%08d>" % number for number in numbers]


def files_with(directory: Path, marks: Sequence[bytes]) -> set[str]:
    """Names of the files that have one of the marks."""
    # The reserve is 32 MB of zeros.
    contents = {path.name: path.read_bytes().strip(b"\0") for path in directory.rglob("*") if path.is_file()}
    assert contents
    return {name for name, content in contents.items() if any(mark in content for mark in marks)}


async def delete(log: SqliteLog, positions: Sequence[int]) -> None:
    while positions:
        positions = (await log.delete(positions)).rest


async def erase(log: SqliteLog) -> None:
    while await log.erase():
        pass


async def test_no_file_has_the_bytes_of_what_was_deleted(tmp_path: Path) -> None:
    marks = marked(range(200))
    async with open_sqlite_log(tmp_path) as log:
        await log.append(drafts(marks[:150]))
        # What retention moves from page to page leaves its bytes in pages that become free.
        for count in range(147, 99, -1):
            while await log.trim(Retention(max_count=count), now_us=TIME_US):
                pass
    async with open_sqlite_log(tmp_path) as log:
        await log.append(drafts(marks[150:]))
        assert files_with(tmp_path, marks[150:]) == {f"{FILE}-wal"}

        gone = [*range(51, 70), 100, 120, 160]
        await delete(log, gone)
        await erase(log)

        assert files_with(tmp_path, [marks[position - 1] for position in gone]) == set()
        assert files_with(tmp_path, [marks[-1]]) == {FILE}
        left = (await log.read(EVERYTHING, after=0, limit=1000, max_bytes=1 << 30)).messages
        assert [message.position for message in left] == [one for one in range(51, 201) if one not in gone]


async def test_many_free_pages_are_given_back_in_steps(tmp_path: Path) -> None:
    async with open_sqlite_log(tmp_path) as log:
        await log.append([Draft("a", bytes(SPARE_BYTES))])
        await delete(log, [1])

        assert await log.erase()
        await erase(log)

    assert (tmp_path / FILE).stat().st_size < SPARE_BYTES


async def test_what_another_process_reads_is_erased_when_it_has_ended(tmp_path: Path) -> None:
    marks = marked(range(10))
    async with open_sqlite_log(tmp_path) as log:
        await log.append(drafts(marks))
        with closing(sqlite3.connect(tmp_path / FILE)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM log").fetchone()
            await delete(log, range(1, 11))

            with pytest.raises(Unavailable, match="another process reads the log"):
                await erase(log)
            while await log.trim(KEEP_ALL, now_us=TIME_US):
                pass
            assert files_with(tmp_path, marks)
        while await log.trim(KEEP_ALL, now_us=TIME_US):
            pass

        assert files_with(tmp_path, marks) == set()


async def test_what_a_hub_that_was_killed_has_deleted_is_erased_after_a_restart(tmp_path: Path) -> None:
    marks = marked(range(10))
    async with open_sqlite_log(tmp_path / "killed") as log:
        await log.append(drafts(marks))
        await delete(log, range(1, 11))
        shutil.copytree(tmp_path / "killed", tmp_path / "restarted")
    assert files_with(tmp_path / "restarted", marks)

    async with open_sqlite_log(tmp_path / "restarted") as log:
        while await log.trim(KEEP_ALL, now_us=TIME_US):
            pass

        assert files_with(tmp_path / "restarted", marks) == set()


async def test_a_step_that_was_killed_is_done_or_not(tmp_path: Path) -> None:
    head = 4 * STEP_ROWS
    async with open_sqlite_log(tmp_path) as log:
        await log.append([Draft("a", bytes(3000))] * head)

    process = subprocess.Popen([sys.executable, "-c", DELETE_ALL, tmp_path, str(head)], stdout=subprocess.PIPE)
    with process:
        assert process.stdout
        done = [int(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGKILL)
        done += map(int, process.stdout.readlines())

    with closing(open_log_file(tmp_path)) as file:
        deleted = [position for (position,) in file.writer.execute("SELECT position FROM log WHERE size = 0")]
        assert deleted in ([*range(1, done[-1] + 100)], [*range(1, done[-1] + 200)])
        bodies = [position for (position,) in file.writer.execute("SELECT position FROM body")]
        assert bodies == [*range(len(deleted) + 1, head + 1)]
        safe = load_partitions(file.writer).by_prefix[""]
        assert (safe.count, safe.size) == (len(bodies), counted(file.writer, head).by_prefix[""].size)
