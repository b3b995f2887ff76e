"""Paths into JSON."""

from typing import Any

import pytest

from hookbot.errors import Refused
from hookbot.signatures.samples.paths import has_path, with_value

CONTENT = {"a": {"b": 1, "x.y": 2}, "list": [{"id": 1}, {"id": 2}], "text": "t"}


@pytest.mark.parametrize(
    ("path", "found", "changed"),
    [
        ("a.b", True, {"a": {"b": 9, "x.y": 2}}),
        (r"a.x\.y", True, {"a": {"b": 1, "x.y": 9}}),
        ("a.c", False, {"a": {"b": 1, "x.y": 2, "c": 9}}),
        ("new.deep", False, {"new": {"deep": 9}}),
        ("list.1.id", True, {"list": [{"id": 1}, {"id": 9}]}),
        ("list.0", True, {"list": [9, {"id": 2}]}),
        ("list.2", False, {"list": [{"id": 1}, {"id": 2}, 9]}),
        ("list.2.id", False, {"list": [{"id": 1}, {"id": 2}, {"id": 9}]}),
        ("text", True, {"text": 9}),
    ],
)
def test_a_value_is_replaced_or_added_in_a_copy(path: str, found: bool, changed: dict[str, Any]) -> None:
    assert has_path(CONTENT, path) is found
    assert with_value(CONTENT, path, 9) == {**CONTENT, **changed}
    assert with_value(CONTENT, path, 9) != CONTENT


def test_a_path_that_begins_in_a_list() -> None:
    assert with_value([{"a": 1}], "0.a", 2) == [{"a": 2}]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("list.3", "'3' is not an index of its 2 elements"),
        ("list.x", "'x' is not an index"),
        ("list.-1", "'-1' is not an index"),
        ("text.a", "what has to have 'a' is neither an object nor a list"),
        ("a.b.c", "what has to have 'c' is neither"),
    ],
)
def test_a_path_through_something_else_is_refused(path: str, why: str) -> None:
    assert not has_path(CONTENT, path)
    with pytest.raises(Refused, match=why):
        with_value(CONTENT, path, 9)
