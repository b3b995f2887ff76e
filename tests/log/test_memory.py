"""The log in memory, as far as it differs from other engines: what it holds is bounded at any moment."""

from hookbot.log.memory import MemoryLog
from hookbot.log.retention import Retention
from hookbot.protocol.message import Draft
from hookbot.protocol.topics import TopicFilter

EVERYTHING = TopicFilter.parse("")


async def kept(log: MemoryLog) -> list[int]:
    page = await log.read(EVERYTHING, after=0, limit=1000, max_bytes=1 << 30)
    return [message.position for message in page.messages]


async def test_what_is_too_much_is_deleted_at_once_and_the_newest_stay() -> None:
    log = MemoryLog(retention=Retention(max_bytes=25_000))
    await log.append([Draft("a", b"x" * 10_000) for _ in range(5)])
    assert await kept(log) == [4, 5]

    await log.append([Draft("a", b"x" * 10_000)])
    assert await kept(log) == [5, 6]


async def test_messages_and_headers_count_with_the_memory_that_they_take() -> None:
    log = MemoryLog(retention=Retention(max_bytes=100_000))
    await log.append([Draft("a") for _ in range(1000)])
    assert 150 < len(await kept(log)) < 300

    await log.append([Draft("a", headers=(("a", "b"),) * 10) for _ in range(1000)])
    assert 20 < len(await kept(log)) < 50
