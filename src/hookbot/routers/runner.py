"""All routers of a hub: specified, started together, and run until the hub ends."""

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import trio

from ..broker.broker import Broker
from ..errors import ConfigError
from . import Router
from .attempts import RouterLimits
from .loading import NAME, Resolve, bind, is_file, make
from .supervision import PREFIX, SupervisedRouter
from .watchdog import watch

logger = logging.getLogger(__package__)


@dataclass(frozen=True, slots=True)
class RouterSpec:
    """A router to run: its name, kind, options and limits."""

    name: str
    kind: str | Callable[..., Router]
    """Name under which it is installed, its file, or a function or class that makes it."""
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    limits: RouterLimits = field(default_factory=RouterLimits)

    @classmethod
    def parse(cls, given: str, section: Mapping[str, Any]) -> "RouterSpec":
        """Specification of ``--router GIVEN`` with the section of its name.

        In the section, ``router`` is the kind if it is not the name, ``time_limit`` (seconds) and ``max_publishes``
        are limits, and all others are options of the router. Raises `ConfigError` for an invalid name, kind or limit.
        """
        options = dict(section)
        kind = options.pop("router", given)
        name = name_of(given)
        if not NAME.fullmatch(name):
            raise ConfigError(f"not a name for a router (letters, digits, '.', '_', '-', at most 64): {name!r}")
        if not isinstance(kind, str) and not callable(kind):
            raise ConfigError(f"[routers.{name}]: router is the name of an installed router or a file, not {kind!r}")
        try:
            return cls(name, kind, options, _take_limits(options))
        except ConfigError as error:
            raise ConfigError(f"[routers.{name}]: {error}") from None


def name_of(given: str) -> str:
    """Name of a router that is given by its name, or by its file: then the file's name without ``.py``."""
    return Path(given.partition(":")[0]).stem if is_file(given) else given


class Routers:
    """All routers of a hub."""

    def __init__(self, supervised: Sequence[SupervisedRouter]) -> None:
        self._supervised = supervised

    @property
    def running(self) -> bool:
        """True while all routers take messages."""
        return all(one.stats.state == "running" for one in self._supervised)

    def snapshot(self) -> list[dict[str, Any]]:
        """State and counters of each router, as JSON objects."""
        return [one.snapshot() for one in self._supervised]


@asynccontextmanager
async def open_routers(broker: Broker, specs: Sequence[RouterSpec], resolve: Resolve) -> AsyncIterator[Routers]:
    """Routers that run until the block ends.

    A router resumes at its saved position. A new one starts at the head of the log, which is saved on entry, so that
    everything published from then on is routed. Entering raises `ConfigError` for wrong names and options, and
    `Unavailable` if the log fails; any other error of a router is logged, and the router is restarted.
    """
    makers = [(spec, _maker(spec, resolve)) for spec in specs]
    positions = await _positions(broker, [spec.name for spec in specs])
    supervised = [
        SupervisedRouter(broker, spec.name, maker, spec.limits, positions[spec.name]) for spec, maker in makers
    ]
    if not supervised:
        yield Routers(())
        return
    with watch({one.name: one for one in supervised}):
        async with trio.open_nursery() as nursery:
            for one in supervised:
                nursery.start_soon(one.run)
            yield Routers(supervised)
            nursery.cancel_scope.cancel()


async def _positions(broker: Broker, names: Sequence[str]) -> dict[str, int]:
    if len(set(names)) < len(names):
        raise ConfigError(f"two routers have the same name: {', '.join(sorted(names))}; rename one of them")
    saved = {cursor.name.removeprefix(PREFIX): cursor.position for cursor in await broker.log.cursors(PREFIX)}
    new = {PREFIX + name: broker.head for name in names if name not in saved}
    if new:
        await broker.commit([], cursors=new)
    return {name: saved.get(name, broker.head) for name in names}


def _maker(spec: RouterSpec, resolve: Resolve) -> Callable[[], Router]:
    """Function that makes the router for each start. The first is made now; raises `ConfigError` for wrong options."""
    made: list[Router] = []

    def make_router() -> Router:
        return made.pop() if made else make(spec.kind, spec.options, resolve)

    try:
        made.append(make_router())
    except ConfigError as error:
        raise ConfigError(f"router {spec.name}: {error}") from None
    except (Exception, SystemExit) as error:
        # Its own code failed, perhaps because a server is down: the supervision tries again.
        logger.error("router %s cannot be created, trying again: %s", spec.name, error, exc_info=error)
    return make_router


def _take_limits(options: dict[str, Any]) -> RouterLimits:
    names: list[str] = [limit.name for limit in fields(RouterLimits)]
    return RouterLimits(**bind(RouterLimits, {name: options.pop(name) for name in names if name in options}, str))
