"""The queries of deduplication keys, each by itself, on a new file."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hookbot.log import sqlite_keys as keys
from hookbot.log.deduplication import FirstUse, digest
from hookbot.log.retention import STEP_ROWS
from hookbot.log.sqlite_file import open_log_file
from hookbot.protocol.message import Draft, Once
from support.sqlite_tables import TIME_US, store


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_log_file(tmp_path)) as file:
        yield file.writer


def test_the_first_use_of_a_key_is_found_again(connection: sqlite3.Connection) -> None:
    once = Once("idempotency", "a", "key", fingerprint=b"f")
    draft = Draft("/unsafe/a", once=(once,))

    store(connection, draft)

    assert keys.first_uses(connection, [once, Once("idempotency", "b", "key")], earlier=False) == {
        digest(once): FirstUse(1, TIME_US, unsafe=True, fingerprint=b"f")
    }


def test_keys_are_forgotten_when_they_expire(connection: sqlite3.Connection) -> None:
    drafts = [Draft("/unsafe/a", once=(Once("idempotency", "a", str(number)),)) for number in range(3)]
    for position, draft in enumerate(drafts):
        store(connection, draft, head=position, time_us=position)

    assert not keys.forget_keys(connection, 2, unsafe=True)
    assert not keys.forget_keys(connection, 3, unsafe=False)

    assert [
        use.position for use in keys.first_uses(connection, [draft.once[0] for draft in drafts], earlier=False).values()
    ] == [3]


def test_keys_are_forgotten_in_steps(connection: sqlite3.Connection) -> None:
    store(connection, *[Draft("a", once=(Once("idempotency", "a", str(number)),)) for number in range(STEP_ROWS + 1)])

    steps = [keys.forget_keys(connection, TIME_US + 1, unsafe=False) for _ in range(3)]

    assert steps == [True, False, False]
    assert connection.execute("SELECT count(*) FROM once").fetchone() == (0,)
