"""JMESPath over messages: conditions, new bodies, and templates of topics.

An expression is evaluated against an object with the fields `FIELDS`, as in the envelope with these exceptions: `body`
is its content (see `read_content`), `headers` an object with names in lower case and the first value of each,
`query` an object with the last value of each parameter, and `verified` (null if there is none) has no time.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from math import isfinite
from typing import Any
from urllib.parse import parse_qsl

import jmespath
from jmespath import functions
from jmespath.exceptions import JMESPathError
from jmespath.visitor import TreeInterpreter

from ..errors import ConfigError
from .bodies import UNTRUSTED, VERIFIED, Ceiling
from .content import read_content
from .json_text import read_json, write_json
from .message import Message, format_time
from .topics import is_unsafe

_PLACE = re.compile(r"\{([^{}]*)\}")
_ALL = "@"
_FALSE: tuple[Any, ...] = ("", [], {})
_ONE_SCOPE = {
    "comparator",
    "and_expression",
    "or_expression",
    "not_expression",
    "function_expression",
    "multi_select_list",
    "multi_select_dict",
    "key_val_pair",
}
"""Kinds of JMESPath nodes that evaluate all their children against the same value; others only the first."""


class _Functions(functions.Functions):  # type: ignore[misc]
    """JMESPath's functions; those that convert numbers and text keep numbers as they were written."""

    @functions.signature({"types": []})  # type: ignore[untyped-decorator]
    def _func_to_number(self, value: Any) -> Any:
        if isinstance(value, str):
            with suppress(ValueError):
                value = read_json(value)
        number = super()._func_to_number(value)
        # Python also reads "nan".
        return number if isinstance(value, float) or number is None or isfinite(number) else None

    @functions.signature({"types": []})  # type: ignore[untyped-decorator]
    def _func_to_string(self, value: Any) -> str:
        return value if isinstance(value, str) else write_json(value)


# Expressions that are searched by themselves make one each time, which takes as long as to evaluate them.
_OPTIONS = jmespath.Options(custom_functions=_Functions())
_INTERPRETER = TreeInterpreter(_OPTIONS)


class TooManySteps(ValueError):
    """An expression takes more steps than it may."""


class _BoundedInterpreter(TreeInterpreter):  # type: ignore[misc]
    """An interpreter for one evaluation, which raises `TooManySteps` before it does what takes more steps than left.

    A step is a visit of a node, an item of a list that is made or looked through, or `_TEXT_STEP` characters of text.
    """

    def __init__(self, steps: int) -> None:
        super().__init__(_OPTIONS)
        self._left = steps

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        # Those of a comparison are visited twice.
        if node["type"] != "literal":
            self._use(1)
        value = super().visit(node, *args, **kwargs)
        # What becomes of it, such as a comparison, reads it.
        if isinstance(value, str):
            self._use(len(value) // _TEXT_STEP)
        return value

    def visit_flatten(self, node: Any, value: Any) -> Any:
        [child] = node["children"]
        base = self.visit(child, value)
        if isinstance(base, list):
            self._use(sum(len(item) if isinstance(item, list) else 1 for item in base))
        return super().visit_flatten({"children": [{"type": "literal", "value": base}]}, None)

    def visit_slice(self, node: Any, value: Any) -> Any:
        self._use(_breadth(value))
        return super().visit_slice(node, value)

    def visit_comparator(self, node: Any, value: Any) -> Any:
        sides = [self.visit(child, value) for child in node["children"]]
        # A comparison with a string or a number ends at once.
        if all(isinstance(side, dict | list) for side in sides):
            self._use_whole(sides)
        children = [{"type": "literal", "value": side} for side in sides]
        return super().visit_comparator({"value": node["value"], "children": children}, None)

    def visit_function_expression(self, node: Any, value: Any) -> Any:
        name, arguments = node["value"], [self.visit(child, value) for child in node["children"]]
        self._use(sum(map(_breadth, arguments)))
        if name in _READ_WHOLE:
            self._use_whole(arguments)
        elif name == "join" and len(arguments) == 2:
            self._use(_breadth(arguments[0]) * _breadth(arguments[1]))
        return self._functions.call_function(name, arguments)

    def _use(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise TooManySteps("the expression takes too many steps for this message; make it simpler")

    def _use_whole(self, values: list[Any]) -> None:
        """Use the steps to read values and all that is in them, as often as it is: `[@,@]` has its value twice."""
        waiting = list(values)
        while waiting:
            match value := waiting.pop():
                case dict():
                    waiting += value.values()
                case list():
                    waiting += value
            self._use(_breadth(value))


# Functions that also read what is in the items of their arguments.
_READ_WHOLE = ("to_string", "contains")
_TEXT_STEP = 64


def _breadth(value: Any) -> int:
    """Steps to look through a value, without what is in its items, but for texts."""
    if isinstance(value, str):
        return 1 + len(value) // _TEXT_STEP
    if isinstance(value, list):
        return 1 + sum(1 + (len(item) // _TEXT_STEP if isinstance(item, str) else 0) for item in value)
    return 1 + len(value) if isinstance(value, dict) else 1


# Filters that read the same topic have their turns one after the other, with a few messages in each: a small body is
# parsed once for all of them. What was parsed takes a few megabytes together (33 at worst); no expression changes it.
SHARED_BYTES = 16 << 10
_read_shared = lru_cache(maxsize=32)(read_content)


def _body(message: Message, ceiling: Ceiling | None = None) -> Any:
    if ceiling:
        return read_content(message.body, message.header("content-type") or "", ceiling)
    # On a safe topic, the sender has shown a token.
    is_known = message.verified or not is_unsafe(message.topic)
    read = _read_shared if len(message.body) <= SHARED_BYTES else read_content
    return read(message.body, message.header("content-type") or "", VERIFIED if is_known else UNTRUSTED)


def _verified(message: Message) -> Any:
    verified = message.verified
    return verified and {"provider": verified.provider, "key": verified.key, "source": verified.source}


_READERS: Mapping[str, Callable[[Message], Any]] = {
    "id": lambda message: message.id,
    "topic": lambda message: message.topic,
    "time": lambda message: format_time(message.time_us),
    "headers": lambda message: {name.lower(): value for name, value in reversed(message.headers)},
    "query": lambda message: dict(parse_qsl(message.query, keep_blank_values=True)),
    "body": _body,
    "verified": _verified,
    "hops": lambda message: list(message.hops),
}
FIELDS = tuple(_READERS)
"""Fields of a message that an expression can begin with."""


class Expression:
    """A JMESPath expression over a message. Raises `ConfigError` for a syntax error or an unknown field."""

    def __init__(self, text: str) -> None:
        try:
            self._compiled = jmespath.compile(text)
            names = set(_roots(self._compiled.parsed))
        except JMESPathError as error:
            raise ConfigError(f"not a JMESPath expression: {text!r} ({' '.join(str(error).split())})") from None
        except RecursionError:
            raise ConfigError(f"the expression is nested too deeply: {text[:80]!r}...") from None
        self.fields = frozenset(FIELDS if _ALL in names else names)
        """Fields of a message that it reads."""
        for name in names - {_ALL}:
            if name not in FIELDS:
                raise ConfigError(
                    f"a message has no {name!r}, in {text!r}: an expression begins with one of {', '.join(FIELDS)}, "
                    "and strings are in single quotes"
                )

    def value(self, document: Mapping[str, Any], *, steps: int | None = None) -> Any:
        """Value for a document, or None if it has none. A hundred thousand steps take some 30 ms.

        Raises `ValueError` for an unknown function, wrong arguments, a slice with step 0, or a number out of range, and
        `TooManySteps` if it would take more than `steps`.
        """
        interpreter = _INTERPRETER if steps is None else _BoundedInterpreter(steps)
        try:
            return interpreter.visit(self._compiled.parsed, document)
        except (TypeError, ArithmeticError) as error:
            raise ValueError(str(error)) from None
        except RecursionError:
            raise ValueError("the expression or its value is nested too deeply") from None

    def holds(self, document: Mapping[str, Any], *, steps: int | None = None) -> bool:
        """True if the value is anything but null, false, or an empty string, list or object. Raises as `value`."""
        value = self.value(document, steps=steps)
        return value is not None and value is not False and value not in _FALSE


class Template:
    """A string with expressions in braces, such as ``deploy/{body.repository.full_name}``.

    Raises `ConfigError` for unbalanced braces, and as `Expression` does.
    """

    def __init__(self, text: str) -> None:
        parts = _PLACE.split(text)
        if any(brace in literal for literal in parts[::2] for brace in "{}"):
            raise ConfigError(f"unbalanced braces in {text!r}")
        self._literals = parts[::2]
        self._places = [(inner, Expression(inner)) for inner in parts[1::2]]
        self.fields = frozenset[str]().union(*(expression.fields for _, expression in self._places))

    @property
    def example(self) -> str:
        """The string with a letter for each expression."""
        return "x".join(self._literals)

    def fill(self, document: Mapping[str, Any]) -> str:
        """String for a document. Raises `ValueError` unless each expression yields a number or a non-empty string."""
        filled = [self._literals[0]]
        for (text, expression), literal in zip(self._places, self._literals[1:], strict=True):
            value = expression.value(document)
            if not isinstance(value, str | int | float) or isinstance(value, bool) or value == "":
                raise ValueError(f"{{{text}}} is {write_json(value)[:80]}, not a string or a number")
            filled += [value if isinstance(value, str) else write_json(value), literal]
        return "".join(filled)


def document(message: Message, fields: Collection[str] = FIELDS, *, ceiling: Ceiling | None = None) -> dict[str, Any]:
    """The object that expressions over a message are evaluated against, with the fields that they read.

    Raises `BodyTooLarge` if they read the body and that is beyond the ceiling: if none is given, `VERIFIED` if its
    sender is known, otherwise `UNTRUSTED`.
    """
    read_fields = {name: read(message) for name, read in _READERS.items() if name in fields and name != "body"}
    return {**read_fields, "body": _body(message, ceiling)} if "body" in fields else read_fields


def _roots(node: Mapping[str, Any]) -> Iterator[str]:
    """Fields that an expression looks up in the message itself, not in a value within it; `_ALL` for all of it."""
    if node["type"] == "field":
        yield node["value"]
    if node["type"] in ("current", "identity"):
        yield _ALL
    # Evaluated against the items of a list, such as &age in sort_by(body.people, &age).
    if node["type"] == "expref":
        return
    children = node["children"]
    for child in children if node["type"] in _ONE_SCOPE else children[:1]:
        yield from _roots(child)
