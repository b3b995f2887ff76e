"""Promises of the log on disk alone: it survives its process, a full disk, and other hubs."""

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from hookbot.errors import Unavailable
from hookbot.log.contract import Log
from hookbot.log.retention import Retention
from hookbot.log.sqlite import SqliteLog, open_sqlite_log
from hookbot.log.sqlite_file import FILE, READERS
from hookbot.protocol.message import Draft, Duplicate, Message, Once
from hookbot.protocol.topics import TopicFilter
from support import GUARD_S
from support.clock import Clock
from support.damage import database, fill, small_disk

START_US = 1_700_000_000_000_000
EVERYTHING = TopicFilter(("", "/unsafe/"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state" / "hookbot"


async def bodies(log: Log) -> list[bytes]:
    found: list[bytes] = []
    after = 0
    while after < log.head:
        page = await log.read(EVERYTHING, after=after, limit=1000, max_bytes=8 << 20)
        found += [message.body for message in page.messages]
        after = page.next_after
    return found


def writer(log: SqliteLog) -> sqlite3.Connection:
    return log._connections._file.writer


def assert_sound(directory: Path) -> None:
    """Check that the file is sound, and that the totals are those of the stored messages."""
    with database(directory) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        counted = connection.execute(
            "SELECT prefix, (SELECT count(*) FROM log WHERE (topic LIKE '/unsafe/%') = (prefix = '/unsafe/')),"
            " (SELECT coalesce(sum(size), 0) FROM log WHERE (topic LIKE '/unsafe/%') = (prefix = '/unsafe/'))"
            " FROM budget"
        ).fetchall()
        assert connection.execute("SELECT prefix, count, size FROM budget").fetchall() == counted
        assert connection.execute("SELECT position FROM log EXCEPT SELECT position FROM body").fetchall() == []
        assert connection.execute("SELECT position FROM body EXCEPT SELECT position FROM log").fetchall() == []


# Over a restart


async def test_a_log_is_the_same_after_a_restart(directory: Path) -> None:
    async with open_sqlite_log(directory) as log:
        epoch = log.epoch
        await log.append([Draft("a", b"1"), Draft("/unsafe/a", b"2")], cursors={"c": 2})

    async with open_sqlite_log(directory) as log:
        assert (log.epoch, log.head) == (epoch, 2)
        assert await bodies(log) == [b"1", b"2"]
        assert [cursor.position for cursor in await log.cursors()] == [2]
    assert_sound(directory)


async def test_a_wiped_log_has_another_epoch(directory: Path, tmp_path: Path) -> None:
    async with open_sqlite_log(directory) as log, open_sqlite_log(tmp_path / "other") as other:
        assert log.epoch != other.epoch


async def test_times_do_not_run_backwards_over_a_restart(directory: Path) -> None:
    async with open_sqlite_log(directory, clock_us=lambda: START_US) as log:
        await log.append([Draft("a")])
        await log.trim(Retention(max_count=0), now_us=START_US)

    async with open_sqlite_log(directory, clock_us=lambda: START_US - 1) as log:
        [message] = await log.append([Draft("a")])

    assert isinstance(message, Message)
    assert message.time_us == START_US


async def test_after_a_restart_ids_are_not_used_again_and_losses_are_remembered(directory: Path) -> None:
    async with open_sqlite_log(directory, clock_us=lambda: START_US) as log:
        await log.append([Draft("a"), Draft("a"), Draft("/unsafe/a")])
        while await log.trim(Retention(max_count=0), now_us=START_US):
            pass

    async with open_sqlite_log(directory, clock_us=lambda: START_US) as log:
        assert log.lost_up_to(TopicFilter(("a",))) == 2
        assert log.lost_up_to(TopicFilter(("/unsafe/a",))) == 3
        [message] = await log.append([Draft("a")])

    assert isinstance(message, Message)
    assert message.position == 4


async def test_keys_are_remembered_over_a_restart(directory: Path) -> None:
    draft = Draft("a", once=(Once("idempotency", "a", "k"),))
    async with open_sqlite_log(directory) as log:
        [first] = await log.append([draft])

    async with open_sqlite_log(directory) as log:
        assert isinstance(first, Message)
        assert list(await log.append([draft])) == [Duplicate(first.id)]


async def test_what_was_stored_before_a_restart_is_found_however_long_ago(directory: Path) -> None:
    async with open_sqlite_log(directory) as log:
        await log.append([Draft("rare"), *[Draft("a")] * 5])

    async with open_sqlite_log(directory, primed=2) as log:
        page = await log.read(TopicFilter(("rare",)), after=0, limit=1, max_bytes=1)

    assert [message.position for message in page.messages] == [1]


async def test_a_commit_that_has_begun_is_finished_whoever_cancels_it(directory: Path) -> None:
    loop = trio.lowlevel.current_trio_token()
    with trio.CancelScope() as scope:

        def cancel_meanwhile() -> int:
            trio.from_thread.run_sync(scope.cancel, trio_token=loop)
            return START_US

        async with open_sqlite_log(directory, clock_us=cancel_meanwhile) as log:
            [message] = await log.append([Draft("a")])

    assert isinstance(message, Message)
    async with open_sqlite_log(directory) as log:
        assert log.head == message.position == 1


APPEND_FOR_EVER = """
import itertools, sys, trio
from pathlib import Path
from hookbot.log.retention import Retention
from hookbot.log.sqlite import open_sqlite_log
from hookbot.protocol.message import Draft

async def main():
    async with open_sqlite_log(Path(sys.argv[1])) as log:
        for number in itertools.count():
            drafts = [Draft(topic, b"%d" % number) for topic in ("a", "/unsafe/a") * (number % 5 + 1)]
            outcomes = await log.append(drafts, cursors={"router": number})
            print(number, outcomes[-1].position, flush=True)
            await log.trim(Retention(max_unsafe_bytes=2000), now_us=0)

trio.run(main)
"""


@pytest.mark.slow
@pytest.mark.parametrize("acknowledged", [1, 40, 150])
async def test_what_was_acknowledged_is_there_after_kill_9(directory: Path, acknowledged: int) -> None:
    command = [sys.executable, "-c", APPEND_FOR_EVER, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(acknowledged)]
        process.kill()
        lines += process.stdout.readlines()

    numbers, positions = zip(*(map(int, line.split()) for line in lines if line.endswith("\n")), strict=True)
    async with open_sqlite_log(directory) as log:
        assert log.head >= positions[-1]
        page = await log.read(TopicFilter(("a",)), after=0, limit=10_000, max_bytes=64 << 20)
        assert {message.body for message in page.messages} >= {b"%d" % number for number in numbers}
        [cursor] = await log.cursors()
        assert b"%d" % cursor.position == page.messages[-1].body
    assert_sound(directory)


# The disk


async def test_a_commit_waits_for_the_disk(directory: Path) -> None:
    async with open_sqlite_log(directory) as log:
        settings = [writer(log).execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]

    assert settings == ["wal", 2]


# When the disk does not take it


@contextmanager
def full_database(log: SqliteLog) -> Iterator[None]:
    """The file may not grow any more: SQLITE_FULL, as from a full disk."""
    [pages] = writer(log).execute("PRAGMA page_count").fetchone()
    writer(log).execute(f"PRAGMA max_page_count = {pages}")
    try:
        yield
    finally:
        writer(log).execute(f"PRAGMA max_page_count = {1 << 30}")


@contextmanager
def failing_disk(log: SqliteLog) -> Iterator[None]:
    """No file can be written to beyond its first page: every commit ends in an I/O error of the operating system."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16384, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("broken", [full_database, failing_disk])
async def test_a_disk_that_is_full_refuses_the_batch_whole_and_takes_the_next(
    directory: Path, broken: Callable[..., Any]
) -> None:
    async with open_sqlite_log(directory) as log:
        await log.append([Draft("a", b"before")], cursors={"c": 1})

        with broken(log):
            for _ in range(3):
                with pytest.raises(Unavailable, match="cannot write to its log"):
                    await log.append(
                        [Draft("a", bytes(100_000), once=(Once("idempotency", "a", str(n)),)) for n in range(5)],
                        cursors={"c": 5},
                    )
            assert log.head == 1
            assert await bodies(log) == [b"before"]

        outcomes = await log.append([Draft("a", b"after", once=(Once("idempotency", "a", "4"),))])
        assert [type(outcome) for outcome in outcomes] == [Message]

    async with open_sqlite_log(directory) as log:
        assert log.head == 2
        assert await bodies(log) == [b"before", b"after"]
        assert [cursor.position for cursor in await log.cursors()] == [1]
    assert_sound(directory)


@pytest.mark.parametrize("broken", [full_database, failing_disk])
async def test_a_check_fails_as_long_as_the_disk_does_not_take_anything(
    directory: Path, broken: Callable[..., Any]
) -> None:
    async with open_sqlite_log(directory) as log:
        with broken(log), pytest.raises(Unavailable):
            await log.probe()

        await log.probe()
    assert_sound(directory)


async def test_retention_that_fails_deletes_nothing_and_goes_on_later(directory: Path) -> None:
    async with open_sqlite_log(directory) as log:
        await log.append([Draft("a", b"1"), Draft("a", b"2")])
        with failing_disk(log), pytest.raises(Unavailable):
            await log.trim(Retention(max_count=1), now_us=0)
        assert log.lost_up_to(EVERYTHING) == 0
        assert await bodies(log) == [b"1", b"2"]

        await log.trim(Retention(max_count=1), now_us=0)

        assert log.lost_up_to(EVERYTHING) == 1
        assert await bodies(log) == [b"2"]
    assert_sound(directory)


# What it costs


@pytest.mark.slow
async def test_disk_space_is_given_back(directory: Path) -> None:
    async with open_sqlite_log(directory) as log:
        for _ in range(10):
            await log.append([Draft("a", os.urandom(1 << 20)) for _ in range(4)])
    before = (directory / FILE).stat().st_size

    async with open_sqlite_log(directory) as log:
        while await log.trim(Retention(max_count=1), now_us=START_US):
            pass

    assert before > 40 << 20
    assert (directory / FILE).stat().st_size < 20 << 20
    assert_sound(directory)


async def test_nothing_new_is_answered_without_the_disk(directory: Path) -> None:
    async with open_sqlite_log(directory) as log:
        await log.append([Draft("quiet"), *[Draft("busy/a")] * 5])
        for _ in range(READERS):  # nobody else can read meanwhile
            await log._connections._may_read.acquire_on_behalf_of(object())

        with trio.fail_after(GUARD_S):
            old = await log.read(TopicFilter(("quiet",)), after=1, limit=10, max_bytes=1000)
            unheard = await log.read(TopicFilter(("never/",)), after=0, limit=10, max_bytes=1000)

    assert (list(old.messages), old.next_after) == (list(unheard.messages), unheard.next_after) == ([], 6)


async def test_many_who_read_at_the_same_time_all_get_their_page(directory: Path) -> None:
    pages = []
    async with open_sqlite_log(directory) as log:
        await log.append([Draft("a")] * 100)

        async def read(after: int) -> None:
            pages.append(await log.read(EVERYTHING, after=after, limit=10, max_bytes=100_000))

        async with trio.open_nursery() as nursery:
            for after in range(50):
                nursery.start_soon(read, after)

    assert sorted(page.next_after for page in pages) == list(range(10, 60))


async def test_a_time_is_found_over_what_retention_deleted(directory: Path, clock: Clock) -> None:
    async with open_sqlite_log(directory, clock_us=clock) as log:
        await log.append([Draft("a"), Draft("a")])
        await log.trim(Retention(max_count=1), now_us=clock.now_us)
        clock.skip(seconds=1)
        await log.append([Draft("a")])

        assert await log.position_before(clock.now_us) == 2
        assert await log.position_before(clock.now_us - 1_000_000) == 0


async def test_retention_with_nothing_due_does_not_touch_the_disk(directory: Path, clock: Clock) -> None:
    async with open_sqlite_log(directory, clock_us=clock) as log:
        assert not await log.trim(Retention(), now_us=clock.now_us)

        writer(log).execute("PRAGMA query_only = ON")

        assert not await log.trim(Retention(), now_us=clock.now_us)
        for later_s in (3600, -3600):
            with pytest.raises(Unavailable, match="cannot write to its log"):
                await log.trim(Retention(), now_us=clock.now_us + later_s * 1_000_000)


async def test_a_log_that_cannot_be_read_is_unavailable(directory: Path) -> None:
    async with open_sqlite_log(directory) as log:
        await log.append([Draft("a")])
        writer(log).execute("ALTER TABLE cursor RENAME TO lost")

        with pytest.raises(Unavailable, match="cannot read its log"):
            await log.cursors()


# When the file is gone


def delete(directory: Path) -> None:
    (directory / FILE).unlink()


def replace(directory: Path) -> None:
    (directory / FILE).rename(directory / "old")
    (directory / FILE).write_bytes((directory / "old").read_bytes())


def delete_wal(directory: Path) -> None:
    (directory / f"{FILE}-wal").unlink()


def delete_shm(directory: Path) -> None:
    (directory / f"{FILE}-shm").unlink()


def remove_directory(directory: Path) -> None:
    shutil.rmtree(directory)


def move_directory(directory: Path) -> None:
    directory.rename(directory.parent / "moved")


GONE = [delete, replace, delete_wal, delete_shm, remove_directory, move_directory]


@pytest.mark.parametrize("lose", GONE)
async def test_nothing_is_acknowledged_once_a_file_of_the_log_is_gone(
    directory: Path, lose: Callable[[Path], None]
) -> None:
    async with open_sqlite_log(directory) as log:
        await log.append([Draft("a", b"1")])
        lose(directory)

        for work in (
            lambda: log.append([Draft("a", b"2")]),
            log.probe,
            lambda: log.trim(Retention(max_count=0), now_us=START_US),
        ):
            with pytest.raises(Unavailable, match="deleted or replaced: nothing is stored until the hub is restarted"):
                await work()
        assert log.head == 1
        assert await bodies(log) == [b"1"]


@pytest.mark.parametrize("suffix", ["", "-wal"])
@pytest.mark.parametrize("left", [0, 0.5])
async def test_nothing_is_acknowledged_once_a_file_of_the_log_is_truncated(
    directory: Path, suffix: str, left: float
) -> None:
    path = directory / f"{FILE}{suffix}"
    async with open_sqlite_log(directory) as log:
        await log.append([Draft("a", bytes(100_000))])
    async with open_sqlite_log(directory) as log:
        await log.append([Draft("a", bytes(100_000))])
        os.truncate(path, int(path.stat().st_size * left))

        for work in (lambda: log.append([Draft("a", b"2")]), log.probe):
            with pytest.raises(Unavailable, match="was truncated: nothing is stored until the hub is restarted"):
                await work()
        assert log.head == 2
        # What cannot be read any more is a hole.
        assert set(await bodies(log)) <= {bytes(100_000)}


async def test_a_checkpoint_of_another_program_that_empties_the_write_ahead_log_is_no_damage(directory: Path) -> None:
    async with open_sqlite_log(directory) as log:
        await log.append([Draft("a", b"1")])
        with database(directory) as backup:
            assert backup.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
        await log.append([Draft("a", b"2")])

        assert await bodies(log) == [b"1", b"2"]


async def test_pages_that_a_checkpoint_of_another_program_takes_from_the_end_of_the_file_are_not_missing(
    directory: Path,
) -> None:
    async with open_sqlite_log(directory) as log:
        await log.append([Draft("a", bytes(50_000_000))])
        assert await log.trim(Retention(max_bytes=1), now_us=0)
        with database(directory) as backup:
            backup.execute("PRAGMA wal_checkpoint(PASSIVE)")
            size = (directory / FILE).stat().st_size
            while await log.trim(Retention(max_bytes=1), now_us=0):
                pass
            backup.execute("PRAGMA wal_checkpoint(PASSIVE)")
        assert (directory / FILE).stat().st_size < size

        await log.append([Draft("a", b"2")])

        assert await bodies(log) == [b"2"]


TRUNCATE_SHARED_MEMORY = """
import os, sys, trio
from pathlib import Path
from hookbot.log.sqlite import open_sqlite_log
from hookbot.protocol.message import Draft
from hookbot.protocol.topics import TopicFilter

async def main():
    async with open_sqlite_log(Path(sys.argv[1])) as log:
        for number in range(3):
            await log.append([Draft("a", b"%d" % number)])
            os.truncate(Path(sys.argv[1]) / "hookbot.sqlite3-shm", 0)
            page = await log.read(TopicFilter(("a",)), after=0, limit=10, max_bytes=1000)
            assert len(page.messages) == number + 1
            os.truncate(Path(sys.argv[1]) / "hookbot.sqlite3-shm", 0)

trio.run(main)
"""


def test_a_shared_memory_that_is_truncated_does_not_end_the_process(directory: Path) -> None:
    subprocess.run([sys.executable, "-c", TRUNCATE_SHARED_MEMORY, str(directory)], check=True)


async def test_a_file_that_goes_while_it_is_written_is_not_acknowledged_and_not_written_again(directory: Path) -> None:
    def lose_meanwhile() -> int:
        move_directory(directory)
        return START_US

    async with open_sqlite_log(directory, clock_us=lose_meanwhile) as log:
        with pytest.raises(Unavailable, match="deleted or replaced"):
            await log.append([Draft("a", b"1")])
        (directory.parent / "moved").rename(directory)
        # What is in the file now is more than the log knows of.
        with pytest.raises(Unavailable, match="deleted or replaced"):
            await log.append([Draft("a", b"2")])

    async with open_sqlite_log(directory) as log:
        assert await bodies(log) == [b"1"]


# A disk of which nothing is left


async def append_until_full(log: SqliteLog) -> None:
    while True:
        await log.append([Draft("a", os.urandom(10_000))] * 10)


async def test_on_a_full_disk_retention_makes_room_and_the_log_goes_on(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "32m") as disk:
        async with open_sqlite_log(disk / "data") as log:
            for _ in range(120):
                await log.append([Draft("a", os.urandom(10_000))] * 10)
            fill(disk)
            with pytest.raises(Unavailable, match="full"):
                await append_until_full(log)
            head = log.head

            while await log.trim(Retention(max_count=10), now_us=START_US):
                pass
            await log.probe()
            await log.append([Draft("a", b"after")])

            assert (await bodies(log))[-1] == b"after"
            assert log.lost_up_to(EVERYTHING) == head - 10
        assert_sound(disk / "data")


@pytest.mark.parametrize("killed", [False, True])
async def test_a_log_on_a_full_disk_opens_is_read_trimmed_and_stores_again_once_there_is_room(
    tmp_path: Path, killed: bool
) -> None:
    with small_disk(tmp_path / "disk", "32m") as disk:
        async with open_sqlite_log(disk / "data") as log:
            await log.append([Draft("a", b"kept", once=(Once("idempotency", "a", "k"),))], cursors={"c": 1})
            if killed:
                shutil.copytree(disk / "data", disk / "killed")
        directory = disk / ("killed" if killed else "data")
        fill(disk)

        async with open_sqlite_log(directory) as log:
            fill(disk)
            assert await bodies(log) == [b"kept"]
            assert [cursor.name for cursor in await log.cursors()] == ["c"]
            for work in (lambda: log.append([Draft("a", b"refused")]), log.probe):
                with pytest.raises(Unavailable, match=r"full|No space left on device"):
                    await work()
            await log.trim(Retention(), now_us=START_US)

            (disk / "filler").unlink()
            await log.probe()
            await log.append([Draft("a", b"after")])
            assert await bodies(log) == [b"kept", b"after"]
        assert_sound(directory)


async def test_a_start_without_room_for_the_reserve_says_that_nothing_is_stored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with small_disk(tmp_path / "disk", "32m") as disk:
        fill(disk, leave=1 << 20)
        async with open_sqlite_log(disk / "data") as log:
            for work in (lambda: log.append([Draft("a", b"refused")]), log.probe):
                with pytest.raises(Unavailable, match="No space left on device"):
                    await work()

            (disk / "filler").unlink()
            await log.append([Draft("a", b"after")])
            assert await bodies(log) == [b"after"]

    assert [record.message.partition(" (")[0] for record in caplog.records] == ["the disk is full"]


async def test_a_log_opens_again_and_again_on_a_disk_that_stays_full(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "32m") as disk:
        async with open_sqlite_log(disk / "data") as log:
            await log.append([Draft("a", b"kept")])
        for _ in range(3):
            fill(disk)
            async with open_sqlite_log(disk / "data") as log:
                fill(disk)
                assert await bodies(log) == [b"kept"]
                with pytest.raises(Unavailable):
                    await log.append([Draft("a")])


async def test_a_log_of_an_earlier_version_on_a_full_disk_is_read_and_migrated_once_there_is_room(
    tmp_path: Path,
) -> None:
    kept = Path(__file__).parents[1] / "data_directories" / "1.0.0-b9c3290" / FILE
    with small_disk(tmp_path / "disk", "32m") as disk:
        shutil.copy(kept, disk)
        fill(disk)

        async with open_sqlite_log(disk) as log:
            before = await bodies(log)
            assert {cursor.note for cursor in await log.cursors()} == {""}
            for work in (lambda: log.append([Draft("a")]), log.probe, lambda: log.trim(Retention(), now_us=0)):
                with pytest.raises(Unavailable, match="No space left on device"):
                    await work()

            (disk / "filler").unlink()
            await log.append([Draft("a", b"after")])
            assert await bodies(log) == [*before, b"after"]
            while await log.trim(Retention(max_count=1), now_us=0):
                pass
            assert len(await bodies(log)) == 2

        # Its lock is released.
        async with open_sqlite_log(disk) as log:
            assert len(await bodies(log)) == 2

    assert before
