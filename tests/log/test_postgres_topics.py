"""Topics in queries of the PostgreSQL log, on a real server."""

from typing import Any

import psycopg
import pytest

from hookbot.log.budgets import ROOTS, Budgets
from hookbot.log.postgres_topics import IN_BUDGET, IS_WANTED, in_budget, selection
from hookbot.protocol.topics import TopicFilter

TOPICS = ("", "a", "a/", "a/b", "a/b/c", "a%", "a%/b", "a_b", "a\\/b", "/unsafe/a", "/unsafe/a/b", "ab")
PREFIXES = (*ROOTS, "a/", "a/b", "a%/", "a\\/", "/unsafe/a/")


def found(connection: psycopg.Connection[Any], condition: str, values: Any) -> list[str]:
    query = f"SELECT topic FROM unnest(%(topics)b::text[]) AS all_topics (topic) WHERE {condition}"
    return [topic for (topic,) in connection.execute(query, {"topics": list(TOPICS), **values})]


@pytest.mark.parametrize("patterns", [("",), ("/unsafe/",), ("a/",), ("a", "a/"), ("a%/",), ("a\\/", "a_b")])
def test_a_filter_selects_what_it_matches(connection: psycopg.Connection[Any], patterns: tuple[str, ...]) -> None:
    wanted = TopicFilter(patterns)

    assert found(connection, IS_WANTED, selection(wanted)) == [topic for topic in TOPICS if wanted.matches(topic)]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_budget_has_the_topics_of_which_it_is_the_longest(connection: psycopg.Connection[Any], prefix: str) -> None:
    budgets = Budgets(PREFIXES)

    assert found(connection, IN_BUDGET, in_budget(budgets, prefix)) == [
        topic for topic in TOPICS if budgets.of(topic) == prefix
    ]
