"""The file of a log: its lock, its versions, its mode, and the files that are refused."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hookbot.errors import ConfigError
from hookbot.log.disk_reserve import FILE as RESERVE
from hookbot.log.sqlite_file import (
    FILE,
    LOCK,
    PAGE_BYTES,
    SPARE_BYTES,
    VACUUM_BYTES,
    give_back,
    open_log_file,
    probe,
)
from hookbot.log.sqlite_queries import transaction
from hookbot.log.sqlite_schema import STEPS
from support.damage import database, fill, small_disk


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state" / "hookbot"


def make_log(directory: Path) -> None:
    """A log with one message."""
    with closing(open_log_file(directory)) as file:
        file.writer.execute("INSERT INTO body VALUES (1, '{}', 'kept')")


def test_a_new_log_gets_a_name_that_it_keeps(directory: Path) -> None:
    names = []
    for _ in range(2):
        with closing(open_log_file(directory)) as file:
            names += file.writer.execute("SELECT epoch FROM identity").fetchall()

    assert names[0] == names[1]
    assert len(names[0][0]) == 8


def test_readers_see_what_is_committed_and_cannot_write(directory: Path) -> None:
    with closing(open_log_file(directory)) as file:
        file.writer.execute("INSERT INTO body VALUES (1, '{}', 'kept')")

        for reader in file.readers:
            assert reader.execute("SELECT body FROM body").fetchall() == [("kept",)]
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                reader.execute("DELETE FROM body")


def test_a_second_hub_is_refused_and_told_which_process_has_the_log(directory: Path) -> None:
    with (
        closing(open_log_file(directory)),
        pytest.raises(ConfigError, match=f"in use by process {os.getpid()}; give this hub"),
    ):
        open_log_file(directory)

    open_log_file(directory).close()


def test_a_hub_that_has_not_yet_said_which_process_it_is_is_unknown(directory: Path) -> None:
    with closing(open_log_file(directory)):
        (directory / LOCK).write_text("")

        with pytest.raises(ConfigError, match="in use by process unknown"):
            open_log_file(directory)


def test_an_older_file_is_migrated(directory: Path) -> None:
    make_log(directory)

    open_log_file(directory, steps=(*STEPS, "CREATE TABLE novelty (x);")).close()

    with database(directory) as connection:
        assert connection.execute("SELECT body FROM body").fetchall() == [("kept",)]
        assert connection.execute("SELECT count(*) FROM novelty").fetchone() == (0,)
        assert connection.execute("PRAGMA user_version").fetchone() == (len(STEPS) + 1,)


def test_a_migration_that_fails_changes_nothing(directory: Path) -> None:
    make_log(directory)

    with pytest.raises(ConfigError, match="table log already exists"):
        open_log_file(directory, steps=(*STEPS, "CREATE TABLE novelty (x); CREATE TABLE log (x);"))

    with closing(open_log_file(directory)) as file:
        assert file.writer.execute("SELECT body FROM body").fetchall() == [("kept",)]
        assert file.writer.execute("SELECT count(*) FROM sqlite_master WHERE name = 'novelty'").fetchone() == (0,)


def test_a_file_from_a_newer_hookbot_is_refused(directory: Path) -> None:
    make_log(directory)
    with database(directory) as connection:
        connection.execute("PRAGMA user_version = 99")

    with pytest.raises(ConfigError, match=f"newer hookbot: its schema has version 99, .* up to {len(STEPS)}"):
        open_log_file(directory)


def test_another_programs_database_is_refused_and_left_alone(directory: Path) -> None:
    directory.mkdir(parents=True)
    with database(directory) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = (directory / FILE).read_bytes()

    with pytest.raises(ConfigError, match="is not a log of hookbot"):
        open_log_file(directory)

    assert (directory / FILE).read_bytes() == before


def test_a_file_that_is_no_database_is_refused(directory: Path) -> None:
    directory.mkdir(parents=True)
    (directory / FILE).write_bytes(b"not a database" * 100)

    with pytest.raises(ConfigError, match="file is not a database"):
        open_log_file(directory)


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(ConfigError, match="Not a directory"):
        open_log_file(tmp_path / "file" / "hookbot")


def test_only_the_owner_can_read_the_files(directory: Path) -> None:
    with closing(open_log_file(directory)):
        modes = {path.name: path.stat().st_mode & 0o777 for path in directory.glob("*.sqlite3*")}

    assert directory.stat().st_mode & 0o777 == 0o700
    assert modes == dict.fromkeys(["hookbot.sqlite3", "hookbot.sqlite3-wal", "hookbot.sqlite3-shm"], 0o600)


# --- a full disk


@pytest.mark.parametrize("leave", [0, 16 << 10])
def test_a_file_on_a_disk_without_room_to_open_it_can_be_read_until_there_is_some(tmp_path: Path, leave: int) -> None:
    with small_disk(tmp_path / "disk", "32m") as disk:
        make_log(disk)
        (disk / RESERVE).unlink()
        fill(disk, leave=leave)

        file = open_log_file(disk)
        assert file.only_read
        assert file.readers[0].execute("SELECT body FROM body").fetchall() == [("kept",)]
        with pytest.raises(OSError, match="No space left"):
            file.open_for_writing()
        assert file.readers[0].execute("SELECT body FROM body").fetchall() == [("kept",)]
        with pytest.raises(ConfigError, match="in use by process"):
            open_log_file(disk)

        (disk / "filler").unlink()
        with closing(file.open_for_writing()) as opened:
            assert not opened.only_read
            opened.writer.execute("INSERT INTO body VALUES (2, '{}', 'new')")
            assert opened.readers[1].execute("SELECT count(*) FROM body").fetchone() == (2,)


def test_a_log_cannot_be_made_on_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "16m") as disk:
        (disk / "data").mkdir()
        fill(disk)

        with pytest.raises(ConfigError, match="; free some disk space"):
            open_log_file(disk / "data")


# --- free pages


@pytest.fixture(params=[16384, PAGE_BYTES], ids=["pages of version 1.0", "pages of a new file"])
def connection(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / FILE)) as empty:
        empty.executescript(f"PRAGMA page_size = {request.param}; PRAGMA auto_vacuum = INCREMENTAL; VACUUM")
    with closing(open_log_file(tmp_path)) as file:
        yield file.writer


def test_free_pages_beyond_a_reserve_are_returned_in_steps(connection: sqlite3.Connection) -> None:
    def free() -> int:
        [[pages]], [[page_bytes]] = map(connection.execute, ("PRAGMA freelist_count", "PRAGMA page_size"))
        return int(pages * page_bytes)

    assert not give_back(connection)
    connection.execute("INSERT INTO body VALUES (1, '', zeroblob(?))", (SPARE_BYTES + VACUUM_BYTES * 3 // 2,))
    connection.execute("DELETE FROM body")
    before = free()

    steps = [give_back(connection) for _ in range(3)]

    assert before > SPARE_BYTES + VACUUM_BYTES
    assert steps == [True, False, False]
    assert free() == SPARE_BYTES


def test_a_probe_leaves_nothing_behind(connection: sqlite3.Connection) -> None:
    with transaction(connection):
        probe(connection)

    for table in "log", "body":
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_a_probe_fails_if_nothing_can_be_written(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA query_only = ON")

    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        probe(connection)
