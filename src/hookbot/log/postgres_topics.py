"""Topics in queries of the PostgreSQL log: which of them a filter selects, or a budget has."""

from collections.abc import Mapping
from typing import Any

from ..protocol.topics import TopicFilter, is_subtree
from .budgets import Budgets


def _is_selected(name: str) -> str:
    # A safe topic does not begin with a slash.
    return f"""(
    topic = ANY(%({name}exact)b::text[]) OR topic LIKE ANY(%({name}beneath)b::text[])
    OR %({name}all_safe)b::boolean AND topic NOT LIKE '/%%'
)"""


IS_WANTED = _is_selected("")
"""Condition that a filter selects a topic, with the values of `selection`."""
IN_BUDGET = f"({IS_WANTED} AND NOT {_is_selected('other_')})"
"""Condition that a topic has a budget, with the values of `in_budget`."""


def selection(wanted: TopicFilter) -> Mapping[str, Any]:
    """Values of `IS_WANTED` for a filter."""
    return _selection("", wanted)


def in_budget(budgets: Budgets, prefix: str) -> Mapping[str, Any]:
    """Values of `IN_BUDGET` for a budget."""
    return {**_selection("", TopicFilter((prefix,))), **_selection("other_", budgets.others_in(prefix))}


def _selection(name: str, wanted: TopicFilter) -> Mapping[str, Any]:
    beneath = [f"{_literal(pattern)}%" for pattern in wanted.patterns if pattern and is_subtree(pattern)]
    exact = [pattern for pattern in wanted.patterns if not is_subtree(pattern)]
    return {f"{name}exact": exact, f"{name}beneath": beneath, f"{name}all_safe": "" in wanted.patterns}


def _literal(text: str) -> str:
    """Pattern of LIKE that matches just this text."""
    return text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
