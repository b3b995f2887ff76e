from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import pytest

from hookbot.log.contract import Log
from hookbot.log.copies import Copy, Named, find_copies, mark_of
from hookbot.log.memory import MemoryLog
from hookbot.protocol.message import Draft, Message, Once, format_id


async def store(log: Log, *drafts: Draft) -> list[Message]:
    return [message for message in await log.append(drafts) if isinstance(message, Message)]


async def copies(log: Log, after: int = 0) -> Sequence[Copy]:
    """All copies after a position."""
    found: list[Copy] = []
    while after < log.head:
        page = await log.copies(after=after)
        assert page.next_after > after
        found += page.copies
        after = page.next_after
    return found


async def test_copies_name_what_they_were_made_from_or_repeat(log: Log) -> None:
    once = (Once("delivery", "/unsafe/a", "key", exclusive=False),)
    [first] = await store(log, Draft("/unsafe/a", b"1", once=once))

    await store(
        log,
        Draft("a", b"1", routed_from=first.id),
        Draft("b"),
        Draft("/unsafe/a", b"1", replay_of=first.id, once=once),
        Draft("c", routed_from=format_id(log.epoch, 2)),
    )

    assert await copies(log) == [
        Copy(2, "a", [1]),
        Copy(4, "/unsafe/a", [1, 1]),
        Copy(5, "c", [2]),
    ]
    assert await copies(log, after=2) == [Copy(4, "/unsafe/a", [1, 1]), Copy(5, "c", [2])]


async def test_what_only_looks_like_an_id_makes_no_copy(log: Log) -> None:
    id = format_id(log.epoch, 1)

    await store(
        log,
        Draft("a", id.encode(), (("routed_from", id),), query=id),
        Draft("b", replay_of=format_id(MemoryLog().epoch, 1)),
    )

    assert await copies(log) == []


async def test_a_page_reads_a_bounded_part_of_the_log(
    open_log: Callable[..., AbstractAsyncContextManager[Log]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hookbot.log.engine.SCAN_LENGTH", 2)
    async with open_log() as log:
        [first] = await store(log, Draft("a"))
        await store(log, *[Draft("b", routed_from=first.id)] * 4)

        page = await log.copies(after=0)
        end = await log.copies(after=5)

    assert page == ([Copy(2, "b", [1])], 2)
    assert end == ([], 5)


def test_ids_of_other_logs_are_of_no_copy() -> None:
    rows: list[Named] = [(2, "a", [format_id("abcdefgh", 1), None]), (3, "a", [format_id("bbbbbbbb", 1)]), (4, "a", [])]

    assert find_copies({"abcdefgh": 4}, rows) == [Copy(2, "a", [1])]
    assert mark_of("abcdefgh") in f'"routed_from":"{format_id("abcdefgh", 1)}"'


def test_ids_of_what_is_shared_with_another_log_are_those_of_this_one() -> None:
    rows: list[Named] = [(position, "a", [format_id("earlierx", position - 1)]) for position in (2, 3, 4)]

    assert find_copies({"earlierx": 2, "abcdefgh": 4}, rows) == [Copy(2, "a", [1]), Copy(3, "a", [2])]
