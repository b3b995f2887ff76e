"""JSON that stays as it was written: numbers keep their text, and objects keep names that are repeated.

Python's own reader makes 12345678901234567000.0 of 12345678901234567890.25, 1.1 of 1.10 and Infinity of 1e400, and its
writer writes Infinity, which is not JSON. All values here are subclasses of Python's, and compare as these do.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

# Converting digits takes quadratic time. With more than these, its sign included, a number is infinite as a float.
_MAX_DIGITS = 310

_Put = Callable[[str], object]


class Number(float):
    """A number of a JSON text. Compared and computed with as a float, but written as it was: `text`."""

    __slots__ = ("text",)

    # Not in __new__, which would take twice as long.
    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


class RepeatingObject(dict[str, Any]):
    """An object in which names are repeated. As a dict, it has the last value of each; `pairs` has them all."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


# JMESPath's functions know types by these names, and take no others for numbers and objects.
Number.__name__ = "float"
RepeatingObject.__name__ = "dict"


def read_json(text: str) -> Any:
    """Value of a JSON text (RFC 8259): integers of up to 309 digits are int, other numbers `Number`.

    Raises `ValueError` if it is not JSON, NaN and Infinity included, or nested too deeply.
    """
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def write_json(value: Any) -> str:
    """Compact JSON in ASCII; raises `ValueError` for a number that JSON cannot express."""
    return _written(value, _ASCII.encode)


def indent_json(value: Any) -> str:
    """JSON for people: indented, and not only ASCII. Raises `ValueError` if it is nested too deeply."""
    try:
        return _written(value, _READABLE.encode, "\n")
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _written(value: Any, encode: Callable[[Any], str], line: str = "") -> str:
    parts: list[str] = []
    _write(value, encode, line, parts.append)
    return "".join(parts)


def _write(value: Any, encode: Callable[[Any], str], line: str, put: _Put) -> None:
    """Write a value, its items each after `line`: nothing, or a line feed and the indentation of the value."""
    if isinstance(value, dict):
        pairs = value.pairs if isinstance(value, RepeatingObject) else value.items()
        colon = ": " if line else ":"
        _write_items("{}", ((encode(name) + colon, item) for name, item in pairs), encode, line, put)
    elif isinstance(value, list | tuple):
        _write_items("[]", (("", item) for item in value), encode, line, put)
    elif isinstance(value, Number):
        put(value.text)
    else:
        # Most values are strings and integers; of others, an encoder is made each time.
        put(str(value) if type(value) is int else encode(value))


def _write_items(
    brackets: str, items: Iterable[tuple[str, Any]], encode: Callable[[Any], str], line: str, put: _Put
) -> None:
    inner = line and line + "  "
    before = brackets[0]
    for name, item in items:
        put(before + inner + name)
        _write(item, encode, inner, put)
        before = ","
    put(line + brackets[1] if before == "," else brackets)


def _integer(text: str) -> int | Number:
    return int(text) if len(text) <= _MAX_DIGITS and text != "-0" else Number(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    return value if len(value) == len(pairs) else RepeatingObject(pairs)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_float=Number, parse_int=_integer, parse_constant=_refuse, object_pairs_hook=_object)
_ASCII = json.JSONEncoder(allow_nan=False)
_READABLE = json.JSONEncoder(allow_nan=False, ensure_ascii=False)
