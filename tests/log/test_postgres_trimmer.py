"""Retention by one hub of a family, on a real server. What is deleted is in `test_contract.py`."""

from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hookbot.log.budgets import Partitions
from hookbot.log.duties import TRIM, Held, SoleDuties
from hookbot.log.postgres_retention import trim_partition
from hookbot.log.postgres_trimmer import Trimmer
from hookbot.log.postgres_writer import PostgresWriter
from hookbot.log.retention import Budget, Partition, Retention
from support.postgres import PostgresServer
from support.postgres_logs import HUB, new_address, opened_writer, store, stored

KEEP_TWO = Retention(max_age_s=None, max_bytes=None, max_unsafe_bytes=None, max_count=2)


class Duties(SoleDuties):
    """Duties of which this hub holds what it is told."""

    held: Held | None = None

    def find(self, name: str) -> Held | None:
        return self.held


def trimmer_of(writer: PostgresWriter, duties: Duties, told: int) -> Trimmer:
    return Trimmer(writer, duties, HUB, lambda: told, None, 1000)


async def trim_safe(trimmer: Trimmer, retention: Retention) -> tuple[Partition, bool]:
    """One step, and the safe partition after it."""
    partitions, more = await trimmer.trim(retention)
    assert partitions is not None
    return partitions.by_prefix[""], more


def give(server: PostgresServer, schema: str, fence: int) -> Held:
    """Give the hub the duty in the database."""
    server.execute(
        "INSERT INTO duty VALUES (%s, %s, %s, now() + interval '1 hour')"
        " ON CONFLICT (name) DO UPDATE SET hub = excluded.hub, fence = excluded.fence",
        TRIM,
        HUB,
        fence,
        schema=schema,
    )
    return Held(TRIM, fence)


async def test_only_the_hub_that_has_the_duty_trims(postgres: PostgresServer) -> None:
    address, duties = new_address(postgres), Duties()
    async with opened_writer(address) as writer:
        await store(writer, *"aaaaa")
        trimmer = trimmer_of(writer, duties, 5)
        assert await trimmer.trim(KEEP_TWO) == (None, False)

        duties.held = give(postgres, address.schema, 1)
        safe, _ = await trim_safe(trimmer, KEEP_TWO)

    assert [position for position, _ in stored(postgres, address)] == [4, 5]
    assert (safe.count, safe.lost, safe.passed) == (2, 3, 3)


async def test_a_duty_that_another_hub_has_taken_over_deletes_nothing(postgres: PostgresServer) -> None:
    address, duties = new_address(postgres), Duties()
    async with opened_writer(address) as writer:
        await store(writer, *"aaaaa")
        duties.held = give(postgres, address.schema, 1)
        give(postgres, address.schema, 2)

        assert await trimmer_of(writer, duties, 5).trim(KEEP_TWO) == (None, False)

    assert len(stored(postgres, address)) == 5


async def test_what_is_told_is_counted_from_where_the_count_ended(postgres: PostgresServer) -> None:
    address, duties = new_address(postgres), Duties()
    async with opened_writer(address) as writer:
        first, _ = await store(writer, *"aaa")
        duties.held = give(postgres, address.schema, 1)
        trimmer = trimmer_of(writer, duties, 3)
        trimmer.tell(first.messages)
        await trimmer.trim(replace(KEEP_TWO, max_count=3))
        second, _ = await store(writer, "b", "b")
        trimmer.tell(second.messages)
        safe, more = await trim_safe(trimmer, replace(KEEP_TWO, max_count=3))

    assert (safe.count, safe.lost, more) == (3, 2, False)
    assert [position for position, _ in stored(postgres, address)] == [3, 4, 5]


async def test_the_messages_are_counted_again_when_that_is_asked_for(postgres: PostgresServer) -> None:
    address, duties = new_address(postgres), Duties()
    async with opened_writer(address) as writer:
        await store(writer, *"aaaaa")
        duties.held = give(postgres, address.schema, 1)
        trimmer = trimmer_of(writer, duties, 5)
        counted, _ = await trim_safe(trimmer, replace(KEEP_TWO, max_count=9))
        postgres.execute("DELETE FROM log WHERE position > 4", schema=address.schema)
        trimmer.recount()
        again, _ = await trim_safe(trimmer, replace(KEEP_TWO, max_count=9))

    assert (counted.count, again.count) == (5, 4)


async def test_the_totals_are_known_also_during_a_step(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trim(*args: Any, **given: Any) -> Partition | None:
        known.append(trimmer.partitions)
        return trim_partition(*args, **given)

    known: list[Partitions | None] = []
    monkeypatch.setattr("hookbot.log.postgres_trimmer.trim_partition", trim)
    address, duties = new_address(postgres), Duties()
    async with opened_writer(address) as writer:
        await store(writer, *"aaaaa")
        duties.held = give(postgres, address.schema, 1)
        trimmer = trimmer_of(writer, duties, 5)
        await trim_safe(trimmer, KEEP_TWO)

    assert [partitions and partitions.count for partitions in known] == [5]


async def test_a_recount_that_is_asked_for_during_a_step_is_made(postgres: PostgresServer) -> None:
    address, duties = new_address(postgres), Duties()
    async with opened_writer(address) as writer:
        await store(writer, *"aaa")
        duties.held = give(postgres, address.schema, 1)
        trimmer = trimmer_of(writer, duties, 3)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trimmer.trim, KEEP_TWO)
            await wait_all_tasks_blocked()
            postgres.execute("DELETE FROM log WHERE position = 3", schema=address.schema)
            trimmer.recount()
        safe, _ = await trim_safe(trimmer, KEEP_TWO)

    assert safe.count == len(stored(postgres, address))


async def test_a_long_log_is_counted_in_steps_between_which_messages_are_stored(postgres: PostgresServer) -> None:
    address, duties = new_address(postgres), Duties()
    async with opened_writer(address) as writer:
        await store(writer, *"aaaaa")
        duties.held = give(postgres, address.schema, 1)
        trimmer = Trimmer(writer, duties, HUB, lambda: 5, None, 2)
        first, more = await trim_safe(trimmer, KEEP_TWO)
        late, _ = await store(writer, "b")
        trimmer.tell(late.messages)
        while (last := await trim_safe(trimmer, KEEP_TWO))[1]:
            pass

    assert (first.count, more) == (2, True)
    assert last[0].count == 2
    assert [position for position, _ in stored(postgres, address)] == [5, 6]


async def test_messages_are_counted_again_for_other_budgets(postgres: PostgresServer) -> None:
    address, duties = new_address(postgres), Duties()
    keep_five = replace(KEEP_TWO, max_count=5)
    found = []
    async with opened_writer(address) as writer:
        await store(writer, *"abababab")
        duties.held = give(postgres, address.schema, 1)
        trimmer = trimmer_of(writer, duties, 8)
        for sections in ((), (Budget("a", None, None, 1),), ()):
            partitions, _ = await trimmer.trim(replace(keep_five, sections=sections))
            assert partitions is not None
            found.append({prefix: (one.count, one.lost) for prefix, one in partitions.by_prefix.items() if one.count})

    assert found == [{"": (5, 3)}, {"": (3, 3), "a": (1, 5)}, {"": (4, 5)}]
    assert [position for position, _ in stored(postgres, address)] == [4, 6, 7, 8]
