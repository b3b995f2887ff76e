"""Finding routers: installed ones by name, others by the file that they are in."""

import importlib.util
import inspect
import re
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from ..errors import ConfigError, InvalidTopic
from ..protocol.topics import check_topic
from . import Router
from .options import Resolve, bind, suggest

GROUP = "hookbot.routers"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a router may be called: its name stands in topics and in a header."""


def installed_routers() -> dict[str, EntryPoint]:
    """The routers of all installed packages, by name. Nothing is imported."""
    found: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise ConfigError(f"two packages have a router {entry.name!r}: {other.value} and {entry.value}")
    return found


def is_file(kind: str) -> bool:
    """Whether a router is named by its file, ``jira.py`` or ``jira.py:JiraRouter``."""
    return kind.partition(":")[0].endswith(".py")


def load(kind: str | Callable[..., Router]) -> Any:
    """The class of an installed router, or of one in a file.

    Raises `ConfigError` if there is none; importing it raises what it raises.
    """
    if not isinstance(kind, str):
        return kind
    if is_file(kind):
        return _load_file(kind)
    installed = installed_routers()
    if kind not in installed:
        raise ConfigError(f"no router {kind!r} is installed{suggest(kind, installed)}")
    return installed[kind].load()


def make(kind: str | Callable[..., Router], options: Mapping[str, Any], resolve: Resolve) -> Router:
    """A router with these options. Raises `ConfigError` for what is wrong with them or with the class."""
    factory = load(kind)
    router: Router = factory(**bind(factory, options, resolve))
    check(router)
    return router


def check(router: Router) -> None:
    """Raises `ConfigError` unless it has what `Router` asks for."""
    if not inspect.iscoroutinefunction(getattr(router, "route", None)):
        raise ConfigError("it has no `async def route(self, message, publish)`")
    topics = getattr(router, "topics", None)
    if isinstance(topics, str) or not isinstance(topics, tuple | list) or not topics:
        raise ConfigError(f"its `topics` is a tuple such as ('jira/',), not {topics!r}")
    for topic in topics:
        try:
            check_topic(topic)
        except (InvalidTopic, AttributeError, TypeError) as error:
            raise ConfigError(f"its `topics` are wrong: {error}") from None


@asynccontextmanager
async def entered(router: Router) -> AsyncIterator[None]:
    """Enters a router that is an asynchronous context manager; any other is simply there."""
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
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if wanted:
        if not hasattr(module, wanted):
            raise ConfigError(f"{file} has no {wanted}")
        return getattr(module, wanted)
    return _only_router(file, vars(module), spec.name)


def _only_router(file: str, names: Mapping[str, Any], module: str) -> Any:
    classes = [one for one in names.values() if inspect.isclass(one) and one.__module__ == module]
    routers = [one for one in classes if hasattr(one, "route")]
    if len(routers) != 1:
        raise ConfigError(f"{file} has {len(routers)} routers; say which one, as in {file}:MyRouter")
    return routers[0]
