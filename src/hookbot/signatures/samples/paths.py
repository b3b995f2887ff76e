"""Paths into JSON: names of members and indices of elements, separated by dots, as in ``commits.0.message``.

A dot that is part of a name has a backslash before it.
"""

import re
from typing import Any

from ...errors import Refused

_SEPARATOR = re.compile(r"(?<!\\)\.")


def has_path(content: Any, path: str) -> bool:
    """True if there is a value at a path."""
    for name in _steps(path):
        match content:
            case dict() if name in content:
                content = content[name]
            case list() if name.isdecimal() and int(name) < len(content):
                content = content[int(name)]
            case _:
                return False
    return True


def with_value(content: Any, path: str, value: Any) -> Any:
    """A copy of the content with another value at a path; members that are missing are added.

    An index that is the length of a list appends to it. Raises `Refused` if the path leads through anything else.
    """
    return _put(content, _steps(path), value, path)


def _steps(path: str) -> list[str]:
    return [step.replace("\\.", ".") for step in _SEPARATOR.split(path)]


def _put(content: Any, steps: list[str], value: Any, path: str) -> Any:
    if not steps:
        return value
    name, *rest = steps
    match content:
        case dict():
            return {**content, name: _put(content.get(name, {}), rest, value, path)}
        case list() if name.isdecimal() and int(name) <= len(content):
            index = int(name)
            inner = content[index] if index < len(content) else {}
            return [*content[:index], _put(inner, rest, value, path), *content[index + 1 :]]
        case list():
            raise Refused(f"{path!r} is not in the sample: {name!r} is not an index of its {len(content)} elements")
    raise Refused(f"{path!r} is not in the sample: what has to have {name!r} is neither an object nor a list")
