"""Logs whose file has damaged pages: what is left of them, and that nothing is missing silently."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hookbot.errors import Damaged, Unavailable
from hookbot.log.contract import Log
from hookbot.log.retention import Retention
from hookbot.log.sqlite import open_sqlite_log
from hookbot.log.sqlite_damage import position_before
from hookbot.log.sqlite_file import FILE
from hookbot.protocol.message import Draft, Message, Once
from hookbot.protocol.topics import TopicFilter
from support.damage import GARBAGE, SECTORS, database, leaves, root, spoil, spoil_sector, swap, write_log

EVERYTHING = TopicFilter(("", "/unsafe/"))
TOPICS = ("a", "b", "/unsafe/a")
COUNT = 6000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a log of messages on three topics in turn, each with a key, and of a hundred cursors."""
    drafts = [Draft(TOPICS[n % 3], b"%300d" % n, once=(Once("idempotency", "s", str(n)),)) for n in range(1, COUNT + 1)]
    return write_log(tmp_path_factory.mktemp("made"), drafts, cursors={f"cursor {n}": n for n in range(100)})


@pytest.fixture
def directory(tmp_path: Path, made: bytes) -> Path:
    (tmp_path / FILE).write_bytes(made)
    return tmp_path


async def read_all(log: Log, wanted: TopicFilter = EVERYTHING, **options: Any) -> tuple[list[Message], list[range]]:
    """All messages, each checked, and the positions of the holes."""
    messages: list[Message] = []
    holes: list[range] = []
    newest = options.get("newest", False)
    after = log.head + 1 if newest else 0
    while after != (0 if newest else log.head):
        page = await log.read(wanted, after=after, **{"limit": 100, "max_bytes": 1 << 20, **options})
        assert not (page.hole and page.messages)
        if page.hole:
            holes.append(range(page.next_after, after) if newest else range(after + 1, page.next_after + 1))
        messages += page.messages
        after = page.next_after
    assert all(int(message.body) == message.position for message in messages)
    return messages, holes


def positions(messages: list[Message]) -> list[int]:
    return [message.position for message in messages]


def selected(wanted: TopicFilter) -> set[int]:
    return {n for n in range(1, COUNT + 1) if wanted.matches(TOPICS[n % 3])}


WHICH: dict[str, Callable[[list[int]], int]] = {
    "first": lambda pages: pages[0],
    "middle": lambda pages: pages[len(pages) // 2],
    "last": lambda pages: pages[-1],
}


@pytest.mark.parametrize("newest", [False, True])
@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("table", ["log", "body"])
async def test_of_a_log_with_a_damaged_page_the_rest_is_read_and_the_hole_is_told(
    directory: Path, table: str, garbage: str, which: str, newest: bool
) -> None:
    spoil(directory, WHICH[which](leaves(directory, table)), garbage)

    async with open_sqlite_log(directory) as log:
        messages, holes = await read_all(log, newest=newest)

    found = positions(messages)
    assert found == sorted(found, reverse=newest)
    missing = set(range(1, COUNT + 1)) - set(found)
    assert 0 < len(missing) < COUNT / 2
    assert missing <= {position for hole in holes for position in hole}
    assert len(holes) == 1


async def test_of_several_damaged_pages_everything_in_between_is_read(directory: Path) -> None:
    pages = leaves(directory, "body")
    for page in pages[3], pages[5], pages[-4]:
        spoil(directory, page)

    async with open_sqlite_log(directory) as log:
        messages, holes = await read_all(log)

    assert len(holes) == 3
    assert set(positions(messages)) | {n for hole in holes for n in hole} == set(range(1, COUNT + 1))


@pytest.mark.parametrize("newest", [False, True])
@pytest.mark.parametrize("sector", range(SECTORS))
@pytest.mark.parametrize("garbage", GARBAGE)
async def test_of_a_log_with_a_damaged_sector_nothing_is_missing_silently(
    directory: Path, garbage: str, sector: int, newest: bool
) -> None:
    for page in leaves(directory, "log")[1], leaves(directory, "log")[-1], leaves(directory, "body")[1]:
        spoil_sector(directory, page, sector, garbage)

    async with open_sqlite_log(directory, primed=COUNT) as log:
        messages, holes = await read_all(log, newest=newest)

    found = positions(messages)
    assert found == sorted(found, reverse=newest)
    assert set(range(1, COUNT + 1)) - set(found) <= {position for hole in holes for position in hole}
    assert COUNT / 2 < len(found) < COUNT
    assert all(message.topic == TOPICS[message.position % 3] for message in messages)


@pytest.mark.parametrize("newest", [False, True])
async def test_of_a_log_with_the_roots_of_its_keys_overwritten_nothing_is_missing_silently(
    directory: Path, newest: bool
) -> None:
    spoil_sector(directory, root(directory, "log"), SECTORS - 1, "zeros")

    async with open_sqlite_log(directory, primed=COUNT) as log:
        messages, holes = await read_all(log, newest=newest)

    missing = set(range(1, COUNT + 1)) - set(positions(messages))
    assert missing <= {position for hole in holes for position in hole}


@pytest.mark.parametrize("newest", [False, True])
@pytest.mark.parametrize("table", ["log", "body"])
async def test_of_a_log_with_pages_in_the_wrong_places_nothing_is_missing_silently(
    directory: Path, table: str, newest: bool
) -> None:
    pages = leaves(directory, table)
    swap(directory, pages[1], pages[3])

    async with open_sqlite_log(directory) as log:
        messages, holes = await read_all(log, newest=newest)

    found = positions(messages)
    assert found == sorted(found, reverse=newest)
    assert set(range(1, COUNT + 1)) - set(found) <= {position for hole in holes for position in hole}
    assert len(found) > COUNT / 2


async def test_what_retention_deletes_while_a_page_is_read_is_no_damage(directory: Path) -> None:
    async with open_sqlite_log(directory, clock_us=lambda: 2) as log:
        # As if the read had begun before.
        before = log._scan_range(EVERYTHING, after=0, newest=False, length=COUNT)
        await trim_all(log, Retention(max_count=100))
        log._scan_range = lambda *_, **__: before  # type: ignore[method-assign]

        page = await log.read(EVERYTHING, after=0, limit=1000, max_bytes=1 << 20)

    assert not page.hole
    assert len(page.messages) == 200


async def test_a_log_of_which_nothing_can_be_read_is_one_hole(directory: Path) -> None:
    spoil(directory, root(directory, "body"))

    async with open_sqlite_log(directory) as log:
        assert await read_all(log) == ([], [range(1, COUNT + 1)])


@pytest.mark.parametrize("pattern", ["a", "b", "/unsafe/", "none"])
async def test_a_hole_is_only_told_to_whom_it_concerns(directory: Path, pattern: str) -> None:
    wanted = TopicFilter((pattern,))
    spoil(directory, leaves(directory, "body")[3])

    async with open_sqlite_log(directory) as log:
        messages, holes = await read_all(log, wanted)

    missing = selected(wanted) - set(positions(messages))
    assert missing <= {position for hole in holes for position in hole}
    assert len(holes) == bool(missing) == (pattern != "none")


async def test_pages_around_a_hole_keep_their_limits(directory: Path) -> None:
    spoil(directory, leaves(directory, "body")[3])

    async with open_sqlite_log(directory) as log:
        few = await log.read(EVERYTHING, after=0, limit=7, max_bytes=1 << 20)
        small = await log.read(EVERYTHING, after=0, limit=1000, max_bytes=1)
        messages, _ = await read_all(log)
        slowly, _ = await read_all(log, limit=1)

    assert (len(few.messages), len(small.messages)) == (7, 1)
    assert slowly == messages


async def test_a_body_that_is_missing_is_a_hole(directory: Path) -> None:
    with database(directory) as connection:
        connection.execute("DELETE FROM body WHERE position IN (7, 8, 900)")

    async with open_sqlite_log(directory) as log:
        messages, holes = await read_all(log)

    assert len(messages) == COUNT - 3
    assert holes == [range(7, 9), range(900, 901)]


@pytest.mark.parametrize(
    "change",
    [
        *(f"body SET meta = {meta}" for meta in ("'{'", "'[]'", "x'ff'", "'{\"hops\": 3}'")),
        "body SET body = 7",
        *(f"log SET time_us = {time_us}" for time_us in (1 << 62, -1, "'garbled'", "x'00'")),
    ],
)
async def test_a_message_that_cannot_be_decoded_or_whose_time_cannot_be_one_is_a_hole(
    directory: Path, change: str
) -> None:
    with database(directory) as connection:
        connection.execute(f"UPDATE {change} WHERE position = 500")

    async with open_sqlite_log(directory) as log:
        messages, holes = await read_all(log)

    assert len(messages) == COUNT - 1
    assert holes == [range(500, 501)]


async def test_a_large_body_that_is_damaged_in_the_middle_is_a_hole(tmp_path: Path) -> None:
    body = b"large" * 20_000
    async with open_sqlite_log(tmp_path) as log:
        await log.append([Draft("a", body), Draft("a", b"small")])
    data = bytearray((tmp_path / FILE).read_bytes())
    data[data.rindex(b"largelarge") - 5000] ^= 1
    (tmp_path / FILE).write_bytes(data)

    async with open_sqlite_log(tmp_path) as log:
        first = await log.read(EVERYTHING, after=0, limit=10, max_bytes=1 << 20)
        second = await log.read(EVERYTHING, after=1, limit=10, max_bytes=1 << 20)

    assert (list(first.messages), first.next_after, first.hole) == ([], 1, "damage")
    assert [message.body for message in second.messages] == [b"small"]


async def test_what_is_behind_cannot_be_counted_where_the_log_is_damaged(directory: Path) -> None:
    spoil(directory, leaves(directory, "log")[0])

    async with open_sqlite_log(directory) as log:
        with pytest.raises(Damaged):
            await log.behind(EVERYTHING, after=0, limit=COUNT)
        assert (await log.behind(EVERYTHING, after=COUNT - 10, limit=COUNT))[:2] == (10, False)


async def test_other_failures_of_the_file_are_no_holes(directory: Path) -> None:
    async with open_sqlite_log(directory) as log:
        with database(directory) as connection:
            connection.execute("ALTER TABLE body RENAME TO elsewhere")

        with pytest.raises(Unavailable, match="no such table") as raised:
            await log.read(EVERYTHING, after=0, limit=10, max_bytes=1 << 20)

    assert not isinstance(raised.value, Damaged)


# --- the start of a subscription at a time


@pytest.mark.parametrize("table", ["log", "body"])
@pytest.mark.parametrize("garbage", GARBAGE)
async def test_a_time_is_found_around_damage(directory: Path, table: str, garbage: str) -> None:
    with database(directory) as connection:
        connection.execute("UPDATE log SET time_us = position")
    spoil(directory, leaves(directory, table)[3], garbage)

    async with open_sqlite_log(directory) as log:
        found = set(positions((await read_all(log))[0]))
        starts = {time_us: await log.position_before(time_us) for time_us in range(1, COUNT + 2, 97)}

    # Whatever was stored before is left out, if it can be read; whatever is damaged may belong to what is wanted.
    for time_us, start in starts.items():
        assert start == max((position for position in found if position < time_us), default=0) or table == "body"
        assert start < time_us


async def test_a_time_is_found_in_a_log_of_which_nothing_can_be_read(directory: Path) -> None:
    spoil(directory, root(directory, "log"))

    async with open_sqlite_log(directory) as log:
        assert await log.position_before(1) == 0


async def test_a_time_that_is_garbled_is_left_out(directory: Path) -> None:
    with database(directory) as connection:
        connection.execute("UPDATE log SET time_us = position")
        connection.execute("UPDATE log SET time_us = 'garbled' WHERE position BETWEEN 2000 AND 4000")

    async with open_sqlite_log(directory) as log:
        assert await log.position_before(3000) == 1999
        assert await log.position_before(4002) == 4001


def test_a_time_is_found_by_bisection_over_the_gaps_that_retention_left(directory: Path) -> None:
    with database(directory) as connection:
        connection.execute("UPDATE log SET time_us = position")
        connection.execute("DELETE FROM log WHERE position < 100 OR position BETWEEN 1000 AND 2000")

        found = {time_us: position_before(connection, 99, COUNT, time_us) for time_us in (50, 100, 101, 1500, 2002)}

    assert found == {50: 0, 100: 0, 101: 100, 1500: 999, 2002: 2001}


# --- publishing


@pytest.mark.parametrize("table", ["log", "body", "once", "sqlite_autoindex_once_1"])
async def test_what_does_not_touch_the_damage_is_stored(directory: Path, table: str) -> None:
    spoil(directory, leaves(directory, table)[1])

    async with open_sqlite_log(directory) as log:
        [message] = await log.append([Draft("a", b"%d" % (COUNT + 1))])
        await log.probe()
        messages, _ = await read_all(log)

    assert isinstance(message, Message)
    assert messages[-1].position == message.position == COUNT + 1


async def test_what_touches_the_damage_is_refused_whole_and_says_so(directory: Path) -> None:
    spoil(directory, root(directory, "cursor"))

    async with open_sqlite_log(directory) as log:
        with pytest.raises(Damaged, match="malformed"):
            await log.append([Draft("a")], cursors={"c": 1})
        with pytest.raises(Damaged):
            await log.cursors()

        assert log.head == COUNT
        await log.append([Draft("a", b"%d" % (COUNT + 1))])
        assert len((await read_all(log))[0]) == COUNT + 1


@pytest.mark.parametrize("column", ["position", "time_us", "fingerprint"])
async def test_a_key_whose_first_use_is_garbled_is_refused(directory: Path, column: str) -> None:
    async with open_sqlite_log(directory) as log:
        with database(directory) as connection:
            connection.execute(f"UPDATE once SET {column} = 'garbled' WHERE position = 5")

        with pytest.raises(Damaged):
            await log.append([Draft("a", once=(Once("idempotency", "s", "5"),))])
        await log.append([Draft("a", once=(Once("idempotency", "s", "new"),))])


async def test_a_position_that_is_already_taken_is_damage(directory: Path) -> None:
    async with open_sqlite_log(directory) as log:
        with database(directory) as connection:
            connection.execute("INSERT INTO body VALUES (?, '{}', '')", (COUNT + 1,))

        with pytest.raises(Damaged, match="UNIQUE"):
            await log.append([Draft("a")])


async def test_a_cursor_whose_position_is_garbled_is_damaged(directory: Path) -> None:
    async with open_sqlite_log(directory) as log:
        with database(directory) as connection:
            connection.execute("UPDATE cursor SET position = 'garbled' WHERE name = 'cursor 7'")

        with pytest.raises(Damaged):
            await log.cursors()


# --- retention


async def trim_all(log: Log, retention: Retention) -> None:
    while await log.trim(retention, now_us=2):
        pass


@pytest.mark.parametrize("which", ["first", "middle"])
@pytest.mark.parametrize("table", ["log", "body", "once", "sqlite_autoindex_once_1"])
async def test_retention_goes_past_a_damaged_page(directory: Path, table: str, which: str) -> None:
    spoil(directory, WHICH[which](leaves(directory, table)))

    async with open_sqlite_log(directory, clock_us=lambda: 2) as log:
        await trim_all(log, Retention(max_count=50))
        kept = [await read_all(log, TopicFilter((pattern,))) for pattern in ("", "/unsafe/")]
        more = await log.append([Draft("a", b"%d" % (COUNT + n)) for n in range(1, 100)])
        await trim_all(log, Retention(max_count=50))
        later, _ = await read_all(log, TopicFilter(("a",)))

    assert [positions(messages) for messages, _ in kept] == [
        [n for n in range(1, COUNT + 1) if (TOPICS[n % 3] == "/unsafe/a") is unsafe][-50:] for unsafe in (False, True)
    ]
    assert [holes for _, holes in kept] == [[], []]
    assert positions(later) == [one.position for one in more if isinstance(one, Message)][-50:]


@pytest.mark.parametrize("sector", range(SECTORS))
@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("table", ["log", "body", "once", "sqlite_autoindex_once_1"])
async def test_retention_goes_past_a_damaged_sector(directory: Path, table: str, garbage: str, sector: int) -> None:
    spoil_sector(directory, leaves(directory, table)[0], sector, garbage)

    async with open_sqlite_log(directory, clock_us=lambda: 2) as log:
        await trim_all(log, Retention(max_count=50))
        messages, holes = await read_all(log)
        [newest] = await log.append([Draft("a", b"%d" % (COUNT + 1))])
        await trim_all(log, Retention(max_count=50))

        assert len(messages) <= 100
        assert not holes
        assert isinstance(newest, Message)
        assert positions((await read_all(log))[0])[-1] == newest.position


async def test_what_retention_gave_up_with_a_page_is_told_as_lost(directory: Path) -> None:
    spoil(directory, leaves(directory, "log")[0])

    async with open_sqlite_log(directory, clock_us=lambda: 2) as log:
        _, [hole] = await read_all(log)
        while not log.lost_up_to(TopicFilter(("a",))):
            await log.trim(Retention(max_count=COUNT // 2), now_us=2)

        assert log.lost_up_to(TopicFilter(("a",))) == hole[-1]

    with database(directory) as connection:
        [[count, size]] = connection.execute("SELECT count, size FROM budget WHERE prefix = ''").fetchall()
    safe = [n for n in range(hole[-1] + 1, COUNT + 1) if n % 3 != 2]
    assert count == len(safe)
    assert size == sum(Draft("a", b"%300d" % n).size for n in safe)


async def test_keys_around_damage_are_still_forgotten(directory: Path) -> None:
    spoil(directory, leaves(directory, "sqlite_autoindex_once_1")[1])

    async with open_sqlite_log(directory, clock_us=lambda: 2) as log:
        await log.trim(Retention(dedup_s=0), now_us=10**12)
        while await log.trim(Retention(dedup_s=0), now_us=10**12):
            pass

    with database(directory) as connection:
        [left] = connection.execute("SELECT count(*) FROM (SELECT position FROM once WHERE unsafe = 0)").fetchone()
    assert 0 < left < COUNT / 2


# --- the start


@pytest.mark.parametrize("primed", [0, 10, COUNT])
async def test_a_log_whose_newest_page_is_damaged_opens_and_misses_nothing(directory: Path, primed: int) -> None:
    spoil(directory, leaves(directory, "log")[-1])

    async with open_sqlite_log(directory, primed=primed) as log:
        messages, holes = await read_all(log)

    assert set(positions(messages)) | {n for hole in holes for n in hole} == set(range(1, COUNT + 1))


async def test_a_page_of_damage_is_logged_once(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    spoil(directory, leaves(directory, "body")[1])

    async with open_sqlite_log(directory) as log:
        await read_all(log)
        await read_all(log)

    assert [record.message.partition(":")[0][:18] for record in caplog.records] == ["the log is damaged"]


@pytest.mark.parametrize("name", ["once", "sqlite_autoindex_once_1"])
async def test_a_log_whose_keys_are_damaged_opens(directory: Path, name: str) -> None:
    spoil(directory, root(directory, name))

    async with open_sqlite_log(directory) as log:
        assert len((await read_all(log))[0]) == COUNT
        await log.append([Draft("a")])
        with pytest.raises(Damaged):
            await log.append([Draft("a", once=(Once("idempotency", "s", "new"),))])
        await log.trim(Retention(max_count=10), now_us=2)
