import pytest

from hookbot.access.authorizer import Grant
from hookbot.access.scope import Credential, Scope
from hookbot.errors import Refused
from hookbot.log.memory import MemoryLog
from hookbot.protocol.failures import Failure
from hookbot.protocol.message import Draft, format_id
from hookbot.protocol.topics import EVERYTHING, TopicFilter
from hookbot.web.api.copies import Lineage, PositionSet
from hookbot.web.page_turns import PageTurns

OPERATOR = Scope(EVERYTHING, True, lambda action, path: None, (), ())


async def lineage_in(log: MemoryLog, *selected: int, scope: Scope = OPERATOR) -> Lineage:
    lineage = Lineage(log, PageTurns(lambda: 0), scope, keep_copies=False)
    lineage.select(selected)
    while lineage.searched_to < log.head:
        await lineage.look_on()
    return lineage


def test_positions_are_a_set_in_order() -> None:
    positions = PositionSet()
    for position in (3, 5, 8):
        positions.add(position)

    assert [position in positions for position in range(2, 10)] == [False, True, False, True, False, False, True, False]
    assert (len(positions), [*positions.newest_first()], [*positions.newest_first(without=1)]) == (3, [8, 5, 3], [8, 5])
    assert 1 not in PositionSet()


async def test_a_scope_takes_the_copies_on_topics_that_it_manages_and_failures_there() -> None:
    log = MemoryLog()
    first = format_id(log.epoch, 1)
    own, foreign = (Failure("r", first, topic, "no") for topic in ("acme/a", "other/a"))
    await log.append(
        [
            Draft("acme/a"),
            Draft("acme/b", routed_from=first),
            Draft("other/b", routed_from=first),
            Draft(own.failed_topic, headers=own.headers, routed_from=first),
            Draft(foreign.failed_topic, headers=foreign.headers, routed_from=first),
        ]
    )
    held = Credential("token", Grant())
    acme = Scope(TopicFilter(("acme/",)), False, lambda _, path: held if "acme" in path else None, (), ())

    lineage = await lineage_in(log, 1, scope=acme)

    assert [*lineage.copies.newest_first()] == [4, 2]
    assert [*lineage.left.newest_first()] == [5, 3]
    assert lineage.left_on == {}


async def test_what_is_selected_is_no_copy() -> None:
    log = MemoryLog()
    of_first = Draft("a", routed_from=format_id(log.epoch, 1))
    await log.append([Draft("a"), of_first, of_first, Draft("b")])

    lineage = await lineage_in(log, 1, 2)

    assert [*lineage.copies.newest_first()] == [3]
    assert (len(lineage), len(lineage.left), lineage.left_on) == (3, 0, {})


async def test_copies_are_looked_for_behind_what_is_selected(monkeypatch: pytest.MonkeyPatch) -> None:
    log = MemoryLog()
    await log.append([Draft("a") for _ in range(5)])

    lineage = Lineage(log, PageTurns(lambda: 0), OPERATOR, keep_copies=False)
    lineage.select([4])
    lineage.select([5])

    assert lineage.searched_to == 4


async def test_there_is_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookbot.web.api.copies.MAX_MESSAGES", 3)
    log = MemoryLog()
    of_first = Draft("a", routed_from=format_id(log.epoch, 1))
    await log.append([Draft("a"), Draft("a"), of_first, of_first])

    assert len(await lineage_in(log, 1)) == 3
    for selected in ((1, 2), (1, 2, 3, 4)):
        with pytest.raises(Refused, match="more than 3 messages with their copies"):
            await lineage_in(log, *selected)


async def test_topics_of_copies_that_stay_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookbot.web.api.copies.MAX_TOPICS", 2)
    log = MemoryLog()
    await log.append([Draft("a"), *[Draft(topic, routed_from=format_id(log.epoch, 1)) for topic in "bcbd"]])
    lineage = Lineage(log, PageTurns(lambda: 0), OPERATOR, keep_copies=True)
    lineage.select([1])

    await lineage.look_on()

    assert (len(lineage.left), [*lineage.left_on]) == (4, ["b", "c"])
