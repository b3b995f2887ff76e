"""The running hub: log, broker, consumers, routers, app and fast path, each around the next.

An unexpected error in any of them ends the process with a traceback, except in a router or while serving one request.
"""

import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial

import trio

from ..access.active_subscriptions import SWEEP_INTERVAL_S, sweep_subscriptions
from ..access.control import AccessControl
from ..access.fetching import Fetch, fetch_small
from ..alerts.watching import LOOK_INTERVAL_S, Alerts
from ..broker.broker import Broker, open_broker
from ..broker.consumers import Consumers, open_consumers
from ..errors import ConfigError
from ..log.contract import Log
from ..log.trusted_clock import TrustedClock, monotonic_us
from ..protocol.message import wall_clock_us
from ..routers.runner import Routers, open_routers
from ..web.bodies import BodyBudget
from ..web.fastpath.epoll import AVAILABLE
from ..web.fastpath.listener import open_fast_path
from ..web.held_bytes import HeldBytes
from ..web.limits import ConnectionLimits
from ..web.listening import ListeningSocket
from ..web.metrics import add_limits, add_replies, hub_metrics
from ..web.replies import Replies
from ..web.services import Readiness, Services
from ..web.streams import Streams
from ..web.unauthenticated import UnauthenticatedConnections
from .app_server import AppServer
from .config import Config
from .ineffective import ineffective
from .lifetime import Lifetime, log_start
from .listening import listening
from .memory import exempt_what_stays, give_back_large_blocks
from .metrics import add_all
from .opening import OpenLog, open_log, open_when_available
from .reload import Reloads, make_access_control, make_tls, reload
from .secret_store import resolve_secret
from .sections import read_alerts, read_routers, unless_wrong
from .shutdown_limit import LEFT_BEHIND_S, MARGIN_S, ShutdownLimit
from .systemd import READY, STOPPING, InheritedSocket, ServiceManager, inherited_sockets, reloading, status

END = (signal.SIGTERM, signal.SIGINT)
RELOAD = frozenset({signal.SIGHUP} if hasattr(signal, "SIGHUP") else ())

logger = logging.getLogger(__package__)


@dataclass(frozen=True, slots=True)
class RunningHub:
    """A hub that accepts connections."""

    addresses: Sequence[str]
    """Its URLs on this machine, for example ``http://127.0.0.1:8080``, and ``unix:PATH``."""
    broker: Broker
    reload: Callable[[Callable[[], Config]], Awaitable[None]]
    """Replaces keys, sources, limits and certificates by those of a configuration, which is read in a thread.

    Raises `ConfigError`, and then nothing is replaced.
    """
    complete: trio.Event
    """Set when nothing is left to import: on the fast path the hub serves sooner, and only what the app answers waits.
    """

    @property
    def url(self) -> str:
        """The first URL, which stands for a proxy's if there are only Unix sockets."""
        return next((one for one in self.addresses if not one.startswith("unix:")), "http://localhost")


async def run_hub(
    config: Config, started: Callable[[RunningHub], None], reread: Callable[[], Config], limit: ShutdownLimit
) -> None:
    """Run a hub until SIGTERM or SIGINT, then finish accepted requests within `grace_s`. The `limit` enforces that.

    `started` is called when the hub accepts connections. On SIGHUP the hub reloads the configuration that `reread`
    returns; `reread` may raise `ConfigError`. An invalid one is logged and ignored. It is told to systemd, which may
    hand over sockets to listen on.

    Raises the same errors as `open_hub`.
    """
    give_back_large_blocks()
    manager, inherited = ServiceManager(os.environ), inherited_sockets(os.environ)
    # Before the hub opens, so that a signal during startup is not lost.
    with trio.open_signal_receiver(*END, *RELOAD) as signals, Lifetime() as lifetime:
        limit.start_at(END, config.grace_s + MARGIN_S)
        try:
            opening = open_hub(config, inherited=inherited)
            await _run_until_signal(opening, started, reread, signals, lifetime, manager)
        except BaseException as error:
            limit.start(LEFT_BEHIND_S, code=1, error=error)
            raise
        limit.start(LEFT_BEHIND_S, code=0)


async def _run_until_signal(
    opening: AbstractAsyncContextManager[RunningHub],
    started: Callable[[RunningHub], None],
    reread: Callable[[], Config],
    signals: AsyncIterator[int],
    lifetime: Lifetime,
    manager: ServiceManager,
) -> None:
    # One is enough for all signals that come while it is under way.
    reload_soon, reloads = trio.open_memory_channel[None](1)
    with trio.CancelScope() as starting:
        end = starting.cancel

        # Until all is over, since each signal that nobody has received then ends the process.
        async def receive() -> None:
            async for number in signals:
                if number in RELOAD:
                    with suppress(trio.WouldBlock):
                        reload_soon.send_nowait(None)
                else:
                    lifetime.end_by(number)
                    end()
                    await manager.tell(STOPPING, status("finishing what was accepted"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            nursery.start_soon(manager.feed_watchdog)
            async with opening as hub:
                with trio.CancelScope() as serving:
                    end = serving.cancel
                    nursery.start_soon(exempt_what_stays, hub.complete)
                    lifetime.begin()
                    started(hub)
                    state = f"listening on {', '.join(hub.addresses)}"
                    await manager.tell(READY, status(state))
                    async for _ in reloads:
                        await manager.tell(reloading())
                        await manager.tell(READY, status(await _reload(hub, reread) or state))
            nursery.cancel_scope.cancel()


async def _reload(hub: RunningHub, reread: Callable[[], Config]) -> str:
    """Reload, and return why it failed, or ""."""
    try:
        await hub.reload(reread)
    except ConfigError as error:
        failure = f"reload failed, the hub keeps its configuration: {error}"
        logger.error("%s", failure)
        return failure
    return ""


@asynccontextmanager
async def open_hub(
    config: Config,
    *,
    clock_us: Callable[[], int] = wall_clock_us,
    monotonic_us: Callable[[], int] = monotonic_us,
    fetch: Fetch = fetch_small,
    sweep_interval_s: float = SWEEP_INTERVAL_S,
    look_interval_s: float = LOOK_INTERVAL_S,
    open_log: OpenLog = open_log,
    inherited: Sequence[InheritedSocket] = (),
) -> AsyncIterator[RunningHub]:
    """A hub that accepts connections until the block ends.

    `clock_us` is the wall clock, in microseconds since 1970, which `monotonic_us` confirms (`TrustedClock`). With a
    store that hubs share, it waits until `open_log` succeeds, and answers what it can without a log.

    It shuts down from the inside out: connections finish their requests and close (within `leave_s`), routers stop,
    consumers save their positions, the broker writes the drafts that are waiting, and the log is closed.

    Raises `ConfigError`, or `Unavailable` if the log fails at startup. Either may come in nested exception groups:
    `sole_error` unwraps them.
    """
    # The whole configuration is checked before anything is opened: a mistake must not leave a new log behind.
    clock = TrustedClock(clock_us, monotonic_us)
    access = make_access_control(config, clock, fetch)
    specs, rules = unless_wrong(read_routers(config)), unless_wrong(read_alerts(config))
    tls = make_tls(config)
    for setting in ineffective(config):
        logger.warning("%s", setting)
    unauthenticated = _unauthenticated(config, access)
    async with (
        # Bound before the log is opened, so that a second hub on this port fails at once. Connections wait in the queue
        # until they are served.
        listening(config, tls, inherited) as sockets,
        _opened(config, partial(open_log, config, clock), sockets, unauthenticated) as log,
        open_broker(log, config.retention, clock_us=clock) as broker,
        open_consumers(broker, clock_us=clock, limits_of=access.quotas.of_cursors) as consumers,
        open_routers(broker, specs, resolve_secret) as routers,
        trio.open_nursery() as background,
    ):
        access.near_misses.routers = lambda: routers.topics
        background.start_soon(sweep_subscriptions, access.active, sweep_interval_s)
        alerts = Alerts(broker, consumers, lambda: access.sources, rules, interval_s=look_interval_s)
        background.start_soon(alerts.run)
        services = _services(config, access, broker, consumers, alerts, routers, unauthenticated)
        background.start_soon(services.replies.run)
        add_all(services, config, tls, reloads := Reloads(clock))
        app = AppServer.of_hub(services, connection_limits(config))
        async with _serving(config, services, app, sockets):
            urls = tuple(one.url for one in sockets)
            log_start(config, urls, access.sources)
            again = partial(reload, access, tls, broker, alerts, config)
            yield RunningHub(urls, broker, partial(reloads.count, again), app.made)
            routers.end_by(trio.current_time() + config.leave_s)
            # Streams first: when each has sent its last message, its connection can close at once.
            services.streams.close()
            services.replies.close()
            app.shut_down()
        background.cancel_scope.cancel()


@asynccontextmanager
async def _serving(
    config: Config, services: Services, app: AppServer, sockets: Sequence[ListeningSocket]
) -> AsyncIterator[None]:
    """Accept connections, on the fast path where there is one, until the block ends; then wait until all are closed."""
    async with trio.open_nursery() as connections:
        if config.door and AVAILABLE:
            connections.start_soon(app.make)

            def hand_over(sock: socket.socket, prefix: bytes) -> None:
                connections.start_soon(app.serve_connection, sock, prefix)

            limits = connection_limits(config)
            async with open_fast_path(services, limits, sockets, hand_over, app.made, leave_s=config.leave_s):
                yield
        else:
            await connections.start(app.serve_listeners, sockets)
            yield


def _opened(
    config: Config,
    open_log: Callable[[], AbstractAsyncContextManager[Log]],
    sockets: Sequence[ListeningSocket],
    unauthenticated: UnauthenticatedConnections,
) -> AbstractAsyncContextManager[Log]:
    if not config.shared:
        return open_log()
    server = AppServer.of_starting_hub(connection_limits(config), unauthenticated)
    return open_when_available(open_log, server, sockets)


def _unauthenticated(config: Config, access: AccessControl) -> UnauthenticatedConnections:
    per_address, max_files = config.max_connections_per_address, _file_limit() // 2
    return UnauthenticatedConnections(
        per_address,
        max_files=max_files,
        is_proxy=access.clients.is_proxy,
        standing_of=access.standing,
        note=access.refusals.note,
    )


def _services(
    config: Config,
    access: AccessControl,
    broker: Broker,
    consumers: Consumers,
    alerts: Alerts,
    routers: Routers,
    unauthenticated: UnauthenticatedConnections,
) -> Services:
    bodies = BodyBudget(config.max_body_bytes, config.max_receiving_bytes, connection_limits(config))
    held = HeldBytes(connection_limits(config).max_held_bytes)
    streams = Streams(broker, access.active, config.heartbeat_s, held)
    readiness = Readiness(broker.log, lambda: routers.problem, broker.clock)
    metrics = hub_metrics(broker, access, routers.snapshot)
    add_limits(metrics, bodies, held, unauthenticated)
    parts = broker, access, bodies, unauthenticated, consumers, streams, readiness, metrics, alerts
    replies = Replies(broker, lambda: access.replies)
    add_replies(metrics, replies)
    return Services(*parts, routers.snapshot, replies, config.console)


def connection_limits(config: Config) -> ConnectionLimits:
    """Timeouts of the configuration, for connections of untrusted clients."""
    return ConnectionLimits(
        slow_s=config.slow_s,
        stall_s=config.stall_s,
        ping_s=config.ping_s,
        deaf_s=config.deaf_s,
        grace_s=config.leave_s,
        settle_s=config.leave_s / 20,
    )


def _file_limit() -> int:
    """Number of files that the process may open; Windows has no such limit."""
    return os.sysconf("SC_OPEN_MAX") if hasattr(os, "sysconf") else 1 << 20
