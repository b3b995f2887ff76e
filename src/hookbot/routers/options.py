"""A router's section of the configuration, made into the arguments of its constructor."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from difflib import get_close_matches
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..errors import ConfigError
from . import Secret

Resolve = Callable[[str], str]
"""Finds the secret that ``env:NAME`` or ``file:PATH`` stands for; raises `ConfigError`."""


def bind(make: Callable[..., Any], options: Mapping[str, Any], resolve: Resolve) -> dict[str, Any]:
    """The options as `make` wants them, by its signature and annotations.

    Raises `ConfigError`, without naming the router, for what is unknown, missing or of another type.
    """
    parameters = inspect.signature(make).parameters
    hints = _hints(make)
    known = [name for name, one in parameters.items() if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    if not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        for name in options:
            if name not in known:
                raise ConfigError(f"there is no option {name!r}{suggest(name, known)}")
    for name in known:
        if name not in options and parameters[name].default is inspect.Parameter.empty:
            raise ConfigError(f"the option {name!r} is missing")
    return {name: _convert(value, hints.get(name, Any), name, resolve) for name, value in options.items()}


def suggest(name: str, known: Collection[str]) -> str:
    """What was probably meant, and what there is, as the end of a sentence."""
    close = get_close_matches(name, known, 1)
    meant = f"; did you mean {close[0]!r}?" if close else "."
    return f"{meant} Known: {', '.join(sorted(known)) or 'none'}"


def _hints(make: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(inspect.getattr_static(make, "__init__") if inspect.isclass(make) else make)
    except NameError:  # annotations of names that exist only while a type checker looks
        return {}


def _convert(value: Any, wanted: Any, name: str, resolve: Resolve) -> Any:
    """The value as its annotation wants it. TOML has text, whole and other numbers, booleans, lists and tables."""
    origin, arguments = get_origin(wanted) or wanted, get_args(wanted)
    if wanted is Any:
        return value
    if origin in (Union, UnionType):
        return _convert_to_any(value, wanted, name, resolve)
    if wanted is Secret and isinstance(value, str):
        return value if isinstance(value, Secret) else Secret(resolve(value))
    if origin is Literal and value in arguments:
        return value
    if wanted is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if _is_a(origin, Mapping) and isinstance(value, Mapping):
        inner = arguments[1] if arguments else Any
        return {key: _convert(item, inner, f"{name}.{key}", resolve) for key, item in value.items()}
    if _is_a(origin, (Sequence, AbstractSet)) and origin is not str and isinstance(value, list | tuple):
        inner = arguments[0] if arguments else Any
        items = [_convert(item, inner, f"{name}[{index}]", resolve) for index, item in enumerate(value)]
        return origin(items) if origin in (list, set, frozenset) else tuple(items)
    if isinstance(origin, type) and type(value) is origin:
        return value
    raise ConfigError(f"the option {name!r} is {_in_words(wanted)}, not {'...' if wanted is Secret else repr(value)}")


def _convert_to_any(value: Any, wanted: Any, name: str, resolve: Resolve) -> Any:
    for alternative in get_args(wanted):
        try:
            return _convert(value, alternative, name, resolve)
        except ConfigError as error:
            if alternative is Secret and isinstance(value, str):
                raise error  # a secret that cannot be found
    raise ConfigError(f"the option {name!r} is {_in_words(wanted)}, not {value!r}")


def _is_a(origin: Any, kinds: type | tuple[type, ...]) -> bool:
    return isinstance(origin, type) and issubclass(origin, kinds)


_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", Secret: "a secret"}


def _in_words(wanted: Any) -> str:
    origin, arguments = get_origin(wanted) or wanted, get_args(wanted)
    if wanted in _WORDS:
        return _WORDS[wanted]
    if origin in (Union, UnionType):
        return " or ".join(_in_words(one) for one in arguments if one is not type(None))
    if origin is Literal:
        return " or ".join(repr(one) for one in arguments)
    if _is_a(origin, Mapping):
        return "a table"
    if _is_a(origin, (Sequence, AbstractSet)):
        return f"a list of {_in_words(arguments[0])}" if arguments and arguments[0] is not Any else "a list"
    return f"a {getattr(wanted, '__name__', wanted)}"
