"""All routers of a hub: specified, opened together, and run until the hub ends."""

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

logger = logging.getLogger("hookbot.routers.running")


@dataclass(frozen=True, slots=True)
class RouterSpec:
    """A router to run: its kind, the name it runs under, its options and limits."""

    name: str
    kind: str | Callable[..., Router]
    """The name it is installed under, the file that it is in, or the class itself."""
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    limits: RouterLimits = field(default_factory=RouterLimits)

    @classmethod
    def parse(cls, given: str, section: Mapping[str, Any]) -> "RouterSpec":
        """Read ``--router GIVEN`` with the section of that name; raises `ConfigError`.

        In the section, ``router`` is the kind, where that is not the name, ``time_limit`` (seconds) and
        ``max_publishes`` are limits, and all else is for the router.
        """
        options = dict(section)
        kind = options.pop("router", given)
        name = name_of(given)
        if not NAME.fullmatch(name):
            raise ConfigError(f"a router's name has letters, digits, '.', '_', '-', at most 64: {name!r}")
        if not isinstance(kind, str) and not callable(kind):
            raise ConfigError(f"[routers.{name}]: router is the name of one, not {kind!r}")
        try:
            return cls(name, kind, options, _take_limits(options))
        except ConfigError as error:
            raise ConfigError(f"[routers.{name}]: {error}") from None


def name_of(given: str) -> str:
    """The name of a router that is given by name, or by the file that it is in."""
    return Path(given.partition(":")[0]).stem if is_file(given) else given


class Routers:
    """All routers of a hub."""

    def __init__(self, supervised: Sequence[SupervisedRouter]) -> None:
        self._supervised = supervised

    @property
    def running(self) -> bool:
        """True while all of them take messages."""
        return all(one.stats.state == "running" for one in self._supervised)

    def snapshot(self) -> list[dict[str, Any]]:
        """State and counters of each of them, as JSON."""
        return [one.snapshot() for one in self._supervised]


@asynccontextmanager
async def open_routers(broker: Broker, specs: Sequence[RouterSpec], resolve: Resolve) -> AsyncIterator[Routers]:
    """Run routers until the block ends.

    On entry, the position of each in the log is saved (at its very first start: the end), so that everything published
    from then on is routed. Raises `ConfigError` for wrong names and options; any other failure of a
    router is logged, and the router is restarted for as long as the hub runs.
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
        raise ConfigError(f"two routers have the same name: {', '.join(sorted(names))}")
    saved = {cursor.name.removeprefix(PREFIX): cursor.position for cursor in await broker.log.cursors(PREFIX)}
    new = {PREFIX + name: broker.head for name in names if name not in saved}
    if new:
        await broker.commit([], cursors=new)
    return {name: saved.get(name, broker.head) for name in names}


def _maker(spec: RouterSpec, resolve: Resolve) -> Callable[[], Router]:
    """A function that makes the router for each start; the first one is made now, so that wrong options show."""
    made: list[Router] = []

    def make_router() -> Router:
        return made.pop() if made else make(spec.kind, spec.options, resolve)

    try:
        made.append(make_router())
    except ConfigError as error:
        raise ConfigError(f"router {spec.name}: {error}") from None
    except (Exception, SystemExit) as error:
        logger.error("router %s cannot be made: %s", spec.name, error, exc_info=error)
    return make_router


def _take_limits(options: dict[str, Any]) -> RouterLimits:
    names: list[str] = [limit.name for limit in fields(RouterLimits)]
    return RouterLimits(**bind(RouterLimits, {name: options.pop(name) for name in names if name in options}, str))
