"""Whole logs, copied between a directory and a real server: nothing that a listener can see is another after that."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hookbot.errors import ConfigError, sole_error
from hookbot.log.copying import CopySource, copy_log
from hookbot.log.postgres import PostgresLog
from hookbot.log.sqlite_schema import add_ancestor
from hookbot.protocol.message import Draft, Duplicate, Message, Once
from support.copies import (
    ANCESTOR,
    KEEP_ALL,
    Content,
    Place,
    content_of,
    copy,
    filled,
    open_log,
    schema_in,
    source_at,
    target_at,
)
from support.damage import database
from support.postgres import PostgresServer
from support.postgres_tables import leave_hole

Places = Callable[[str], Place]


@pytest.fixture
def place(tmp_path: Path, postgres: PostgresServer) -> Places:
    """New places of logs, by their engine."""
    count = iter(range(100))
    return lambda engine: tmp_path / f"log-{next(count)}" if engine == "sqlite" else schema_in(postgres)


DIRECTIONS = [("sqlite", "postgres"), ("postgres", "sqlite"), ("sqlite", "sqlite"), ("postgres", "postgres")]


async def content_at(place: Place) -> Content:
    async with open_log(place) as log:
        return await content_of(log)


@pytest.mark.parametrize(("old", "new"), DIRECTIONS)
async def test_a_copy_is_the_same_log(place: Places, old: str, new: str) -> None:
    source, target = place(old), place(new)
    before = await filled(source)

    copied = await copy(source, target)

    assert (len(before.messages), len(before.cursors)) == (4, 4)
    assert (copied.messages, copied.cursors, copied.earlier, copied.damaged) == (4, 4, 0, 0)
    assert await content_at(target) == before
    assert await content_at(source) == before


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_a_log_comes_back_as_it_was(place: Places, engine: str) -> None:
    first, back = place(engine), place(engine)
    between = place("postgres" if engine == "sqlite" else "sqlite")
    before = await filled(first)
    if isinstance(first, Path):
        with database(first) as connection:
            add_ancestor(connection, ANCESTOR, 3)
        before.shared = 3

    await copy(first, between)
    await copy(between, back)

    assert await content_at(back) == before


@pytest.mark.parametrize(("old", "new"), DIRECTIONS)
async def test_a_copy_goes_on_with_ids_keys_and_retention(place: Places, old: str, new: str) -> None:
    source, target = place(old), place(new)
    before = await filled(source)
    await copy(source, target)

    async with open_log(target) as log:
        same = Once("idempotency", "a", "key", fingerprint=b"fingerprint")
        replayed = Once("replay", "/unsafe/b", "1", exclusive=False)
        repeat, again, fresh = await log.append(
            [Draft("a", b"", once=(same,)), Draft("/unsafe/b", once=(replayed,)), Draft("a", b"new")]
        )
        while await log.trim(KEEP_ALL, now_us=0):
            pass
        after = await content_of(log)

    assert isinstance(repeat, Duplicate)
    assert isinstance(again, Message)
    assert isinstance(fresh, Message)
    assert (again.duplicate_of, fresh.position) == (before.messages[2].id, before.head + 2)
    assert [message.id for message in after.messages[:4]] == [message.id for message in before.messages]


@pytest.mark.parametrize(("old", "new"), DIRECTIONS)
async def test_what_was_deleted_is_no_hole_in_a_copy(place: Places, old: str, new: str) -> None:
    source, target = place(old), place(new)
    async with open_log(source) as log:
        await log.append([Draft("a"), Draft("/unsafe/a"), Draft("a"), Draft("/unsafe/a"), Draft("a")])
        await log.delete([2, 3, 5])
        before = await content_of(log)

    copied = await copy(source, target)

    assert copied.messages == 2
    async with open_log(target) as log:
        assert await content_of(log) == before
        [message] = await log.append([Draft("a")])
        assert isinstance(message, Message)
        assert message.position == 6
        while await log.trim(replace(KEEP_ALL, max_count=1), now_us=0):
            pass
        after = await content_of(log)
    assert [message.position for message in after.messages] == [4, 6]
    assert after.lost == [1, 0]


async def test_holes_in_the_positions_are_no_damage_in_a_file(place: Places) -> None:
    shared, directory, back = place("postgres"), place("sqlite"), place("postgres")
    async with open_log(shared) as log:
        assert isinstance(log, PostgresLog)
        for body in (b"1", b"2"):
            await log.append([Draft("a", body)])
            await skip_positions(log, 3)
    async with open_log(shared) as log:
        before = await content_of(log)

    await copy(shared, directory)
    async with open_log(directory) as log:
        copied = await content_of(log)
        [new] = await log.append([Draft("a", b"3")])
        more = await content_of(log)
    await copy(directory, back)

    assert isinstance(new, Message)
    assert [message.position for message in before.messages] == [1, 5]
    assert (copied.messages, copied.holes, copied.head) == (before.messages, [], 8)
    assert (new.position, more.holes) == (9, [])
    assert (await content_at(back)).messages == more.messages


async def skip_positions(log: PostgresLog, positions: int) -> None:
    """Give out positions that no message gets, as a batch does that is rolled back."""
    await log._writer.do(lambda connection: leave_hole(connection, positions))


class Interrupted(Exception):
    pass


def interrupted_after(source: CopySource, parts: int) -> CopySource:
    """The source, which fails when so many parts and lists of keys were read."""
    left = parts
    read_part, read_keys = source.part, source.keys

    def count() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Interrupted

    async def part(after: int) -> object:
        count()
        return await read_part(after)

    async def keys(after: bytes) -> object:
        count()
        return await read_keys(after)

    source.part, source.keys = part, keys  # type: ignore[method-assign, assignment]
    return source


@pytest.mark.parametrize("parts", range(5))
@pytest.mark.parametrize(("old", "new"), DIRECTIONS)
async def test_a_copy_that_was_interrupted_goes_on(
    place: Places, old: str, new: str, parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("sqlite_copy", "postgres_copy"):
        monkeypatch.setattr(f"hookbot.log.{module}.PART_MESSAGES", 2)
        monkeypatch.setattr(f"hookbot.log.{module}.PART_KEYS", 1)
    source, target = place(old), place(new)
    before = await filled(source)

    async with source_at(source) as reading, target_at(target) as writing:
        with pytest.raises(Interrupted):
            await copy_log(interrupted_after(reading, parts), writing, lambda copied, count: None)
    with pytest.raises((ConfigError, ExceptionGroup)) as refused:
        await content_at(target)
    assert "which is not finished: let the same `hookbot log copy` go on" in str(sole_error(refused.value))
    with pytest.raises(ConfigError, match="is not finished"):
        await copy(target, place(old))
    copied = await copy(source, target)

    assert copied.messages + copied.earlier == 4
    assert await content_at(target) == before


@pytest.mark.parametrize(("old", "new"), DIRECTIONS)
async def test_what_a_hub_does_between_two_attempts_is_in_the_copy(place: Places, old: str, new: str) -> None:
    source, target = place(old), place(new)
    await filled(source)
    async with source_at(source) as reading, target_at(target) as writing:
        with pytest.raises(Interrupted):
            await copy_log(interrupted_after(reading, 1), writing, lambda copied, count: None)
    async with open_log(source) as log:
        await log.append([Draft("a", b"more"), Draft("/unsafe/b", b"more")], cursors={"cursor /sub/a c": None})
        oldest = (await content_of(log)).messages[0]
        await log.delete([oldest.position])
        while await log.trim(replace(KEEP_ALL, max_count=1), now_us=0):
            pass
        before = await content_of(log)

    await copy(source, target)

    assert len(before.messages) == 2
    assert await content_at(target) == before


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_only_a_new_place_is_copied_to(place: Places, engine: str) -> None:
    source, other, target = place("sqlite"), place("postgres"), place(engine)
    await filled(source)
    await filled(other)
    await copy(source, target)
    unfinished = place(engine)
    async with source_at(source) as reading, target_at(unfinished) as writing:
        with pytest.raises(Interrupted):
            await copy_log(interrupted_after(reading, 1), writing, lambda copied, count: None)

    with pytest.raises(ConfigError, match=r"there is a log in .*: a copy needs a place that has none"):
        await copy(source, target)
    with pytest.raises(ConfigError, match="there is an unfinished copy of another log in"):
        await copy(other, unfinished)


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_a_hub_that_has_only_been_started_leaves_its_place_new(place: Places, engine: str) -> None:
    source, target = place("sqlite"), place(engine)
    before = await filled(source)
    await content_at(target)

    await copy(source, target)

    assert await content_at(target) == before


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_a_source_that_was_restored_is_not_mixed_with_what_was_there(
    place: Places, engine: str, tmp_path: Path
) -> None:
    source, target = tmp_path / "source", place(engine)
    await filled(source)
    shutil.copytree(source, tmp_path / "restored")
    for directory, body in ((source, b"once"), (tmp_path / "restored", b"restored")):
        async with open_log(directory) as log:
            await log.append([Draft("a", body)])
    async with source_at(source) as reading, target_at(target) as writing:
        with pytest.raises(Interrupted):
            await copy_log(interrupted_after(reading, 2), writing, lambda copied, count: None)

    with pytest.raises(ConfigError, match="has other messages than"):
        await copy(tmp_path / "restored", target)


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_a_log_that_a_hub_uses_is_not_copied(place: Places, engine: str) -> None:
    source = place(engine)
    async with open_log(source) as log:
        await log.duties.hubs()
        with pytest.raises(ConfigError, match=r"stop (it|them) first"):
            await copy(source, place("sqlite"))
    with pytest.raises(ConfigError, match="there is no log in"):
        await copy(place(engine), place("sqlite"))


async def test_a_source_that_was_used_meanwhile_is_copied_again(place: Places) -> None:
    source, target = place("postgres"), place("sqlite")
    await filled(source)
    async with source_at(source) as reading, target_at(target) as writing:
        state = await reading.state()
        with pytest.raises(ConfigError, match="has changed meanwhile: stop its hubs, and copy again"):
            await copy_log(used_before_the_end(reading, source), writing, lambda copied, count: None)
    before = await content_at(source)

    copied = await copy(source, target)

    assert (before.head, copied.messages) == (state.head + 1, 1)
    assert await content_at(target) == before


def used_before_the_end(reading: CopySource, source: Place) -> CopySource:
    """The source, in which a hub stores a message before the cursors are read."""
    read_cursors = reading.cursors

    async def cursors() -> object:
        async with open_log(source) as log:
            await log.append([Draft("a", b"meanwhile")])
        return await read_cursors()

    reading.cursors = cursors  # type: ignore[method-assign, assignment]
    return reading


async def test_an_empty_log_can_be_copied(place: Places) -> None:
    source, target = place("sqlite"), place("postgres")
    before = await content_at(source)

    copied = await copy(source, target)

    assert (copied.messages, await content_at(target)) == (0, before)
