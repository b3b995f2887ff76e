"""Loading of routers: found by name or file, made with the options of the configuration, checked, and entered."""

import importlib.util
import inspect
import re
import sys
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from ..errors import KINDS, ConfigError, InvalidTopic, did_you_mean, kind_of
from ..protocol.topics import check_topic
from . import Router, Secret

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "hookbot.routers"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Names allowed for a router: they are part of topics and of a header."""

Resolve = Callable[[str], str]
"""Function that returns the secret that ``env:NAME`` or ``file:PATH`` refers to, and any other text unchanged.

Raises `ConfigError` if there is no such secret.
"""

_WORDS = {**KINDS, Secret: "a secret"}
_PLURALS = {str: "strings", int: "integers", float: "numbers", Secret: "secrets"}


def installed_routers() -> "dict[str, EntryPoint]":
    """Entry points of the routers of all installed packages, by name, without importing them.

    Raises `ConfigError` if two packages have a router of the same name.
    """
    # A hub that loads no router does not need it.
    from importlib.metadata import entry_points  # noqa: PLC0415

    found: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise ConfigError(
                f"two packages have a router {entry.name!r}, {other.value} and {entry.value}: uninstall one of them"
            )
    return found


def is_file(kind: str) -> bool:
    """True if a router is given by its file, ``jira.py`` or ``jira.py:JiraRouter``."""
    return kind.partition(":")[0].endswith(".py")


def load(kind: str | Callable[..., Router]) -> Any:
    """Class of an installed router, or of one in a file; `kind` itself if it is not a string.

    Raises `ConfigError` if there is none or more than one, and any error that its import raises.
    """
    if not isinstance(kind, str):
        return kind
    if is_file(kind):
        return _load_file(kind)
    installed = installed_routers()
    if kind not in installed:
        raise ConfigError(f"no router {kind!r} is installed{_suggestion(kind, installed)}")
    return installed[kind].load()


def make(kind: str | Callable[..., Router], options: Mapping[str, Any], resolve: Resolve) -> Router:
    """Router made with options.

    Raises `ConfigError` for wrong options or a class that is not a router, and any error of its import or constructor.
    """
    factory = load(kind)
    router: Router = factory(**bind(factory, options, resolve))
    check(router)
    return router


def check(router: Router) -> None:
    """Raise `ConfigError` unless an object has an asynchronous `route`, and valid `topics` in a tuple or list."""
    if not inspect.iscoroutinefunction(getattr(router, "route", None)):
        raise ConfigError(f"{type(router).__name__} has no `async def route(self, message, publish)`")
    topics = getattr(router, "topics", None)
    # A string is a sequence, too, but of letters: the most likely mistake.
    if isinstance(topics, str) or not isinstance(topics, tuple | list) or not topics:
        raise ConfigError(f"its `topics` must be a tuple such as ('jira/',), not {topics!r}")
    for topic in topics:
        if not isinstance(topic, str):
            raise ConfigError(f"its `topics` must be strings, not {topic!r}")
        try:
            check_topic(topic)
        except InvalidTopic as error:
            raise ConfigError(f"its `topics` are wrong: {error}") from None


def bind(make: Callable[..., Any], options: Mapping[str, Any], resolve: Resolve) -> dict[str, Any]:
    """Arguments for `make`, converted from options by its signature and annotations.

    Raises `ConfigError`, which does not name the router, for an option that is unknown, missing or of another type, or
    a secret that `resolve` does not find.
    """
    parameters = inspect.signature(make).parameters
    hints = _hints(make)
    known = [name for name, one in parameters.items() if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    if not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        for name in options:
            if name not in known:
                raise ConfigError(f"there is no option {name!r}{_suggestion(name, known)}")
    for name in known:
        if name not in options and parameters[name].default is inspect.Parameter.empty:
            raise ConfigError(f"the option {name!r} is missing")
    return {name: _convert(value, hints.get(name, Any), name, resolve) for name, value in options.items()}


@asynccontextmanager
async def entered(router: Router) -> AsyncIterator[None]:
    """Enter a router for the block if it is an asynchronous context manager; any other is used as it is."""
    if hasattr(router, "__aenter__") and hasattr(router, "__aexit__"):
        async with router:
            yield
    else:
        yield


def _load_file(kind: str) -> Any:
    file, _, wanted = kind.partition(":")
    path = Path(file)
    spec = importlib.util.spec_from_file_location(f"hookbot_router_{path.stem}", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ConfigError(f"there is no file {file}")
    # Registered before it runs: dataclasses and pickle look up a class's module there.
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if wanted:
        if not hasattr(module, wanted):
            raise ConfigError(f"{file} defines no {wanted!r}")
        return getattr(module, wanted)
    return _only_router(file, vars(module), spec.name)


def _only_router(file: str, names: Mapping[str, Any], module: str) -> Any:
    classes = [one for one in names.values() if inspect.isclass(one) and one.__module__ == module]
    routers = [one for one in classes if hasattr(one, "route")]
    if len(routers) != 1:
        raise ConfigError(f"{file} defines {len(routers)} routers; name the one to run, as in {file}:MyRouter")
    return routers[0]


def _suggestion(name: str, known: Collection[str]) -> str:
    """End of a sentence about an unknown name: the known name that was probably meant, and all known names."""
    meant = did_you_mean(name, known)
    return f"{f'; {meant}' if meant else '.'} Known: {', '.join(sorted(known)) or 'none'}"


def _hints(make: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(inspect.getattr_static(make, "__init__") if inspect.isclass(make) else make)
    # Annotations whose names are imported for type checkers only: options are then passed unconverted.
    except NameError:
        return {}


def _convert(value: Any, wanted: Any, name: str, resolve: Resolve) -> Any:
    """Value of an option converted to its annotated type; raises `ConfigError` if it is of another type."""
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
    if _is_a(origin, (Sequence, AbstractSet)) and not _is_a(origin, str) and isinstance(value, list | tuple):
        inner = arguments[0] if arguments else Any
        items = [_convert(item, inner, f"{name}[{index}]", resolve) for index, item in enumerate(value)]
        return origin(items) if origin in (list, set, frozenset) else tuple(items)
    if isinstance(origin, type) and type(value) is origin:
        return value
    raise _wrong(value, wanted, name)


def _convert_to_any(value: Any, wanted: Any, name: str, resolve: Resolve) -> Any:
    for alternative in get_args(wanted):
        try:
            return _convert(value, alternative, name, resolve)
        except ConfigError:
            if alternative is Secret and isinstance(value, str):
                # The secret cannot be found, which is the better message; and the value must not be shown.
                raise
    raise _wrong(value, wanted, name)


def _wrong(value: Any, wanted: Any, name: str) -> ConfigError:
    shown = kind_of(value) if _has_secret(wanted) else repr(value)
    return ConfigError(f"the option {name!r} must be {_in_words(wanted)}, not {shown}")


def _has_secret(wanted: Any) -> bool:
    """True if a value of this type is or contains a secret, and must not be shown."""
    return wanted is Secret or any(map(_has_secret, get_args(wanted)))


def _is_a(origin: Any, kinds: type | tuple[type, ...]) -> bool:
    return isinstance(origin, type) and issubclass(origin, kinds)


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
        items = _PLURALS.get(arguments[0]) if arguments else None
        return f"a list of {items}" if items else "a list"
    return f"a {getattr(wanted, '__name__', wanted)}"
