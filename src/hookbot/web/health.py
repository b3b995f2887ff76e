"""Health: whether the process lives, and whether it can work. Anybody may ask, so asking costs next to nothing."""

from collections.abc import Callable

import trio
from quart import Blueprint, Response

from ..errors import Unavailable
from ..log.contract import Log

CHECK_INTERVAL_S = 1.0


class Readiness:
    """Whether a hub can work now: its log can be written, and its routers run."""

    def __init__(self, log: Log, routers_run: Callable[[], bool]) -> None:
        self._log = log
        self._routers_run = routers_run
        self._lock = trio.Lock()
        self._checked_until = -CHECK_INTERVAL_S

    async def check(self) -> None:
        """Raises `Unavailable` unless it can. The log, which really writes for it, is asked once a second at most."""
        async with self._lock:
            if trio.current_time() >= self._checked_until:
                await self._log.check()
                self._checked_until = trio.current_time() + CHECK_INTERVAL_S
        if not self._routers_run():
            raise Unavailable("a router does not run")


def create_health(readiness: Readiness) -> Blueprint:
    """The routes."""
    health = Blueprint("health", __name__)

    @health.get("/status")
    async def status() -> Response:
        return _text("OK\n")

    @health.get("/healthz")
    async def healthz() -> Response:
        return _text("ok\n")

    @health.get("/readyz")
    async def readyz() -> Response:
        await readiness.check()
        return _text("ok\n")

    return health


def _text(text: str) -> Response:
    return Response(text, content_type="text/plain; charset=utf-8")
