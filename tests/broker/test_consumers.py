"""Cursors and groups as operators manage them: listed, moved, deleted."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hookbot.broker.claims import ConsumerKind
from hookbot.broker.cursors import CursorConsumer
from hookbot.broker.group import Member
from hookbot.errors import Ended, InvalidTopic, NotFound, Refused, Unavailable
from hookbot.protocol.since import AfterId, FromOldest
from hookbot.protocol.topics import TopicFilter
from support.consumers import ConsumerHub, WorkingLog, ack, ack_each, listening, open_hub, take


@pytest.fixture
async def hub() -> AsyncIterator[ConsumerHub]:
    async with open_hub(WorkingLog()) as hub:
        yield hub


async def until_closed(consumer: CursorConsumer | Member, heard: list[Any]) -> None:
    try:
        while True:
            await consumer.take()
    except Ended as ended:
        heard.append((ended.code, str(ended)))


async def test_listed_are_cursors_and_groups_with_their_lag_and_whether_somebody_is_connected(hub: ConsumerHub) -> None:
    async with hub.open("b", cursor="c"), hub.open("a/", group="g"):
        pass
    await hub.publish("b", "a/x", "x")
    async with hub.open("b", cursor="here"):
        listed = await hub.consumers.list()

    assert [(one.kind, one.path, one.name, one.position, one.lag, one.connected) for one in listed] == [
        ("cursor", "/sub/b", "c", hub.id(0), 3, False),
        ("cursor", "/sub/b", "here", hub.id(3), 0, True),
        ("group", "/sub/a/", "g", hub.id(0), 3, False),
    ]


@pytest.mark.parametrize("kind", ["cursor", "group"])
async def test_listed_is_how_many_of_its_own_messages_wait_and_what_is_not_acknowledged(
    hub: ConsumerHub, kind: ConsumerKind
) -> None:
    await hub.publish("t", "other", "t", "t")
    async with hub.open(**{kind: "c"}, since=FromOldest(), max_unacked=2) as consumer:
        await take(consumer, 2)
        [sent] = await hub.consumers.list()
        (ack if kind == "cursor" else ack_each)(consumer, hub, 1)
        [acked] = await hub.consumers.list()
    [left] = await hub.consumers.list()

    assert [(one.behind, one.behind_more, one.unacked) for one in (sent, acked)] == [(3, False, 2), (2, False, 1)]
    # Nobody may acknowledge any more what a cursor has sent; the next members of a group may.
    assert (left.behind, left.unacked) == (2, 0 if kind == "cursor" else 1)
    assert left.behind_s is not None


async def test_a_message_that_was_acknowledged_before_an_older_one_is_not_unacknowledged(hub: ConsumerHub) -> None:
    await hub.publish("t", "t", "t")
    async with hub.open(group="g", since=FromOldest()) as member:
        await take(member, 3)
        ack_each(member, hub, 2)
        [listed] = await hub.consumers.list()

    assert listed.unacked == 2


@pytest.mark.parametrize("path", ["/a", "/sub/a"])
async def test_listed_are_those_of_one_path_however_it_is_written(hub: ConsumerHub, path: str) -> None:
    async with hub.open("a", cursor="c"), hub.open("a/", cursor="c"), hub.open("a b", cursor="c"):
        pass

    assert [one.path for one in await hub.consumers.list(path)] == ["/sub/a"]
    assert [one.path for one in await hub.consumers.list("/sub/a b")] == ["/sub/a b"]


async def test_a_path_that_is_none_is_refused(hub: ConsumerHub) -> None:
    with pytest.raises(Refused, match="'/status' is not the path of a subscription"):
        await hub.consumers.list("/status")
    with pytest.raises(InvalidTopic):
        await hub.consumers.list("/sub//a")


@pytest.mark.parametrize("kind", ["cursor", "group"])
async def test_a_moved_one_goes_on_from_where_it_was_moved_to_backwards_or_forwards(
    hub: ConsumerHub, kind: ConsumerKind
) -> None:
    async with hub.open(**{kind: "c"}):
        await hub.publish("t", "t", "t")

    moved = await hub.consumers.move(kind, "/sub/t", "c", None)
    assert (moved.position, moved.lag) == (hub.id(3), 0)
    await hub.consumers.move(kind, "/t", "c", AfterId(hub.log.epoch, 1))

    assert await hub.saved(kind) == {f"{kind} /sub/t c": 1}
    async with hub.open(**{kind: "c"}) as consumer:
        assert await take(consumer, 2) == [2, 3]


@pytest.mark.parametrize("first", [1, 4])
async def test_one_is_moved_so_that_it_begins_with_a_message(hub: ConsumerHub, first: int) -> None:
    async with hub.open(cursor="c"):
        await hub.publish("t", "other", "t", "t")

    since = await hub.consumers.starting_with("/sub/t", hub.id(first))
    moved = await hub.consumers.move("cursor", "/sub/t", "c", since)

    assert moved.behind == {1: 3, 4: 1}[first]
    async with hub.open(cursor="c") as cursor:
        assert (await take(cursor, 1))[0] == first


async def test_none_begins_with_what_is_no_message_of_its_own(hub: ConsumerHub) -> None:
    await hub.publish("t", "other", "t")
    await hub.trim(2)

    for id in (hub.id(0), hub.id(1), hub.id(2), hub.id(4), "abcdefgh-000000000000003"):
        with pytest.raises(NotFound, match=f"the log has no message {id} for '/sub/t'"):
            await hub.consumers.starting_with("/t", id)
    with pytest.raises(Refused, match="not a message id"):
        await hub.consumers.starting_with("/sub/t", "3")
    with pytest.raises(Refused, match="'/status' is not the path of a subscription"):
        await hub.consumers.starting_with("/status", hub.id(3))


@pytest.mark.parametrize("kind", ["cursor", "group"])
async def test_who_is_connected_to_a_moved_one_is_closed_and_its_acks_come_too_late(
    hub: ConsumerHub, kind: ConsumerKind
) -> None:
    heard: list[tuple[int, str]] = []
    await hub.publish("t", "t")
    async with hub.open(**{kind: "c"}, since=FromOldest()) as consumer, trio.open_nursery() as nursery:
        await take(consumer, 2)
        nursery.start_soon(until_closed, consumer, heard)
        await wait_all_tasks_blocked()

        await hub.consumers.move(kind, "/sub/t", "c", FromOldest())
        (ack if kind == "cursor" else ack_each)(consumer, hub, 2)

    assert heard == [(1013, f"the {kind} c was moved; reconnect to resume from there")]
    async with hub.open(**{kind: "c"}) as consumer:
        assert await take(consumer, 2) == [1, 2]


@pytest.mark.parametrize("kind", ["cursor", "group"])
async def test_who_is_connected_to_a_deleted_one_is_closed_for_good(hub: ConsumerHub, kind: ConsumerKind) -> None:
    heard: list[tuple[int, str]] = []
    async with hub.open(**{kind: "c"}) as consumer, trio.open_nursery() as nursery:
        nursery.start_soon(until_closed, consumer, heard)
        await wait_all_tasks_blocked()
        await hub.consumers.delete(kind, "/sub/t", "c")

    assert heard == [(4001, f"the {kind} c was deleted")]
    assert await hub.consumers.list() == []
    assert await hub.log.cursors() == []


@pytest.mark.parametrize("kind", ["cursor", "group"])
async def test_a_deleted_one_can_be_recreated(hub: ConsumerHub, kind: ConsumerKind) -> None:
    async with hub.open(**{kind: "c"}, since=FromOldest()) as consumer:
        await hub.publish("t", "t")
        await take(consumer, 2)
        (ack if kind == "cursor" else ack_each)(consumer, hub, 1)
    await hub.consumers.delete(kind, "/sub/t", "c")

    async with hub.open(**{kind: "c"}) as consumer:
        assert consumer.hello["position"] == hub.id(2)
        await hub.publish("t")
        assert await take(consumer, 1) == [3]


async def test_a_connection_that_waited_for_a_cursor_that_is_deleted_recreates_it(hub: ConsumerHub) -> None:
    opened = trio.Event()

    async def connect() -> None:
        async with hub.open(cursor="c"):
            opened.set()

    async with hub.open(cursor="c"), trio.open_nursery() as nursery:
        nursery.start_soon(connect)
        await wait_all_tasks_blocked()
        await hub.consumers.delete("cursor", "/sub/t", "c")
        await opened.wait()

    assert [one.name for one in await hub.consumers.list()] == ["c"]


@pytest.mark.parametrize("path", ["/sub/t", "/sub/other"])
async def test_what_is_not_there_can_be_neither_moved_nor_deleted(hub: ConsumerHub, path: str) -> None:
    async with hub.open(cursor="c"):
        pass

    with pytest.raises(NotFound, match=f"there is no group 'c' at '{path}'"):
        await hub.consumers.move("group", path, "c", None)
    with pytest.raises(NotFound, match=f"there is no cursor 'd' at '{path}'"):
        await hub.consumers.delete("cursor", path, "d")


async def test_whoever_deletes_while_the_log_is_broken_is_told_so(hub: ConsumerHub) -> None:
    async with hub.open(cursor="c"):
        pass
    hub.log.broken = True

    with pytest.raises(Unavailable):
        await hub.consumers.delete("cursor", "/sub/t", "c")


async def test_a_request_that_could_not_be_opened_is_refused_before_its_handshake(hub: ConsumerHub) -> None:
    async with hub.open(group="g", by_topic=True):
        with pytest.raises(Refused, match="key=topic"):
            hub.consumers.check_request(listening(group="g"))
        hub.consumers.check_request(listening(group="g", by_topic=True))


@pytest.mark.parametrize("kind", ["cursor", "group"])
async def test_a_reader_is_what_a_cursor_or_a_group_wants_and_how_far_it_is(
    hub: ConsumerHub, kind: ConsumerKind
) -> None:
    assert await hub.consumers.reader(kind, "/sub/t", "c") is None
    async with hub.open("t", **{kind: "c"}):
        connected = await hub.consumers.reader(kind, "/t", "c")
    await hub.publish("other", "t")
    reader = await hub.consumers.reader(kind, "/sub/t", "c")

    assert connected == reader == (TopicFilter(("t",)), 0)
