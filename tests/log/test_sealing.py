"""Sealed messages, in a directory and in a real database: nobody reads them there without the key."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hookbot.errors import ConfigError, sole_error
from hookbot.log.contract import Log, Page
from hookbot.log.copies import Copy
from hookbot.log.postgres_address import PostgresAddress
from hookbot.log.sealing import Sealing, key_id
from hookbot.log.sqlite_backup import back_up
from hookbot.log.sqlite_file import FILE
from hookbot.log.sqlite_restore import restore
from hookbot.log.stored_message import StoredMessage
from hookbot.protocol.message import Draft, Message
from support.copies import EVERYTHING, KEEP_ALL, Place, content_of, copy, fill, open_log, schema_in
from support.damage import database
from support.messages import EPOCH, FULL
from support.postgres import PostgresServer

OLD, NEW, OTHER = (bytes([number]) * 32 for number in range(3))
MARK = b"what nobody may read"
# In a row, on pages of its own, and written apart.
SIZES = (0, 1, 5000, 100_000)

Run = Callable[..., Sequence[Sequence[Any]]]


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A new place of a log."""
    return tmp_path / "log" if request.param == "sqlite" else schema_in(request.getfixturevalue("postgres"))


@pytest.fixture
def run(place: Place, request: pytest.FixtureRequest) -> Run:
    """Function that runs a statement in the database of the log."""

    def in_file(statement: str) -> Sequence[Sequence[Any]]:
        assert isinstance(place, Path)
        with database(place) as connection:
            return connection.execute(statement).fetchall()

    def in_schema(statement: str) -> Sequence[Sequence[Any]]:
        assert isinstance(place, PostgresAddress)
        server: PostgresServer = request.getfixturevalue("postgres")
        return server.execute(statement, schema=place.schema)

    return in_file if isinstance(place, Path) else in_schema


def drafts(number: int = len(SIZES), **fields: Any) -> list[Draft]:
    headers = (("X-Mark", MARK.decode()),)
    return [
        Draft("a", MARK * (1 + SIZES[index % len(SIZES)] // len(MARK)), headers, **fields) for index in range(number)
    ]


async def pages(log: Log, *, limit: int = 100, newest: bool = False) -> list[Page]:
    """All pages of the log."""
    found, after = [], log.head + 1 if newest else 0
    while (after > 1) if newest else (after < log.head):
        found.append(await log.read(EVERYTHING, after=after, limit=limit, max_bytes=1 << 30, newest=newest))
        after = found[-1].next_after
    return found


async def messages(log: Log) -> list[Message]:
    return [message for page in await pages(log) for message in page.messages]


def sealed(message: Message, sealing: Sealing) -> StoredMessage:
    meta, body = sealing.seal(message.position, message)
    return StoredMessage.of(message.topic, body, (EPOCH, message.position, message.time_us, message.size, meta))


@pytest.mark.parametrize("message", [FULL, replace(FULL, body=b"", headers=()), replace(FULL, topic="/unsafe/ä")])
def test_a_message_is_opened_as_it_was(message: Message) -> None:
    sealing = Sealing([NEW])

    found = sealing.find(sealed(message, sealing))

    assert found == message
    assert found.wrapped == message.wrapped


def test_the_same_message_is_never_sealed_alike() -> None:
    sealing = Sealing([NEW])

    assert len({sealed(FULL, sealing).body for _ in range(10)}) == 10


@pytest.mark.parametrize("change", [{"topic": "others"}, {"position": 3}, {"body": b""}, {"body": bytes(100)}])
def test_what_was_changed_is_not_opened(change: Mapping[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    sealing = Sealing([NEW])
    stored = sealed(FULL, sealing)
    row = (EPOCH, change.get("position", stored.position), stored.time_us, stored.size, stored.meta)
    moved = StoredMessage.of(change.get("topic", stored.topic), change.get("body", stored.body), row)

    assert sealing.find(stored) == FULL
    assert sealing.find(moved) is None
    assert sealing.find(moved) is None

    assert [record.message for record in caplog.records] == [
        (
            f"the message at position {row[1]} is encrypted with the key {key_id(NEW)}, but not as it is now: it was "
            "changed, or put into another's place: it and others like it are reported to subscribers as a gap"
        )
    ]


@pytest.mark.parametrize("newest", [False, True])
def test_a_page_ends_before_what_cannot_be_opened(newest: bool) -> None:
    old, new = Sealing([OLD]), Sealing([NEW])
    found = [
        sealed(replace(FULL, id=FULL.id[:-1] + str(number)), sealing)
        for number, sealing in enumerate([new, new, old, old, new], start=1)
    ]

    def opened(first: int, last: int) -> tuple[list[int], int, str]:
        these = [message for message in found if first <= message.position <= last]
        page = new.open(Page(these[::-1] if newest else these, 0 if newest else 9))
        return [message.position for message in page.messages], page.next_after, page.hole

    if newest:
        assert opened(1, 5) == ([5], 5, "")
        assert opened(1, 4) == ([], 3, "damage")
        assert opened(1, 2) == ([2, 1], 0, "")
    else:
        assert opened(1, 5) == ([1, 2], 2, "")
        assert opened(3, 5) == ([], 4, "damage")
        assert opened(5, 5) == ([5], 9, "")


async def test_what_is_read_is_what_was_stored(place: Place) -> None:
    async with open_log(place, Sealing([NEW])) as log:
        await fill(log)
        before = await content_of(log)
    async with open_log(place, Sealing([NEW])) as log:
        assert await content_of(log) == before
    assert len(before.messages) == 4


async def test_no_file_has_the_bytes(tmp_path: Path) -> None:
    async with open_log(tmp_path, Sealing([NEW])) as log:
        await log.append(drafts())
        assert [message.body for message in await messages(log)] == [draft.body for draft in drafts()]
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert {path.name for path in files} > {FILE, f"{FILE}-wal"}
        assert [path.name for path in files if MARK in path.read_bytes()] == []
    assert [path.name for path in tmp_path.iterdir() if MARK in path.read_bytes()] == []


async def test_no_column_has_the_bytes(place: Place, run: Run) -> None:
    async with open_log(place, Sealing([NEW])) as log:
        await log.append(drafts())

    rows = run("SELECT * FROM body")

    assert len(rows) == len(SIZES)
    assert MARK.decode() not in repr(rows)


async def test_what_was_stored_before_is_read_and_stays_as_it_is(place: Place, run: Run) -> None:
    async with open_log(place) as log:
        await log.append(drafts(1))
    async with open_log(place, Sealing([NEW])) as log:
        await log.append(drafts(1))
        assert [message.body for message in await messages(log)] == [MARK, MARK]

    assert [MARK in row[0] for row in run("SELECT body FROM body ORDER BY position")] == [True, False]


async def test_an_old_key_opens_what_it_has_sealed(place: Place, run: Run) -> None:
    async with open_log(place, Sealing([OLD])) as log:
        await log.append(drafts(2))
    async with open_log(place, Sealing([NEW, OLD])) as log:
        await log.append(drafts(2))
        assert len(await messages(log)) == 4

    metas = [row[0] for row in run("SELECT meta FROM body ORDER BY position")]
    assert [key_id(OLD) in meta for meta in metas] == [True, True, False, False]
    assert [key_id(NEW) in meta for meta in metas] == [False, False, True, True]


async def test_without_an_old_key_its_messages_are_a_hole(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    async with open_log(place, Sealing([NEW])) as log:
        await log.append(drafts(2))
    async with open_log(place, Sealing([OLD, NEW])) as log:
        await log.append(drafts(3))
    async with open_log(place, Sealing([NEW, OLD])) as log:
        await log.append(drafts(1))
    caplog.clear()

    async with open_log(place, Sealing([NEW])) as log:
        found = [([one.position for one in page.messages], page.hole) for page in await pages(log)]
        again = [([one.position for one in page.messages], page.hole) for page in await pages(log, newest=True)]

    assert found == [([1, 2], ""), ([], "damage"), ([6], "")]
    assert again == [([6], ""), ([], "damage"), ([2, 1], "")]
    [told] = [record.message for record in caplog.records if "encrypted" in record.message]
    assert told.startswith(
        f"the message at position 3 is encrypted with the key {key_id(OLD)}, which is not among those of --at-rest-key"
    )


@pytest.mark.parametrize(("given", "shown"), [([], "none"), ([OTHER], key_id(OTHER))])
async def test_a_log_is_not_opened_without_its_newest_key(place: Place, given: Sequence[bytes], shown: str) -> None:
    async with open_log(place, Sealing([NEW])) as log:
        await log.append(drafts(2))
        await log.delete([2])

    with pytest.raises((ConfigError, ExceptionGroup)) as caught:
        async with open_log(place, Sealing(given)):
            pytest.fail("it was opened")

    assert str(sole_error(caught.value)) == (
        f"the log is encrypted with the key {key_id(NEW)}, which is not among those of --at-rest-key (given: {shown})"
    )


async def test_a_message_in_the_place_of_another_is_a_hole(place: Place, run: Run) -> None:
    async with open_log(place, Sealing([NEW])) as log:
        await log.append([*drafts(1), Draft("b", b"b"), Draft("c", b"c")])
    columns = "SET meta = (SELECT meta FROM body WHERE position = 1), body = (SELECT body FROM body WHERE position = 1)"
    run(f"UPDATE body {columns} WHERE position = 2")

    async with open_log(place, Sealing([NEW])) as log:
        found = [([one.position for one in page.messages], page.hole) for page in await pages(log)]

    assert found == [([1], ""), ([], "damage"), ([3], "")]


async def test_copies_are_found_and_deleted_without_being_opened(place: Place) -> None:
    async with open_log(place, Sealing([NEW])) as log:
        [first] = await log.append([Draft("a", MARK)])
        assert isinstance(first, Message)
        await log.append([Draft("b", MARK, routed_from=first.id), Draft("c", MARK, replay_of=first.id), Draft("d")])

        found = (await log.copies(after=0)).copies
        await log.delete([1, *[one.position for one in found]])

        assert found == [Copy(2, "b", [1]), Copy(3, "c", [1])]
        assert [message.topic for message in await messages(log)] == ["d"]


@pytest.mark.parametrize(("old", "new"), [("sqlite", "postgres"), ("postgres", "sqlite"), ("sqlite", "sqlite")])
async def test_a_log_is_copied_as_it_is_sealed(tmp_path: Path, postgres: PostgresServer, old: str, new: str) -> None:
    source, target = (
        tmp_path / name if engine == "sqlite" else schema_in(postgres) for name, engine in (("1", old), ("2", new))
    )
    async with open_log(source, Sealing([NEW])) as log:
        await fill(log)
        before = await content_of(log)

    await copy(source, target)

    async with open_log(target, Sealing([NEW])) as log:
        assert await content_of(log) == before


async def test_a_backup_is_sealed_as_the_log_is(tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    async with open_log(tmp_path / "1", Sealing([NEW])) as log:
        await log.append(drafts())
        before = [message.body for message in await messages(log)]
        back_up(tmp_path / "1", backup, {}, lambda copied, count: None)

    restore(backup, tmp_path / "2", lambda cursor: cursor.note, ())

    assert MARK not in backup.read_bytes()
    async with open_log(tmp_path / "2", Sealing([NEW])) as log:
        assert [message.body for message in await messages(log)] == before


async def test_retention_deletes_what_cannot_be_opened(place: Place) -> None:
    async with open_log(place, Sealing([OLD])) as log:
        await log.append(drafts(3))
    async with open_log(place, Sealing([NEW, OLD])) as log:
        await log.append(drafts(1))
    async with open_log(place, Sealing([NEW])) as log:
        while await log.trim(replace(KEEP_ALL, max_count=1), now_us=0):
            pass
        assert [message.position for message in await messages(log)] == [4]
        assert log.lost_up_to(EVERYTHING) == 3
