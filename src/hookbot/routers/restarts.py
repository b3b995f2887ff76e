"""Something that runs for ever, whatever happens to it."""

import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn

import trio

from ..backoff import Backoff
from .failed import describe
from .record import RouterStats

LONGEST_RESTART_S = 60.0

logger = logging.getLogger("hookbot.routers.restarts")


async def keep_running(name: str, run: Callable[[], Awaitable[None]], record: RouterStats) -> NoReturn:
    """Run the router `name` again and again; what `run` raises, but for a cancellation, goes into log and record."""
    backoff = Backoff(longest_s=LONGEST_RESTART_S)
    while True:
        started = trio.current_time()
        crash = await _run_until_crash(run)
        delay_s = backoff.next_s(lasted_s=trio.current_time() - started)
        record.state, record.error = "waiting for restart", describe(crash)
        logger.error("router %s crashed, restart in %.1f s: %s", name, delay_s, record.error, exc_info=crash)
        await trio.sleep(delay_s)
        record.restarts += 1


async def _run_until_crash(run: Callable[[], Awaitable[None]]) -> BaseException:
    crashes: list[BaseException] = []

    async def note_crash() -> None:
        try:
            await run()
        except BaseException as error:
            crashes.append(error)
            raise

    try:
        async with trio.open_nursery() as nursery:  # a task of its own: what a router leaves behind ends with it
            nursery.start_soon(note_crash)
    except* (trio.Cancelled, KeyboardInterrupt):
        raise
    except* BaseException as group:
        crashes.append(group)
    return crashes[0]
