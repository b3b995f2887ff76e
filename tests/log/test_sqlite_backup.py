"""Backups beside a log that is written: in each pause between two steps, the log changes."""

import os
import shutil
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from hookbot.errors import ConfigError
from hookbot.log import sqlite_backup
from hookbot.log.retention import Retention
from hookbot.log.sqlite import open_sqlite_log
from hookbot.log.sqlite_backup import back_up
from hookbot.log.sqlite_file import FILE, LOCK, open_log_file
from hookbot.log.sqlite_schema import STEPS
from hookbot.protocol.message import Draft, Once
from support.copies import Content, content_of, fill, filled
from support.damage import database, database_at, small_disk

SECRET_BODY = b"what should never have been sent"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "backup.sqlite3"


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_backup, "STEP_ROWS", 3)


def take(directory: Path, target: Path, note: Callable[[int, int], None] = lambda copied, count: None) -> None:
    back_up(directory, target, {}, note)


async def take_beside(directory: Path, target: Path, between: Callable[[], Awaitable[object]]) -> None:
    """Take a backup in a thread, and do something in each pause between two steps."""

    def note(copied: int, count: int) -> None:
        trio.from_thread.run(between)

    await trio.to_thread.run_sync(take, directory, target, note)


async def content_in(backup: Path) -> Content:
    """What a hub that begins with the file of a backup has."""
    directory = backup.with_suffix(".opened")
    directory.mkdir()
    shutil.copy(backup, directory / FILE)
    async with open_sqlite_log(directory) as log:
        return await content_of(log)


def numbered(count: int, **fields: Any) -> list[Draft]:
    return [Draft("a", b"%d" % number, **fields) for number in range(count)]


async def test_a_backup_has_everything(directory: Path, target: Path) -> None:
    before = await filled(directory)

    take(directory, target)

    assert target.stat().st_mode & 0o777 == 0o600
    assert await content_in(target) == before


async def test_a_backup_beside_a_hub_is_the_log_at_its_end(directory: Path, target: Path, small_steps: None) -> None:
    async with open_sqlite_log(directory) as log:
        await fill(log)
        await log.append(numbered(20))
        left = [5]

        async def used() -> None:
            left[0] -= 1
            if left[0] >= 0:
                await log.append(
                    [Draft("a", b"meanwhile"), Draft("/unsafe/b", b"x")], cursors={"router/github": left[0]}
                )
                await log.trim(Retention(max_count=10 + left[0]), now_us=0)

        await take_beside(directory, target, used)

        assert left[0] < 0
        assert await content_in(target) == await content_of(log)


async def test_a_backup_ends_although_each_step_is_overtaken(directory: Path, target: Path, small_steps: None) -> None:
    async with open_sqlite_log(directory) as log:
        await log.append(numbered(10))

        await take_beside(directory, target, partial(log.append, numbered(5)))

        assert await content_in(target) == await content_of(log)


async def test_what_is_deleted_meanwhile_leaves_no_byte_in_the_backup(
    directory: Path, target: Path, small_steps: None
) -> None:
    async with open_sqlite_log(directory) as log:
        await log.append([Draft("a", SECRET_BODY), *numbered(9)])

        async def deleted() -> None:
            with database(directory) as connection:
                connection.execute("UPDATE log SET size = 0, topic = '' WHERE position = 1")
                connection.execute("DELETE FROM body WHERE position = 1")

        await take_beside(directory, target, deleted)

    assert SECRET_BODY not in target.read_bytes()
    with database_at(target) as connection:
        assert connection.execute("SELECT size FROM log WHERE position = 1").fetchall() == [(0,)]


async def test_nobody_reads_between_two_steps_so_that_the_write_ahead_log_is_truncated(
    directory: Path, target: Path, small_steps: None
) -> None:
    results = []
    async with open_sqlite_log(directory) as log:
        await log.append(numbered(10))

        async def truncate() -> None:
            await log.append(numbered(1))
            with database(directory) as connection:
                results.append(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone())

        await take_beside(directory, target, truncate)

    assert len(results) > 3
    assert set(results) == {(0, 0, 0)}


async def test_large_messages_and_many_keys_are_several_steps(
    directory: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_backup, "STEP_KEYS", 2)
    steps = []
    async with open_sqlite_log(directory) as log:
        once = [Once("idempotency", "a", str(number)) for number in range(9)]
        await log.append([Draft("a", b"", once=(key,)) for key in once])
        await log.append([Draft("a", bytes(3 << 20)) for _ in range(3)])

        back_up(directory, target, {}, lambda copied, count: steps.append((copied, count)))

    assert steps == [(3, 12), (6, 12), (9, 12), (11, 12), (12, 12)]
    directory.joinpath(FILE).unlink()
    shutil.copy(target, directory / FILE)
    async with open_sqlite_log(directory) as log:
        [first, *_] = await log.append([Draft("a", b"", once=(once[0],))])
        assert log.head == 12, first


@pytest.mark.parametrize("version", range(1, len(STEPS) + 1))
async def test_the_log_of_an_earlier_version_is_backed_up_as_it_is(directory: Path, target: Path, version: int) -> None:
    open_log_file(directory, steps=STEPS[:version]).close()

    take(directory, target)

    with database_at(target) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (version,)
    assert (await content_in(target)).head == 0


async def test_a_migration_meanwhile_is_told(directory: Path, target: Path) -> None:
    await filled(directory)

    def migrated(copied: int, count: int) -> None:
        with database(directory) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS novelty (x)")

    with pytest.raises(ConfigError, match="another version of hookbot has opened the log meanwhile"):
        take(directory, target, migrated)


async def test_a_backup_that_is_interrupted_leaves_the_one_before(directory: Path, target: Path) -> None:
    await filled(directory)
    take(directory, target)
    before = target.read_bytes()

    def interrupted(copied: int, count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take(directory, target, interrupted)

    assert target.read_bytes() == before
    assert sorted(path.name for path in target.parent.iterdir()) == [target.name, directory.name]


async def test_files_are_kept_in_the_backup(directory: Path, target: Path) -> None:
    await filled(directory)

    back_up(directory, target, {"key": b"s3cret"}, lambda copied, count: None)

    with database_at(target) as connection:
        assert connection.execute("SELECT * FROM secret_file").fetchall() == [("key", b"s3cret")]


async def test_what_cannot_be_backed_up_is_said(directory: Path, target: Path) -> None:
    with pytest.raises(ConfigError, match="there is no log in the directory"):
        take(directory, target)
    await filled(directory)
    with pytest.raises(ConfigError, match="is the log itself: a backup needs another file"):
        take(directory, directory / FILE)
    with pytest.raises(ConfigError, match=r"the backup cannot be written to .*: No such file or directory"):
        take(directory, target / "backup")
    with database(directory) as connection:
        connection.execute("CREATE TABLE copying (source TEXT)")
        connection.execute("INSERT INTO copying VALUES ('elsewhere')")
    with pytest.raises(ConfigError, match="is not finished"):
        take(directory, target)
    (directory / FILE).write_bytes(bytes((directory / FILE).stat().st_size))
    with pytest.raises(ConfigError, match="it is damaged: restore a backup"):
        take(directory, target)
    assert not target.exists()


async def test_nothing_but_a_backup_is_replaced(directory: Path, target: Path) -> None:
    await filled(directory)
    os.mkfifo(target)
    files = target, directory / "hookbot.reserve", directory / LOCK
    before = [path.stat().st_ino for path in files]

    for path in files:
        with pytest.raises(ConfigError, match="is no backup, and stays as it is"):
            take(directory, path)

    assert [path.stat().st_ino for path in files] == before
    target.unlink()
    target.touch()
    for _ in range(2):
        take(directory, target)
    assert await content_in(target)


async def test_a_full_disk_is_that_of_the_backup(directory: Path, target: Path) -> None:
    async with open_sqlite_log(directory) as log:
        await log.append([Draft("a", os.urandom(500_000)) for _ in range(10)])

    with small_disk(target.with_name("disk"), "1m") as disk:
        with pytest.raises(ConfigError, match=r"the backup cannot be written to .*: the disk is full"):
            take(directory, disk / "backup")
        assert list(disk.iterdir()) == []


async def test_a_damaged_log_is_not_backed_up(directory: Path, target: Path) -> None:
    async with open_sqlite_log(directory) as log:
        await log.append([Draft("a", os.urandom(2000)) for _ in range(100)])
    damaged = bytearray((directory / FILE).read_bytes())
    damaged[len(damaged) // 2 :] = bytes(len(damaged) - len(damaged) // 2)
    (directory / FILE).write_bytes(damaged)

    with pytest.raises(ConfigError, match="cannot be backed up: database disk image is malformed"):
        take(directory, target)

    assert not target.exists()
