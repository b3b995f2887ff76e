"""Logs whose name or totals are damaged: they open, with everything else in them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from hookbot.log.contract import Log
from hookbot.log.retention import Partition, Retention
from hookbot.log.sqlite import open_sqlite_log
from hookbot.log.sqlite_file import FILE
from hookbot.log.sqlite_retention import load_partitions, save_partitions
from hookbot.protocol.message import Draft, Duplicate, Message, Once
from hookbot.protocol.topics import TopicFilter
from support.damage import GARBAGE, database, leaves, root, spoil, write_log

EVERYTHING = TopicFilter(("", "/unsafe/"))
TOPICS = ("a", "b", "/unsafe/a")
COUNT = 3000
SAFE, UNSAFE = 100, 100


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a log of which retention has left a hundred safe and as many unsafe messages."""
    drafts = [Draft(TOPICS[n % 3], b"%d" % n, once=(Once("idempotency", "s", str(n)),)) for n in range(1, COUNT + 1)]
    return write_log(
        tmp_path_factory.mktemp("made"), drafts, cursors={"cursor": COUNT}, retention=Retention(max_count=100)
    )


@pytest.fixture
def directory(tmp_path: Path, made: bytes) -> Path:
    (tmp_path / FILE).write_bytes(made)
    return tmp_path


def name_and_totals(directory: Path) -> tuple[str, Mapping[str, Partition]]:
    with database(directory) as connection:
        [name] = connection.execute("SELECT epoch FROM identity").fetchone()
        return name, load_partitions(connection).by_prefix


async def numbers(log: Log) -> list[int]:
    found: list[int] = []
    after = 0
    while after < log.head:
        page = await log.read(EVERYTHING, after=after, limit=1000, max_bytes=1 << 20)
        assert not page.hole
        found += [int(message.body) for message in page.messages]
        after = page.next_after
    return found


async def assert_goes_on(directory: Path) -> None:
    """The log has what it had, its keys and cursors too, and takes more."""
    async with open_sqlite_log(directory) as log:
        before = await numbers(log)
        repeat, new = await log.append([Draft("a", once=(Once("idempotency", "s", str(COUNT)),)), Draft("a", b"3001")])
        assert isinstance(repeat, Duplicate)
        assert isinstance(new, Message)
        assert new.position == COUNT + 1
        assert [cursor.position for cursor in await log.cursors()] == [COUNT]

    assert len(before) == SAFE + UNSAFE
    async with open_sqlite_log(directory) as log:
        assert await numbers(log) == [*before, COUNT + 1]


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_totals_that_are_damaged_are_counted_again(directory: Path, garbage: str) -> None:
    name, totals = name_and_totals(directory)
    spoil(directory, root(directory, "budget"), garbage)

    async with open_sqlite_log(directory) as log:
        for prefix, partition in totals.items():
            assert log.lost_up_to(TopicFilter((f"{prefix}a",))) >= partition.lost

    again, counted = name_and_totals(directory)
    assert again == name
    assert [(one.count, one.size) for one in counted.values()] == [(one.count, one.size) for one in totals.values()]
    assert max(one.head for one in counted.values()) == COUNT
    await assert_goes_on(directory)


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_a_log_whose_name_is_damaged_gets_another_one(directory: Path, garbage: str) -> None:
    name, totals = name_and_totals(directory)
    spoil(directory, root(directory, "identity"), garbage)

    async with open_sqlite_log(directory) as log:
        assert log.epoch != name

    assert name_and_totals(directory) == (log.epoch, totals)
    await assert_goes_on(directory)


async def test_a_log_that_does_not_know_its_newest_position_gets_another_name(directory: Path) -> None:
    name, _ = name_and_totals(directory)
    spoil(directory, root(directory, "budget"))
    spoil(directory, leaves(directory, "log")[-1])

    async with open_sqlite_log(directory) as log:
        assert log.epoch != name
        # Bodies and keys have it.
        assert log.head == COUNT
        [message] = await log.append([Draft("a", once=(Once("idempotency", "s", str(COUNT)),))])
        assert isinstance(message, Duplicate)


async def test_an_empty_log_whose_totals_are_damaged_does_not_use_ids_again(directory: Path) -> None:
    async with open_sqlite_log(directory) as log:
        name = log.epoch
        while await log.trim(Retention(max_count=0, dedup_s=0), now_us=10**15):
            pass
        await log.append([], cursors={"cursor": None})
    spoil(directory, root(directory, "budget"))

    async with open_sqlite_log(directory) as log:
        assert log.epoch != name
        assert log.head == 0
        await log.append([Draft("a")])


@pytest.mark.parametrize(
    "change",
    [
        {"size": 1 << 40},
        {"size": -1},
        {"count": 1 << 20},
        {"count": -1},
        {"passed": 1 << 30},
        {"lost": 1 << 30},
        {"head": 10},
        {"head": 1 << 40},
        {"head_us": 1 << 62},
    ],
    ids=str,
)
async def test_totals_that_cannot_be_right_are_counted_again(directory: Path, change: dict[str, int]) -> None:
    with database(directory) as connection:
        totals = load_partitions(connection)
        save_partitions(
            connection, totals.updated({key: replace(one, **change) for key, one in totals.by_prefix.items()})
        )

    async with open_sqlite_log(directory, clock_us=lambda: 3) as log:
        while await log.trim(Retention(max_count=100), now_us=3):
            pass
        assert len(await numbers(log)) == SAFE + UNSAFE
        assert (log.head, log.head_us) == (COUNT, 1)


async def test_a_file_of_an_earlier_version_is_repaired_before_it_is_migrated(tmp_path: Path) -> None:
    kept = Path(__file__).parents[1] / "data_directories" / "1.0.0-b9c3290" / FILE
    (tmp_path / FILE).write_bytes(kept.read_bytes())
    with database(tmp_path) as connection:
        before = connection.execute("SELECT position FROM log ORDER BY position").fetchall()
    for table in "half", "identity":
        spoil(tmp_path, root(tmp_path, table))

    async with open_sqlite_log(tmp_path) as log:
        page = await log.read(EVERYTHING, after=0, limit=1000, max_bytes=1 << 20)

    assert [(message.position,) for message in page.messages] == before
    with database(tmp_path) as connection:
        assert connection.execute("SELECT earlier_keys FROM identity").fetchone() == before[-1]


async def test_a_repair_is_logged_once(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    spoil(directory, root(directory, "budget"))
    for _ in range(2):
        async with open_sqlite_log(directory):
            pass

    [line] = [record.message for record in caplog.records]
    assert line.startswith("the log was damaged where its name and totals are: they are rebuilt from its 200 messages")
    assert line.endswith("its name is the same")
