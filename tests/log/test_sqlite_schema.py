"""The schema of a file: the mark of a copy. `test_sqlite_file.py` has the migrations."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hookbot.errors import ConfigError
from hookbot.log.sqlite_file import open_log_file
from hookbot.log.sqlite_schema import APPLICATION_ID, STEPS, check_version, copied_from, require_finished


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_log_file(tmp_path)) as file:
        yield file.writer


def test_a_copy_that_is_not_finished_is_refused(connection: sqlite3.Connection, tmp_path: Path) -> None:
    require_finished(connection, tmp_path)
    connection.execute("CREATE TABLE copying (source TEXT)")
    connection.execute("INSERT INTO copying VALUES ('sqlite:/srv/a')")

    assert copied_from(connection) == "sqlite:/srv/a"
    with pytest.raises(ConfigError, match=f"the log in sqlite:{tmp_path} is a copy of that in sqlite:/srv/a which is"):
        require_finished(connection, tmp_path)


def test_the_version_of_a_file_is_known(connection: sqlite3.Connection, tmp_path: Path) -> None:
    assert check_version(connection, tmp_path, newest=len(STEPS)) == len(STEPS)
    with pytest.raises(ConfigError, match="newer hookbot"):
        check_version(connection, tmp_path, newest=1)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID + 1}")
    with pytest.raises(ConfigError, match="is not a log of hookbot"):
        check_version(connection, tmp_path, newest=len(STEPS))
