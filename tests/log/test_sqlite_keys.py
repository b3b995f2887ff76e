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
from support.sqlite_tables import TIME_US, limits, store


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_log_file(tmp_path)) as file:
        yield file.writer


def test_the_first_use_of_a_key_is_found_again(connection: sqlite3.Connection) -> None:
    once = Once("idempotency", "a", "key", fingerprint=b"f")
    draft = Draft("/unsafe/a", once=(once,))

    store(connection, draft)

    assert keys.first_uses(connection, [draft, Draft("b", once=(Once("idempotency", "b", "key"),))], earlier=False) == {
        digest(once): FirstUse(1, TIME_US, unsafe=True, fingerprint=b"f")
    }


def test_keys_are_forgotten_when_they_expire_or_their_message_is_lost(connection: sqlite3.Connection) -> None:
    drafts = [Draft("/unsafe/a", once=(Once("idempotency", "a", str(number)),)) for number in range(3)]
    for position, draft in enumerate(drafts):
        store(connection, draft, head=position, time_us=position)

    lost = keys.forget_keys(connection, limits(now_us=0, dedup_s=0), lost=1, unsafe=True)
    left = [use.position for use in keys.first_uses(connection, drafts, earlier=False).values()]
    expired = keys.forget_keys(connection, limits(now_us=2, dedup_s=0), lost=1, unsafe=True)

    assert sorted(left) == [2, 3]
    assert [use.position for use in keys.first_uses(connection, drafts, earlier=False).values()] == [3]
    assert not lost
    assert not expired


def test_keys_are_forgotten_in_steps(connection: sqlite3.Connection) -> None:
    store(connection, *[Draft("a", once=(Once("idempotency", "a", str(number)),)) for number in range(STEP_ROWS + 1)])
    all_of_them = limits(now_us=TIME_US + 1, dedup_s=0)

    steps = [keys.forget_keys(connection, all_of_them, lost=0, unsafe=False) for _ in range(3)]

    assert steps == [True, False, False]
    assert connection.execute("SELECT count(*) FROM once").fetchone() == (0,)
