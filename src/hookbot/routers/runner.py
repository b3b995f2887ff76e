"""All routers of a hub: specified, started together, and run until the hub ends."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

import trio

from ..broker.broker import Broker
from ..errors import ConfigError, Damaged, describe
from . import Router
from .attempts import RouterLimits
from .loading import NAME, Resolve, bind, is_file, make
from .runs import MAX_HANGING
from .supervision import SupervisedRouter, saved_positions
from .threads import contained, run_in_thread, run_within_limit
from .watchdog import watch

WORKING = ("running", "standby")
"""States of a router that is as it should be: it takes messages, here or at another hub."""

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

    def __init__(self, supervised: Sequence[SupervisedRouter], *, damaged: bool = False) -> None:
        self._supervised = supervised
        self._damaged = damaged

    @property
    def problem(self) -> str:
        """Problem of a router, without its name; empty while all take messages and none hangs."""
        if self._damaged or not all(one.stats.state in WORKING for one in self._supervised):
            return "a router is not running"
        if any(one.runs.hanging for one in self._supervised):
            return "a router was abandoned and has not ended yet"
        return ""

    @property
    def topics(self) -> Iterator[str]:
        """Topics that the routers read."""
        return (topic for one in self._supervised for topic in one.topics)

    def end_by(self, time_s: float) -> None:
        """Let routers that are busy when they are cancelled take until this time, on Trio's clock, to end."""
        for one in self._supervised:
            one.runs.end_by_s = time_s

    def snapshot(self) -> list[dict[str, Any]]:
        """State and counters of each router, as JSON objects."""
        return [one.snapshot() for one in self._supervised]


@asynccontextmanager
async def open_routers(broker: Broker, specs: Sequence[RouterSpec], resolve: Resolve) -> AsyncIterator[Routers]:
    """Routers that run until the block ends.

    A router resumes at its saved position. A new one starts at the head of the log, which is saved on entry, so that
    everything published from then on is routed. Entering raises `ConfigError` for wrong names and options, and
    `Unavailable` if the log fails; any other error of a router is logged, and the router is restarted. If the saved
    positions are damaged, no router runs: from another position, it would skip messages.
    """
    makers = await _makers(specs, resolve)
    names = [spec.name for spec in specs]
    if len(set(names)) < len(names):
        raise ConfigError(f"two routers have the same name: {', '.join(sorted(names))}; rename one of them")
    try:
        positions = await saved_positions(broker, names)
    except Damaged as error:
        logger.error("no router runs, since their positions cannot be read: %s", error)
        yield Routers((), damaged=bool(specs))
        return
    supervised = [
        SupervisedRouter(broker, spec.name, maker, spec.limits, positions[spec.name])
        for spec, maker in zip(specs, makers, strict=True)
    ]
    if not supervised:
        yield Routers(())
        return
    # Those that were abandoned may hold one each for ever, and must not use up the threads of other routers.
    trio.to_thread.current_default_thread_limiter().total_tokens += MAX_HANGING * len(supervised)
    with watch({one.name: one for one in supervised}):
        async with trio.open_nursery() as nursery:
            for one in supervised:
                nursery.start_soon(one.run)
            yield Routers(supervised)
            nursery.cancel_scope.cancel()


class RouterMaker:
    """Function that makes a router for each start, off the event loop."""

    def __init__(self, spec: RouterSpec, resolve: Resolve) -> None:
        self._spec = spec
        self._make = partial(make, spec.kind, spec.options, resolve)
        self._first: Router | None = None

    async def make_first(self) -> Router:
        """The router of the first start, made before; raises what it raises, and `ConfigError` for wrong options."""
        self._first = await self._once(run_within_limit)
        return self._first

    async def __call__(self) -> Router:
        first, self._first = self._first, None
        return first or await self._once(run_in_thread)

    async def _once(self, run: Callable[[Callable[[], Router]], Awaitable[Router]]) -> Router:
        # A function is given by Python code only, such as a test: its objects may belong to its thread.
        return contained(self._make) if callable(self._spec.kind) else await run(self._make)


async def _makers(specs: Sequence[RouterSpec], resolve: Resolve) -> Sequence[RouterMaker]:
    makers = [RouterMaker(spec, resolve) for spec in specs]
    mistakes: list[str] = []
    async with trio.open_nursery() as nursery:
        for spec, maker in zip(specs, makers, strict=True):
            nursery.start_soon(_make_first, spec.name, maker, mistakes)
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return makers


async def _make_first(name: str, maker: RouterMaker, mistakes: list[str]) -> None:
    """Make the router of the first start, if possible. Adds to the mistakes for wrong options."""
    try:
        await maker.make_first()
    except ConfigError as error:
        mistakes.append(f"router {name}: {error}")
    # Its own code failed, perhaps because a server is down: the supervision tries again.
    except Exception as error:
        logger.error("router %s cannot be created, trying again: %s", name, describe(error), exc_info=error)


def _take_limits(options: dict[str, Any]) -> RouterLimits:
    names: list[str] = [limit.name for limit in fields(RouterLimits)]
    return RouterLimits(**bind(RouterLimits, {name: options.pop(name) for name in names if name in options}, str))
