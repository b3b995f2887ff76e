"""The schema of a file: the mark of a copy, and files of earlier versions. `test_sqlite_file.py` has migrations."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hookbot.errors import ConfigError
from hookbot.log.retention import Budget, Retention
from hookbot.log.sqlite import open_sqlite_log
from hookbot.log.sqlite_file import open_log_file
from hookbot.log.sqlite_schema import APPLICATION_ID, STEPS, check_version, copied_from, require_finished
from hookbot.protocol.topics import EVERYTHING, TopicFilter


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


@pytest.mark.parametrize("version", range(1, len(STEPS)))
async def test_a_file_of_each_earlier_version_has_what_it_had(tmp_path: Path, version: int) -> None:
    with closing(open_log_file(tmp_path, steps=STEPS[:version])) as file:
        writer = file.writer
        for position, topic in ((3, "a"), (4, "/unsafe/a"), (5, "logs/a"), (6, "logs/b")):
            writer.execute("INSERT INTO log VALUES (?, 7, ?, 9)", (position, topic))
            writer.execute("INSERT INTO body VALUES (?, '{}', ?)", (position, topic))
        writer.execute(
            "UPDATE half SET head = 6, head_us = 7, count = 3, size = 27, lost = 2, passed = 2, oldest_us = 7"
        )
        writer.execute("UPDATE half SET head = 4, count = 1, size = 9, lost = 1, passed = 3 WHERE unsafe")

    async with open_sqlite_log(tmp_path) as log:
        found = await log.read(EVERYTHING, after=0, limit=9, max_bytes=999)
        assert [(one.position, one.body.decode()) for one in found.messages] == [
            (3, "a"),
            (4, "/unsafe/a"),
            (5, "logs/a"),
            (6, "logs/b"),
        ]
        assert [log.lost_up_to(TopicFilter((pattern,))) for pattern in ("", "/unsafe/")] == [2, 1]
        while await log.trim(Retention(max_age_s=None, sections=(Budget("logs/", None, None, 1),)), now_us=7):
            pass
        assert [log.lost_up_to(TopicFilter((pattern,))) for pattern in ("a", "logs/", "/unsafe/")] == [2, 5, 1]

    with closing(open_log_file(tmp_path)) as file:
        totals = file.writer.execute("SELECT prefix, head, count, size, lost FROM budget").fetchall()
    assert totals == [("", 6, 1, 9, 2), ("/unsafe/", 4, 1, 9, 1), ("logs/", 6, 1, 9, 5)]
