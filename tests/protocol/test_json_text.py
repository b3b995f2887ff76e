"""JSON that stays as it was written."""

import json
from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookbot.protocol.json_text import indent_json, read_json, write_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
AS_WRITTEN = [
    "12345678901234567890.25",
    "1.10",
    "1e400",
    "-1E+400",
    "-0",
    "-0.0",
    "1E5",
    "12345678901234567890123456789",
    "9" * 5000,
    '{"a":1,"b":[2.50],"a":{"c":1,"c":1.0}}',
    r'"\ud800"',
    "null",
    "[]",
    "{}",
]


@pytest.mark.parametrize("text", AS_WRITTEN)
def test_json_is_written_as_it_was(text: str) -> None:
    assert write_json(read_json(text)) == text
    assert write_json(read_json(f'{{"x":[{text}, true]}}')) == f'{{"x":[{text},true]}}'
    assert "".join(indent_json(read_json(text)).split()).encode("utf-8", "backslashreplace").decode() == text


@pytest.mark.parametrize(("text", "kind"), [("-" + "9" * 309, int), ("1" + "0" * 400, float)])
def test_integers_have_all_their_digits_if_they_are_finite_as_floats(text: str, kind: type) -> None:
    value = read_json(text)

    assert isinstance(value, kind)
    assert write_json(value) == text


@given(VALUES)
def test_values_are_those_of_python(value: Any) -> None:
    assert read_json(json.dumps(value)) == value
    assert write_json(value) == json.dumps(value, separators=(",", ":"))
    assert indent_json(value) == json.dumps(value, indent=2, ensure_ascii=False)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": -Infinity}', "", "[1,]", "1 2", "[" * 200_000])
def test_what_is_not_json_is_an_error_of_its_value(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- the text is that of the json module
        read_json(text)


@pytest.mark.parametrize("value", [float("inf"), {"a": [float("nan")]}, -float("inf")])
def test_what_would_not_be_json_is_not_written(value: Any) -> None:
    for write in (write_json, indent_json):
        with pytest.raises(ValueError, match="not JSON compliant"):
            write(value)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("n > `1` && n < `2`", True),
        ("n == `1.1`", True),
        ("type(n)", "number"),
        ("sum([n, `1`])", 2.1),
        ("o.a", 2),
        ("type(o)", "object"),
        ("keys(o)", ["a"]),
        ("merge(o, {b: `1`})", {"a": 2, "b": 1}),
    ],
)
def test_in_an_expression_they_are_numbers_and_objects_as_any_other(expression: str, value: Any) -> None:
    assert jmespath.search(expression, read_json('{"n": 1.10, "o": {"a": 1, "a": 2}}')) == value
