from contextlib import closing

import pytest
from psycopg import errors

from hookbot.log import postgres_batch
from hookbot.log.held_duties import TERM_S
from hookbot.log.postgres_duty_queries import OwnHub, claim, renew
from support.duty_hubs import Family

HERE = OwnHub("here", "", "1.0", "same")


def claim_as(family: Family, hub: str, *names: str) -> dict[str, int]:
    with family.connect() as connection:
        fences, _ = claim(connection, hub, "channel", lock_key=1, names=names, takeovers=[])
        return dict(fences)


def test_a_duty_is_renewed_by_its_fence_only(family: Family) -> None:
    fences = claim_as(family, "here", "a", "b")

    with family.connect() as connection:
        kept, _ = renew(connection, HERE, 0, {"a": fences["a"], "b": fences["b"] - 1})

    assert kept == ["a"]


def test_the_time_of_a_duty_is_that_of_the_server(family: Family) -> None:
    claim_as(family, "here", "a")

    [(left_s,)] = family.execute("SELECT extract(epoch FROM until - clock_timestamp())::float8 FROM duty")

    assert 0 < left_s <= TERM_S


def test_hubs_and_duties_of_another_day_are_forgotten_and_fences_grow_all_the_same(family: Family) -> None:
    fences = claim_as(family, "dead", "old", "new")
    family.execute("INSERT INTO hub VALUES ('dead', '', '', '', now(), now() - interval '2 days', 0)")
    family.execute("UPDATE duty SET until = now() - interval '2 days', fence = fence - 86400 WHERE name = 'old'")

    with family.connect() as connection:
        renew(connection, HERE, 0, {})
    assert family.execute("SELECT id FROM hub") == [("here",)]
    assert family.execute("SELECT name FROM duty") == [("new",)]

    assert claim_as(family, "here", "old")["old"] > fences["old"] - 86400


def test_names_with_any_character_are_duties(family: Family) -> None:
    names = ["cursor /sub/%a b", "group /sub/ü 'x'", 'router/{a,"b"}']

    assert set(claim_as(family, "here", *names)) == set(names)


def test_a_hub_that_keeps_a_lock_in_silence_keeps_no_duty_of_others(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_batch, "SILENT_S", 0)
    with closing(family.connect()) as silent:
        silent.execute("SET application_name = 'hookbot 1'")
        silent.execute("BEGIN")
        silent.execute("SELECT pg_advisory_xact_lock(1)")
        monkeypatch.setattr(postgres_batch, "LOCK_TIMEOUT", "10ms")
        with pytest.raises(errors.LockNotAvailable):
            claim_as(family, "here", "a")

        monkeypatch.setattr(postgres_batch, "LOCK_TIMEOUT", "10s")
        assert set(claim_as(family, "here", "a")) == {"a"}
