"""Totals of the log on disk, and the steps that count and delete, on a new file."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hookbot.log import sqlite_retention as retention
from hookbot.log.budgets import ROOTS, Partitions
from hookbot.log.retention import Partition, Row
from hookbot.log.sqlite_file import open_log_file
from hookbot.protocol.message import Draft, Message
from support.sqlite_tables import TIME_US, limits, store

BUDGETS = (*ROOTS, "logs/", "logs/one", "logs/deep/", "/unsafe/x/")


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_log_file(tmp_path)) as file:
        yield file.writer


def rows(messages: list[Message]) -> list[Row]:
    return [(message.position, message.time_us, Draft(message.topic, message.body).size) for message in messages]


def safe(partition: Partition) -> Partitions:
    """Partitions of which the safe one is this, and nothing has to be at any position."""
    return Partitions.of({"": partition, "/unsafe/": Partition(dense=1000)})


def trim(
    connection: sqlite3.Connection, partition: Partition, *, scan_length: int = 1000, **kept: Any
) -> tuple[Partition, list[int]]:
    """The partition after one step, and the positions that are left of it."""
    trimmed = retention.trim_partition(connection, safe(partition), "", limits(**kept), scan_length=scan_length)
    left = connection.execute("SELECT position FROM log CROSS JOIN body USING (position) WHERE topic = 'a'").fetchall()
    return trimmed, [position for (position,) in left]


def topics(connection: sqlite3.Connection) -> list[str]:
    return [topic for (topic,) in connection.execute("SELECT topic FROM log ORDER BY position")]


def counted(connection: sqlite3.Connection, partitions: Partitions, *, up_to: int, limit: int) -> Partitions:
    after = 0
    while after < up_to:
        partitions, after = retention.count_on(connection, partitions, after=after, up_to=up_to, limit=limit)
    return partitions


def numbers(partitions: Partitions) -> Mapping[str, int]:
    return {prefix: one.count for prefix, one in partitions.by_prefix.items() if one.count}


def test_a_new_log_has_two_empty_partitions(connection: sqlite3.Connection) -> None:
    assert retention.load_partitions(connection).by_prefix == {"": Partition(), "/unsafe/": Partition()}


@pytest.mark.parametrize("change", ["head = NULL", "count = 'x'", "unsafe = unsafe + 1"])
def test_garbled_partitions_of_an_earlier_version_are_an_error(tmp_path: Path, change: str) -> None:
    with closing(sqlite3.connect(tmp_path / "other")) as connection:
        connection.execute("CREATE TABLE half (unsafe, head, head_us, count, size, lost, lost_us, passed, oldest_us)")
        connection.execute("INSERT INTO half VALUES (0, 0, 0, 0, 0, 0, 0, 0, 0), (1, 0, 0, 0, 0, 0, 0, 0, 0)")
        connection.execute(f"UPDATE half SET {change}")

        with pytest.raises(ValueError, match="garbled"):
            retention.load_partitions(connection)


@pytest.mark.parametrize("change", ["head = 'x'", "prefix = CAST(prefix AS BLOB)", "prefix = prefix || 'x'"])
def test_garbled_partitions_are_an_error(connection: sqlite3.Connection, change: str) -> None:
    connection.execute(f"UPDATE budget SET {change}")

    with pytest.raises(ValueError, match="garbled"):
        retention.load_partitions(connection)


def test_messages_that_are_counted_and_not_there_are_an_error(connection: sqlite3.Connection) -> None:
    with pytest.raises(ValueError, match="5 messages are missing"):
        trim(connection, Partition(head=5, count=5, head_us=TIME_US), max_count=1)


def test_partitions_are_loaded_as_they_were_saved(connection: sqlite3.Connection) -> None:
    partitions = Partitions.of({"": Partition(8, 7, 6, 5, 4, 3, 2, 1), "/unsafe/": Partition(), "a/": Partition(9)})

    retention.save_partitions(connection, partitions)
    assert retention.load_partitions(connection).by_prefix == partitions.by_prefix
    retention.save_partitions(connection, Partitions.empty())
    assert retention.load_partitions(connection).by_prefix == Partitions.empty().by_prefix


@pytest.mark.parametrize("grown", [(), ("",), ("/unsafe/",), ("", "/unsafe/")])
def test_a_partition_that_has_changed_is_saved(connection: sqlite3.Connection, grown: tuple[str, ...]) -> None:
    before = Partitions.of({"": Partition(8, 7, 6, 5, 4, 3, 2, 1), "/unsafe/": Partition(1, 2, 3, 4, 5, 6, 7, 8)})
    retention.save_partitions(connection, before)
    after = before.updated({prefix: replace(before.by_prefix[prefix], head=9) for prefix in grown})

    retention.save_partitions(connection, after, before)

    assert retention.load_partitions(connection).by_prefix == after.by_prefix


@pytest.mark.parametrize("limit", [1, 2, 1000])
def test_messages_are_counted_for_their_budgets_in_steps(connection: sqlite3.Connection, limit: int) -> None:
    names = ("a", "logs/x", "logs/one", "logs/deep/y", "logs/one/z", "/unsafe/x/y", "/unsafe/x", "logs", "logs/")
    store(connection, *map(Draft, names))

    partitions = counted(connection, Partitions.empty(BUDGETS), up_to=len(names), limit=limit)

    assert numbers(partitions) == {
        "": 2,
        "logs/": 3,
        "logs/one": 1,
        "logs/deep/": 1,
        "/unsafe/x/": 1,
        "/unsafe/": 1,
    }
    assert {one.oldest_us for one in partitions.by_prefix.values()} == {TIME_US}


@pytest.mark.parametrize("prefix", BUDGETS)
def test_a_step_deletes_only_messages_of_its_budget(connection: sqlite3.Connection, prefix: str) -> None:
    names = ("a", "logs/x", "logs/one", "logs/deep/y", "logs/one/z", "/unsafe/x/y", "/unsafe/x", "logs", "0", "b%_'")
    store(connection, *map(Draft, names))
    partitions = Partitions.empty(BUDGETS).updated({p: Partition(len(names)) for p in BUDGETS})
    partitions = counted(connection, partitions, up_to=len(names), limit=1000)

    trimmed = retention.trim_partition(connection, partitions, prefix, limits(max_count=0), scan_length=1000)

    assert (trimmed.count, trimmed.size) == (0, 0)
    assert topics(connection) == [name for name in names if partitions.budgets.of(name) != prefix]


def test_the_budgets_that_are_furthest_behind_are_trimmed_first() -> None:
    partitions = Partitions.of({prefix: Partition(9, count=9, passed=n) for n, prefix in enumerate((*ROOTS, "a", "b"))})

    everything = {prefix: limits(max_count=0) for prefix in partitions.by_prefix}
    assert partitions.due_first(everything) == ["", "/unsafe/"]
    assert partitions.due_first(everything | {"": limits()}) == ["/unsafe/", "a"]


def test_a_step_trims_each_partition_that_is_due_and_saves_them(connection: sqlite3.Connection) -> None:
    store(connection, *map(Draft, ("a", "logs/x", "/unsafe/a", "a")))
    prefixes = (*ROOTS, "logs/")
    partitions = counted(
        connection, Partitions.empty(prefixes).updated({p: Partition(4) for p in prefixes}), up_to=4, limit=9
    )
    retention.save_partitions(connection, partitions)
    allowed = {"": limits(max_count=1), "logs/": limits(), "/unsafe/": limits(max_count=0)}

    trimmed = retention.trim_step(connection, partitions, allowed, scan_length=1000)

    assert topics(connection) == ["logs/x", "a"]
    assert numbers(trimmed) == numbers(retention.load_partitions(connection)) == {"": 1, "logs/": 1}


def test_the_oldest_messages_of_one_partition_are_deleted(connection: sqlite3.Connection) -> None:
    stored = store(connection, *map(Draft, ("a", "/unsafe/a", "a", "a")))
    partition = Partition().grown(rows([message for message in stored if message.topic == "a"]))

    trimmed, left = trim(connection, partition, max_count=1)

    assert left == [4]
    assert (trimmed.count, trimmed.lost, trimmed.passed) == (1, 3, 3)
    assert topics(connection) == ["/unsafe/a", "a"]


def test_a_stretch_without_messages_of_the_partition_is_passed(connection: sqlite3.Connection) -> None:
    stored = store(connection, *map(Draft, ("/unsafe/a", "/unsafe/a", "a")))
    partition = Partition().grown(rows(stored[2:]))

    passed, left = trim(connection, partition, max_count=0, scan_length=2)

    assert left == [3]
    assert (passed.passed, passed.lost, passed.count) == (2, 0, 1)


def test_a_partition_that_only_seemed_due_learns_how_old_its_oldest_message_is(
    connection: sqlite3.Connection,
) -> None:
    stored = store(connection, Draft("a"))
    partition = replace(Partition().grown(rows(stored)), oldest_us=0)

    trimmed, left = trim(connection, partition, max_age_s=1)

    assert left == [1]
    assert trimmed == replace(partition, oldest_us=TIME_US)
