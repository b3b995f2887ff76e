"""Logs that are made from backups, of this version and of each earlier one, and files that are none."""

import os
import shutil
from pathlib import Path

import pytest

from hookbot.errors import ConfigError
from hookbot.log.contract import SavedCursor
from hookbot.log.copies import Copy
from hookbot.log.sqlite import open_sqlite_log
from hookbot.log.sqlite_backup import back_up
from hookbot.log.sqlite_file import FILE, LOCK, locked, open_log_file
from hookbot.log.sqlite_restore import Restored, restore
from hookbot.log.sqlite_schema import STEPS, partitions_table
from hookbot.protocol.message import Draft, Message, format_id, parse_id
from support.copies import content_of, filled
from support.damage import database, database_at

EARLIER = Path(__file__).parents[1] / "data_directories"


NAMES = "key", "other"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    return tmp_path / "backup.sqlite3"


def take(directory: Path, backup: Path, **files: bytes) -> None:
    back_up(directory, backup, files, lambda copied, count: None)


def bring_back(backup: Path, directory: Path) -> Restored:
    """Restore a backup in place of the log that is there, whose files are moved away."""
    if directory.exists():
        shutil.rmtree(directory)
    return restore(backup, directory, lambda cursor: cursor.note, NAMES)


async def store(directory: Path, *bodies: bytes) -> str:
    """Store messages, and return the epoch of the log."""
    async with open_sqlite_log(directory) as log:
        await log.append([Draft("a", body) for body in bodies])
        return log.epoch


async def test_a_log_comes_back_with_everything_under_another_name(directory: Path, backup: Path) -> None:
    before = await filled(directory)
    take(directory, backup)
    await store(directory, b"lost")

    restored = bring_back(backup, directory)

    async with open_sqlite_log(directory) as log:
        after = await content_of(log)
        [stored] = await log.append([Draft("a", b"next")])
    assert after.epoch == restored.epoch != before.epoch == restored.ancestor
    assert [(parse_id(one.id)[1], one.topic, one.body, one.headers, one.time_us) for one in after.messages] == [
        (parse_id(one.id)[1], one.topic, one.body, one.headers, one.time_us) for one in before.messages
    ]
    assert (after.head, after.lost, after.holes) == (before.head, before.lost, [])
    assert [(cursor.name, cursor.position) for cursor in after.cursors] == [
        (cursor.name, cursor.position) for cursor in before.cursors
    ]
    assert isinstance(stored, Message)
    assert parse_id(stored.id) == (restored.epoch, before.head + 1)
    assert (restored.messages, restored.cursors) == (len(before.messages), len(before.cursors))
    assert sorted(path.name for path in directory.iterdir() if path.name.startswith(".")) == []
    assert (directory / FILE).stat().st_mode & 0o777 == 0o600


async def test_what_was_made_of_a_message_before_the_backup_is_found(directory: Path, backup: Path) -> None:
    async with open_sqlite_log(directory) as log:
        await log.append([Draft("a"), Draft("b", routed_from=format_id(log.epoch, 1))])
    take(directory, backup)
    bring_back(backup, directory)

    async with open_sqlite_log(directory) as log:
        await log.append([Draft("c", routed_from=format_id(log.epoch, 2))])
        page = await log.copies(after=0)

    assert page.copies == [Copy(2, "b", [1]), Copy(3, "c", [2])]


async def test_a_log_knows_what_it_shares_with_each_that_it_was_restored_from(directory: Path, backup: Path) -> None:
    first = await store(directory, b"1", b"2")
    take(directory, backup)
    await store(directory, b"lost")
    second = bring_back(backup, directory).epoch
    await store(directory, b"3", b"4", b"5")
    take(directory, backup)
    await store(directory, b"lost as well")

    third = bring_back(backup, directory).epoch

    async with open_sqlite_log(directory) as log:
        shared = [log.shared_with(epoch) for epoch in (first, second, third, "zzzzzzzz")]
    assert shared == [2, 5, 5, -1]


async def test_notes_of_cursors_are_renewed(directory: Path, backup: Path) -> None:
    await filled(directory)
    take(directory, backup)
    seen: list[SavedCursor] = []

    def renew(cursor: SavedCursor) -> str:
        seen.append(cursor)
        return f"new {cursor.note}"

    restore(backup, directory.with_name("restored"), renew, NAMES)

    async with open_sqlite_log(directory.with_name("restored")) as log:
        cursors = await log.cursors()
    assert [cursor.note for cursor in cursors] == [f"new {cursor.note}" for cursor in seen]
    assert "new note" in [cursor.note for cursor in cursors]


@pytest.mark.parametrize("version", range(1, len(STEPS) + 1))
async def test_a_backup_of_an_earlier_version_is_migrated(directory: Path, backup: Path, version: int) -> None:
    open_log_file(directory, steps=STEPS[:version]).close()
    with database(directory) as connection:
        connection.execute("INSERT INTO log VALUES (1, 5, 'a', 40)")
        connection.execute("INSERT INTO body VALUES (1, '{}', 'kept')")
        table = partitions_table(connection)
        safe = "prefix = ''" if table == "budget" else "unsafe = 0"
        connection.execute(
            f"UPDATE {table} SET head = 1, head_us = 5, count = 1, size = 40, oldest_us = 5 WHERE {safe}"
        )
    take(directory, backup)

    bring_back(backup, directory)

    async with open_sqlite_log(directory) as log:
        assert [message.body for message in (await content_of(log)).messages] == [b"kept"]
    with database(directory) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(STEPS),)


@pytest.mark.parametrize("kept", sorted(path.name for path in EARLIER.iterdir() if path.is_dir()))
async def test_the_file_of_an_earlier_hub_is_a_backup(directory: Path, kept: str) -> None:
    messages = (EARLIER / kept / "messages.jsonl").read_text().splitlines()

    bring_back(EARLIER / kept / FILE, directory)

    async with open_sqlite_log(directory) as log:
        assert len((await content_of(log)).messages) == len(messages)


async def test_files_come_back_unless_they_are_there_and_leave_the_log(directory: Path, backup: Path) -> None:
    await filled(directory)
    take(directory, backup, key=b"s3cret\n", other=b"other")
    target = directory.with_name("restored")
    target.mkdir()
    (target / "other").write_bytes(b"other")

    restored = restore(backup, target, lambda cursor: cursor.note, NAMES)

    assert restored.files == ("key",)
    assert ((target / "key").read_bytes(), (target / "key").stat().st_mode & 0o777) == (b"s3cret\n", 0o600)
    assert b"s3cret" not in (target / FILE).read_bytes()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
async def test_what_root_restores_belongs_to_the_owner_of_the_directory(directory: Path, backup: Path) -> None:
    await filled(directory)
    take(directory, backup, key=b"s3cret")
    target = directory.with_name("restored")
    target.mkdir()
    os.chown(target, 65534, 65534)

    restore(backup, target, lambda cursor: cursor.note, NAMES)

    assert {path.name: path.stat().st_uid for path in target.iterdir()} == dict.fromkeys([FILE, LOCK, "key"], 65534)


async def test_another_file_is_not_replaced_and_none_written_elsewhere(directory: Path, backup: Path) -> None:
    await filled(directory)
    take(directory, backup, key=b"s3cret")
    target = directory.with_name("restored")
    target.mkdir()
    (target / "key").write_bytes(b"another")

    with pytest.raises(ConfigError, match="the backup has another file key than") as refused:
        restore(backup, target, lambda cursor: cursor.note, NAMES)

    assert "s3cret" not in str(refused.value)
    assert sorted(path.name for path in target.iterdir()) == [LOCK, "key"]
    (target / "key").unlink()
    for name in "../key", "hookbot.toml", f"{FILE}-wal", "key\x1b[31m":
        take(directory, backup, key=b"s3cret", **{name: b"s3cret"})
        with pytest.raises(ConfigError, match="none that `hookbot backup` takes"):
            restore(backup, target, lambda cursor: cursor.note, NAMES)
    take(directory, backup, key=b"s3cret")
    with database_at(backup) as connection:
        connection.execute("UPDATE secret_file SET content = CAST(content AS TEXT)")
    with pytest.raises(ConfigError, match="none that `hookbot backup` takes"):
        restore(backup, target, lambda cursor: cursor.note, NAMES)
    assert [path.name for path in target.iterdir()] == [LOCK]


@pytest.mark.parametrize("name", [FILE, f"{FILE}-wal", f"{FILE}-shm"])
async def test_nothing_is_restored_where_a_log_is(directory: Path, backup: Path, name: str) -> None:
    await filled(directory)
    take(directory, backup)
    target = directory.with_name("other")
    target.mkdir()
    (target / name).write_bytes(b"here")

    with pytest.raises(ConfigError, match=f"there is a log in .*: move {name} and what begins with its name"):
        restore(backup, target, lambda cursor: cursor.note, NAMES)

    assert (target / name).read_bytes() == b"here"


async def test_nothing_is_restored_beneath_a_hub(directory: Path, backup: Path) -> None:
    await filled(directory)
    take(directory, backup)
    (directory / FILE).unlink()

    with locked(directory, ""), pytest.raises(ConfigError, match=f"in use by process {os.getpid()}; stop it first"):
        restore(backup, directory, lambda cursor: cursor.note, NAMES)


async def test_what_is_no_whole_backup_is_refused(directory: Path, backup: Path) -> None:
    def refusal() -> str:
        with pytest.raises(ConfigError) as refused:
            restore(backup, directory, lambda cursor: cursor.note, NAMES)
        assert not (directory / FILE).exists()
        return str(refused.value)

    backup.write_bytes(b"")
    assert "is not a log of hookbot" in refusal()
    backup.write_bytes(os.urandom(10_000))
    assert "cannot be restored: file is not a database" in refusal()
    backup.unlink()
    assert "there is no file" in refusal()
    with database_at(backup) as connection:
        connection.execute("CREATE TABLE x (y)")
    assert "is not a log of hookbot" in refusal()
    backup.with_name(f"{backup.name}-wal").write_bytes(b"x")
    assert "is the file of a hub that runs or was killed: `hookbot backup` makes a whole copy" in refusal()


@pytest.mark.parametrize(
    "made",
    [
        "TRIGGER forgetting AFTER INSERT ON log BEGIN DELETE FROM body WHERE position = new.position; END",
        "VIEW endless AS WITH RECURSIVE n AS (SELECT 1 UNION ALL SELECT 1 FROM n) SELECT * FROM n",
    ],
)
async def test_what_runs_statements_of_its_own_is_not_restored(directory: Path, backup: Path, made: str) -> None:
    await filled(directory)
    take(directory, backup)
    with database_at(backup) as connection:
        connection.execute(f"CREATE {made}")

    with pytest.raises(ConfigError, match="is not a log of hookbot"):
        bring_back(backup, directory)


async def test_a_backup_that_was_cut_off_is_not_restored(directory: Path, backup: Path) -> None:
    await filled(directory)
    take(directory, backup)
    backup.write_bytes(backup.read_bytes()[:-1])

    with pytest.raises(ConfigError, match="its end is missing"):
        bring_back(backup, directory)


async def test_a_damaged_backup_is_not_restored(directory: Path, backup: Path, tmp_path: Path) -> None:
    await store(directory, *[os.urandom(2000) for _ in range(100)])
    take(directory, backup)
    content = backup.read_bytes()
    backup.write_bytes(content[: len(content) // 2] + os.urandom(len(content) // 2))

    with pytest.raises(ConfigError, match="backup"):
        restore(backup, tmp_path / "restored", lambda cursor: cursor.note, NAMES)

    assert [path.name for path in (tmp_path / "restored").iterdir()] == [LOCK]
