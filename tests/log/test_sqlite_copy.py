"""What only a copy from or to a file can meet. `test_copying.py` has the rest."""

from contextlib import closing
from pathlib import Path

import pytest

from hookbot.errors import ConfigError
from hookbot.log.copying import LogState, LostRange, copy_log
from hookbot.log.retention import Deleted
from hookbot.log.sqlite import open_sqlite_log
from hookbot.log.sqlite_copy import open_sqlite_source, open_sqlite_target
from hookbot.log.sqlite_file import FILE, LOCK, open_log_file
from hookbot.log.sqlite_schema import STEPS
from hookbot.protocol.message import Draft, Once
from support.copies import content_of, copy, filled, open_log, schema_in
from support.damage import database, fill, leaves, lose_bodies, small_disk, spoil, write_log
from support.postgres import PostgresServer

DRAFTS = [Draft("a", b"%300d" % n, once=(Once("idempotency", "s", str(n)),)) for n in range(1, 1001)]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "source"


async def store(directory: Path, *drafts: Draft) -> None:
    async with open_sqlite_log(directory) as log:
        await log.append(drafts)


@pytest.fixture
def damaged(directory: Path) -> Path:
    """A log of which a page in the middle is damaged."""
    directory.mkdir()
    write_log(directory, DRAFTS, cursors={"c": 1})
    pages = leaves(directory, "body")
    spoil(directory, pages[len(pages) // 2])
    return directory


async def test_what_is_damaged_is_left_out_and_told_as_a_gap(
    damaged: Path, tmp_path: Path, postgres: PostgresServer
) -> None:
    shared, directory = schema_in(postgres), tmp_path / "copy"
    async with open_sqlite_log(damaged) as log:
        before = await content_of(log)

    copied, also = await copy(damaged, shared), await copy(damaged, directory)

    async with open_log(shared) as log:
        in_postgres = await content_of(log)
    async with open_log(directory) as log:
        on_disk = await content_of(log)
    assert 0 < copied.damaged == also.damaged == 1000 - copied.messages
    assert in_postgres.messages == on_disk.messages == before.messages
    assert set(in_postgres.holes) == {"failover"}
    assert set(on_disk.holes) == {"damage"}


async def test_what_cannot_be_decoded_is_left_out(directory: Path, tmp_path: Path) -> None:
    await store(directory, *DRAFTS[:3])
    with database(directory) as connection:
        connection.execute("UPDATE body SET meta = '{' WHERE position = 2")

    copied = await copy(directory, tmp_path / "copy")

    assert (copied.messages, copied.damaged) == (2, 1)


@pytest.mark.parametrize("table", ["once", "cursor"])
async def test_damaged_keys_and_cursors_are_not_left_out(damaged: Path, tmp_path: Path, table: str) -> None:
    for page in leaves(damaged, table):
        spoil(damaged, page)

    with pytest.raises(ConfigError, match="it is damaged: restore a backup"):
        await copy(damaged, tmp_path / "copy")


async def test_a_log_whose_newest_message_is_damaged_keeps_its_head(directory: Path, tmp_path: Path) -> None:
    await store(directory, Draft("a", b"1"), Draft("a", b"2"))
    lose_bodies(directory, 2)

    await copy(directory, tmp_path / "copy")

    async with open_log(tmp_path / "copy") as log:
        assert (log.head, [message.body for message in (await content_of(log)).messages]) == (2, [b"1"])


async def test_a_file_of_an_older_version_has_to_be_migrated_first(directory: Path, tmp_path: Path) -> None:
    open_log_file(directory, steps=STEPS[:-1]).close()

    with pytest.raises(ConfigError, match="is from an older hookbot: start and stop a hub of this version on it first"):
        await copy(directory, tmp_path / "copy")


async def test_the_source_is_not_changed(directory: Path, tmp_path: Path) -> None:
    await filled(directory)
    before = {file.name: file.read_bytes() for file in directory.iterdir() if file.name != LOCK}

    await copy(directory, tmp_path / "copy")

    assert {file.name: file.read_bytes() for file in directory.iterdir() if file.name != LOCK} == before


async def test_messages_of_a_hub_that_was_killed_are_copied(directory: Path, tmp_path: Path) -> None:
    async with open_sqlite_log(directory) as log:
        await log.append([Draft("a", b"in the write-ahead log")])
        for file in directory.iterdir():
            if file.name.startswith(FILE):
                (tmp_path / "killed").mkdir(exist_ok=True)
                (tmp_path / "killed" / file.name).write_bytes(file.read_bytes())

    assert (await copy(tmp_path / "killed", tmp_path / "copy")).messages == 1


async def test_keys_of_version_1_are_copied_only_to_a_file(
    directory: Path, tmp_path: Path, postgres: PostgresServer
) -> None:
    await filled(directory)
    with database(directory) as connection:
        connection.execute("UPDATE identity SET earlier_keys = 5")

    with pytest.raises(ConfigError, match=r"has keys of version 1.0, which PostgreSQL cannot have: start a hub on it"):
        await copy(directory, schema_in(postgres))
    await copy(directory, tmp_path / "copy")

    with database(tmp_path / "copy") as connection:
        assert connection.execute("SELECT earlier_keys FROM identity").fetchone() == (5,)


async def test_what_a_failover_has_lost_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = LogState("abcdefgh", 9, 0, 0, {"": Deleted(2, 0, 2), "/unsafe/": Deleted()}, lost_ranges=[])
    lost = [LostRange(3, 1, 2), LostRange(6, 3, 5), LostRange(9, 7, 7)]

    async with open_sqlite_target(tmp_path) as target:
        await target.begin("there", state)
        await target.finish(LogState("abcdefgh", 9, 0, 0, state.deleted, lost_ranges=lost), [])

    [told] = caplog.messages
    assert told.startswith("positions 4 to 5 were lost in a failover")


async def test_a_full_disk_is_told(directory: Path, tmp_path: Path) -> None:
    await store(directory, *[Draft("a", bytes(1 << 20)) for _ in range(30)])
    with small_disk(tmp_path / "disk") as disk:
        with pytest.raises(ConfigError, match="free some disk space"):
            await copy(directory, disk / "copy")
        (disk / "copy" / "hookbot.reserve").unlink(missing_ok=True)
        fill(disk)
        with pytest.raises(ConfigError, match="free some disk space"):
            await copy(directory, disk / "copy")


async def test_a_directory_without_a_log_is_none_after_that(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no log in the directory"):
        async with open_sqlite_source(tmp_path):
            pass
    assert not list(tmp_path.iterdir())


async def test_the_totals_of_a_copy_are_those_of_its_source(directory: Path, tmp_path: Path) -> None:
    await filled(directory)
    async with open_sqlite_source(directory) as source, open_sqlite_target(tmp_path / "copy") as target:
        await copy_log(source, target, lambda copied, count: None)

    totals = "SELECT prefix, max(head) OVER (), count, size, lost, lost_us, passed, dense FROM budget ORDER BY prefix"
    with closing(open_log_file(directory)) as one, closing(open_log_file(tmp_path / "copy")) as other:
        assert one.writer.execute(totals).fetchall() == other.writer.execute(totals).fetchall()
