"""The opening of a hub's log: at once or not at all; where several hubs share a store, as soon as it can be reached."""

import gc
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager, nullcontext
from dataclasses import replace
from secrets import token_hex

import trio

from ..backoff import SHORTEST_S, Backoff
from ..errors import Unavailable, sole_error
from ..log.contract import Log
from ..log.memory import MemoryLog
from ..log.postgres_address import PostgresAddress
from ..log.postgres_duty_queries import OwnHub
from ..log.sealing import Sealing
from ..log.sqlite import open_sqlite_log
from ..version import __version__
from ..web.listening import ListeningSocket
from .app_server import AppServer
from .config import Config, parse_store
from .data_dir import make_data_dir
from .digests import configuration_digests

# A store that is there is open sooner, and a health check waits as long.
PATIENCE_S = 1.0
# A database that restarts or fails over is back within seconds, for which the senders of webhooks are waiting.
LONGEST_PAUSE_S = 5.0

OpenLog = Callable[[Config, Callable[[], int]], AbstractAsyncContextManager[Log]]

logger = logging.getLogger(__package__)


def open_log(config: Config, clock_us: Callable[[], int]) -> AbstractAsyncContextManager[Log]:
    """The log of the configured store. Raises `ConfigError`, and `Unavailable` if it cannot be opened now."""
    sealing = Sealing(config.at_rest_keys)
    if isinstance(config.store, PostgresAddress):
        # Only with such a store: it takes longer to import than all of a small hub's log.
        from ..log.postgres import open_postgres_log  # noqa: PLC0415

        own = OwnHub(token_hex(8), config.advertise or "", __version__, configuration_digests(config))
        return open_postgres_log(config.store, own, sealing=sealing)
    if parse_store(config.store) == "memory:":
        return nullcontext(MemoryLog(clock_us=clock_us, retention=config.retention))
    return open_sqlite_log(make_data_dir(config.data_dir), clock_us=clock_us, sealing=sealing)


@asynccontextmanager
async def open_when_available(
    open_log: Callable[[], AbstractAsyncContextManager[Log]],
    server: AppServer,
    listening: Sequence[ListeningSocket],
    *,
    patience_s: float = PATIENCE_S,
    longest_pause_s: float = LONGEST_PAUSE_S,
) -> AsyncIterator[Log]:
    """The log, as soon as it can be opened. After `patience_s`, `server` serves what these sockets accept until then.

    The server then ends as at any shutdown: what it has begun is answered. The sockets are left open, with those who
    wait in their queues. Any other error than `Unavailable` is raised; like those of the block, in an exception group.
    """
    # Around the log, so that what the log has started is over first.
    async with trio.open_nursery() as answering, AsyncExitStack() as opened:
        over = trio.Event()
        answering.start_soon(_answer, server, listening, over, patience_s)
        log = await _open(opened, open_log, Backoff(min(SHORTEST_S, longest_pause_s), longest_pause_s))
        over.set()
        server.shut_down()
        yield log
        answering.cancel_scope.cancel()


async def _answer(server: AppServer, listening: Sequence[ListeningSocket], over: trio.Event, patience_s: float) -> None:
    with trio.move_on_after(patience_s):
        await over.wait()
        return
    # This may last, and what is answered leaves garbage, which a start does not look for (`hookbot.cli.serve`).
    gc.enable()
    with ExitStack() as opened:
        # Other descriptors of the same queues, because the server closes them.
        own = [replace(one, sock=opened.enter_context(one.sock.dup())) for one in listening]
        await server.serve_listeners(own)


async def _open(
    opened: AsyncExitStack, open_log: Callable[[], AbstractAsyncContextManager[Log]], backoff: Backoff
) -> Log:
    told = ""
    while True:
        try:
            log = await opened.enter_async_context(open_log())
        except (Unavailable, ExceptionGroup) as error:
            cause = sole_error(error)
            if not isinstance(cause, Unavailable):
                raise
            # It imports psycopg, as this store has done.
            from ..log.postgres_errors import reason  # noqa: PLC0415

            # Once, not at each attempt.
            if (why := reason(cause)) != told:
                told = why
                logger.error("the log cannot be opened: %s; the hub goes on trying, and answers 503 until it can", told)
            await trio.sleep(backoff.next_s())
        else:
            if told:
                logger.info("the log is open")
            return log
