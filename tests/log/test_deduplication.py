"""Keys of drafts: a repeat is not stored again, by any engine."""

from collections.abc import Sequence

import pytest

from hookbot.errors import KeyReused
from hookbot.log.contract import Log, Page
from hookbot.log.deduplication import Outcome
from hookbot.log.memory import MemoryLog
from hookbot.log.retention import STEP_ROWS, Retention
from hookbot.log.sqlite import SqliteLog
from hookbot.protocol.message import Draft, Duplicate, KeyKind, Message, Once
from hookbot.protocol.topics import TopicFilter
from support.clock import Clock

DAY_US = 86400 * 1_000_000


def stored(outcomes: Sequence[Outcome]) -> list[Message]:
    return [outcome for outcome in outcomes if isinstance(outcome, Message)]


async def read(log: Log) -> Page:
    """All stored messages, which must be few."""
    return await log.read(TopicFilter(("",)), after=0, limit=1000, max_bytes=1 << 20)


async def positions(log: Log) -> list[int]:
    return [message.position for message in (await read(log)).messages]


async def trim(log: Log, retention: Retention, now_us: int) -> None:
    while await log.trim(retention, now_us=now_us):
        pass


def once(key: str, *, topic: str = "a", exclusive: bool = True, fingerprint: bytes = b"") -> tuple[Once, ...]:
    return (Once("idempotency", topic, key, exclusive, fingerprint),)


async def test_a_draft_whose_key_is_known_is_not_stored_again(log: MemoryLog | SqliteLog) -> None:
    [first] = stored(await log.append([Draft("a", b"1", once=once("k"))]))

    outcomes = await log.append([Draft("a", b"2", once=once("k")), Draft("a", b"3")])

    assert outcomes[0] == Duplicate(first.id)
    assert stored(outcomes)[0].position == log.head == 2
    assert await positions(log) == [1, 2]


async def test_the_same_key_twice_in_one_batch_is_stored_once(log: MemoryLog | SqliteLog) -> None:
    outcomes = await log.append([Draft("a", once=once("k")), Draft("b"), Draft("a", once=once("k"))])

    assert [type(outcome) for outcome in outcomes] == [Message, Message, Duplicate]
    assert outcomes[2] == Duplicate(stored(outcomes)[0].id)


async def test_a_key_is_another_one_if_its_kind_or_topic_is(log: MemoryLog | SqliteLog) -> None:
    kinds: list[KeyKind] = ["idempotency", "replay", "single use", "delivery"]
    # Whatever is written into the topic or the key, none of these may be taken for any other.
    texts = ["", "a", "a/", "replay a", "replay", "single use a", "delivery a", 'a","k', "a k", "a\nk", "a\0k", "é"]
    keys = [Once(kind, topic, key) for kind in kinds for topic in texts for key in texts]

    outcomes = await log.append([Draft("a", once=(key,)) for key in keys])

    assert len(stored(outcomes)) == len(keys)


async def test_a_key_with_another_fingerprint_is_refused_and_the_rest_of_the_batch_stored(
    log: MemoryLog | SqliteLog,
) -> None:
    await log.append([Draft("a", once=once("k", fingerprint=b"1"))])

    outcomes = await log.append([Draft("a", once=once("k", fingerprint=b"2")), Draft("b")])

    assert isinstance(outcomes[0], KeyReused)
    assert await positions(log) == [1, 2]


@pytest.mark.parametrize(("first", "second"), [(b"", b"1"), (b"1", b""), (b"1", b"1")])
async def test_without_two_different_fingerprints_a_repeat_is_a_duplicate(
    log: MemoryLog | SqliteLog, first: bytes, second: bytes
) -> None:
    await log.append([Draft("a", once=once("k", fingerprint=first))])

    [outcome] = await log.append([Draft("a", once=once("k", fingerprint=second))])

    assert isinstance(outcome, Duplicate)


async def test_a_repeat_that_is_passed_on_names_the_first_message(log: MemoryLog | SqliteLog) -> None:
    [first] = stored(await log.append([Draft("a", once=once("k", exclusive=False))]))

    outcomes: list[Outcome] = []
    for _ in range(2):
        outcomes += await log.append([Draft("a", once=once("k", exclusive=False))])

    assert [message.duplicate_of for message in stored(outcomes)] == [first.id, first.id]
    assert [m.duplicate_of for m in (await read(log)).messages] == [None, first.id, first.id]


async def test_a_draft_with_two_keys_is_known_by_either(log: MemoryLog | SqliteLog) -> None:
    [first] = stored(await log.append([Draft("a", once=once("k") + once("other"))]))

    assert list(await log.append([Draft("a", once=once("other"))])) == [Duplicate(first.id)]


async def test_the_keys_of_a_duplicate_are_not_remembered(log: MemoryLog | SqliteLog) -> None:
    await log.append([Draft("a", once=once("k"))])
    await log.append([Draft("a", once=once("k") + once("new"))])

    assert len(stored(await log.append([Draft("a", once=once("new"))]))) == 1


async def test_a_batch_of_many_keys_finds_each_of_them(log: MemoryLog | SqliteLog) -> None:
    batch = [Draft("a", once=once(str(number))) for number in range(300)]
    first = stored(await log.append(batch))

    assert list(await log.append(batch)) == [Duplicate(message.id) for message in first]


async def test_a_key_is_forgotten_after_its_time(log: MemoryLog | SqliteLog, clock: Clock) -> None:
    await log.append([Draft("a", once=once("old"))])
    clock.now_us += DAY_US // 2
    await log.append([Draft("a", once=once("young"))])
    clock.now_us += DAY_US // 2 + 1
    await trim(log, Retention(dedup_s=86400), clock.now_us)

    outcomes = await log.append([Draft("a", once=once("old")), Draft("a", once=once("young"))])

    assert [type(outcome) for outcome in outcomes] == [Message, Duplicate]


async def test_a_key_outlives_a_safe_message_but_not_an_unsafe_one(log: MemoryLog | SqliteLog, clock: Clock) -> None:
    await log.append([Draft("a", once=once("k")), Draft("/unsafe/a", once=once("k", topic="/unsafe/a"))])
    await trim(log, Retention(max_count=0), clock.now_us)

    outcomes = await log.append([Draft("a", once=once("k")), Draft("/unsafe/a", once=once("k", topic="/unsafe/a"))])

    assert [type(outcome) for outcome in outcomes] == [Duplicate, Message]


async def test_more_keys_than_one_step_are_forgotten_in_several(log: MemoryLog | SqliteLog, clock: Clock) -> None:
    batch = [Draft("a", once=once(str(number))) for number in range(STEP_ROWS + 1)]
    await log.append(batch)
    clock.skip(days=2)

    assert await log.trim(Retention(), now_us=clock.now_us)
    await trim(log, Retention(), clock.now_us)

    assert len(stored(await log.append(batch))) == len(batch)
