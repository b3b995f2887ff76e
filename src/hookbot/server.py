"""The whole hub: log, broker, routers, fan-out, door and app, as siblings under one nursery.

What nobody expected, in any of them, ends the process, loudly. A router's failure does not.
"""

import logging
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from time import time_ns

import trio

from . import poller
from .api import Office
from .app import Hub, create_app
from .authority import Authority
from .broker import Broker, open_broker
from .config import Config, Secret, resolve_secret
from .config_sections import read_routers, read_sources, unless_wrong
from .door import Door, HandOn
from .errors import ConfigError
from .fanout import Fanout
from .gate import Gate
from .intake import Intake
from .log import Log, MemoryLog
from .log_sqlite import open_sqlite_log
from .metrics import Kind, Metrics
from .routers.running import Routers, open_routers
from .serving import Limits, PrefixedStream, Server
from .serving.streams import Stream
from .sessions import open_sessions
from .signatures import load_provider
from .sources import Source, Sources
from .standing import Standing
from .streams import Streams
from .subscriptions import Subscriptions

RELOAD = frozenset({signal.SIGHUP} if hasattr(signal, "SIGHUP") else ())
STANDING_INTERVAL_S = 1.0
ROUTER_METRICS = {
    "lag": "How many messages of the log it has not looked at yet.",
    "routed": "Messages dealt with.",
    "published": "Messages published.",
    "failed": "Messages given up.",
    "restarts": "Times it crashed and was made anew.",
    "blocked": "Times it held up the event loop.",
}
BACKLOG = 8192  # a storm of reconnecting subscribers waits here (Linux caps it at net.core.somaxconn)


logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Running:
    """A hub that is listening."""

    urls: Sequence[str]
    """Where, for example ``http://127.0.0.1:8080``."""
    broker: Broker
    gate: Gate
    tls: ssl.SSLContext | None

    def reload(self, config: Config) -> None:
        """Take over keys, sources and certificates; raises `ConfigError`, and then everything stays as it was."""
        sources = Sources(make_sources(config))
        if self.tls:
            load_certificates(self.tls, config)
        self.gate.sources, self.gate.authority = sources, make_authority(config)


async def run_hub(config: Config, started: Callable[[Running], None], reread: Callable[[], Config]) -> None:
    """Run a hub until SIGTERM or SIGINT; then finish what was accepted, within `grace_s`. Raises `ConfigError`.

    At SIGHUP, what `reread` returns is taken over.
    """
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, *RELOAD) as signals:
        async with open_hub(config) as hub:
            started(hub)
            async for signum in signals:
                if signum not in RELOAD:
                    return
                try:
                    hub.reload(reread())
                    logger.info("the configuration was read again")
                except ConfigError as error:
                    logger.error("the configuration stays as it was: %s", error)


@asynccontextmanager
async def open_hub(config: Config) -> AsyncIterator[Running]:
    """A hub that listens for as long as the block lasts. Raises `ConfigError`."""
    gate = make_gate(config)
    specs = unless_wrong(read_routers(config.file, config.routers, _values(config.github_secrets)))
    context = tls_context(config)
    sockets = bind(config.bind)
    async with (
        open_log(config) as log,
        open_broker(log, config.retention) as broker,
        open_sessions(broker) as sessions,
        open_routers(broker, specs, resolve_secret) as routers,
        trio.open_nursery() as services,
    ):
        services.start_soon(_end_what_is_not_granted, gate)
        intake = Intake(config.max_body_bytes, config.max_receiving_bytes)
        streams = Streams(broker, gate.standing, config.heartbeat_s)
        subscriptions = Subscriptions(broker, sessions, streams)
        office = Office(broker, gate, sessions, hub_metrics(broker, gate, routers), routers.snapshot)
        app = create_app(Hub(broker, gate, intake, subscriptions, office, lambda: routers.running))
        server = Server(app, limits(config))
        async with trio.open_nursery() as connections:
            hand_on = partial(_serve_soon, connections, server)
            if context is None and config.door and poller.AVAILABLE:
                front: AbstractAsyncContextManager[None] = open_front(config, broker, gate, intake, sockets, hand_on)
            else:
                await connections.start(server.serve_listeners, [_listener(sock, context) for sock in sockets])
                front = nullcontext(None)
            async with front:
                yield Running([_url(sock, context) for sock in sockets], broker, gate, context)
                streams.close()
                server.shut_down()
        services.cancel_scope.cancel()


@asynccontextmanager
async def open_front(
    config: Config,
    broker: Broker,
    gate: Gate,
    intake: Intake,
    sockets: Sequence[socket.socket],
    hand_on: HandOn,
) -> AsyncIterator[None]:
    """The poller and what lies in it. When the block ends, everybody there is told, and has `grace_s` to leave."""
    own = poller.Poller()
    fanout = Fanout(
        broker,
        own,
        gate.standing,
        heartbeat_s=config.heartbeat_s,
        ping_s=config.ping_s,
        deaf_s=config.deaf_s,
        stall_s=config.stall_s,
    )
    door = Door(broker, gate, intake, fanout, own, hand_on, slow_s=config.slow_s)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(own.run)
        await nursery.start(fanout.run)
        await nursery.start(door.run)
        for sock in sockets:
            door.listen(sock)
        yield
        deadline = trio.current_time() + config.grace_s
        async with trio.open_nursery() as leaving:
            leaving.start_soon(door.close, deadline)
            leaving.start_soon(fanout.close, deadline)
        nursery.cancel_scope.cancel()


def open_log(config: Config) -> AbstractAsyncContextManager[Log]:
    """The log that the configuration names."""
    if config.store == "memory:":
        return nullcontext(MemoryLog())
    if config.store == "sqlite:":
        return open_sqlite_log(config.data_dir)
    raise ConfigError(f"a store is 'sqlite:' or 'memory:', not {config.store!r}")


def make_gate(config: Config) -> Gate:
    """The gate that the configuration describes."""
    return Gate(
        make_authority(config),
        standing=Standing(max_subscribers=config.max_subscribers, max_per_token=config.max_subscribers_per_token),
        clock_us=lambda: time_ns() // 1000,
        sources=Sources(make_sources(config)),
        proxies=config.trusted_proxies,
        failures=config.failure_rate,
        publishes=config.publish_rate,
        unsafe_prefixes=config.unsafe_prefixes,
        max_body_bytes=config.max_body_bytes,
        origins=config.cors_origins,
    )


def make_authority(config: Config) -> Authority:
    """Whose tokens the hub honours."""
    return Authority(
        config.keys,
        digests=("sha1", "sha256") if config.sha1_tokens else ("sha256",),
        revoked=config.revoked,
        plain_live_only=config.plain_tokens_live_only,
    )


def make_sources(config: Config) -> Sequence[Source]:
    """Who has to prove themselves where: the configured ones, and by itself whom the GitHub router serves."""
    own = [Source("/unsafe/github.com/", load_provider("github"), _values(config.github_secrets))]
    return (own if config.github_secrets else []) + unless_wrong(read_sources(config.file))


def hub_metrics(broker: Broker, gate: Gate, routers: Routers) -> Metrics:
    """What ``/metrics`` tells."""
    metrics = Metrics()
    counts = broker.counts
    metrics.add("counter", "published", "Messages stored.", lambda: counts.published)
    metrics.add("counter", "published_bytes", "Bytes of their bodies.", lambda: counts.published_bytes)
    metrics.add("counter", "duplicates", "Publishes whose key was known: not stored again.", lambda: counts.duplicates)
    metrics.add("counter", "refused", "Requests answered with an error.", lambda: counts.refused, label="status")
    metrics.add("gauge", "head", "Position of the newest message.", lambda: broker.head)
    metrics.add("gauge", "subscribers", "Subscriptions that stand.", lambda: len(gate.standing))
    for field, help in ROUTER_METRICS.items():
        kind: Kind = "gauge" if field == "lag" else "counter"
        metrics.add(kind, f"router_{field}", help, partial(_by_router, routers, field), label="router")
    return metrics


def _by_router(routers: Routers, field: str) -> Mapping[str, float]:
    return {one["name"]: one[field] for one in routers.snapshot()}


def _values(secrets: Sequence[Secret]) -> Sequence[str]:
    return [secret.value for secret in secrets]


def limits(config: Config) -> Limits:
    """How much, and how long, a stranger may on the app's connections."""
    return Limits(
        slow_s=config.slow_s,
        stall_s=config.stall_s,
        ping_s=config.ping_s,
        deaf_s=config.deaf_s,
        grace_s=config.grace_s,
    )


def tls_context(config: Config) -> ssl.SSLContext | None:
    """TLS as configured; None without. Raises `ConfigError` for files that are none."""
    if config.tls_certificate is None or config.tls_key is None:
        if config.tls_certificate or config.tls_key:
            raise ConfigError("--sslcrt and --sslkey go together")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["h2", "http/1.1"])
    load_certificates(context, config)
    return context


def load_certificates(context: ssl.SSLContext, config: Config) -> None:
    """Show this certificate from the next handshake on, and ask clients for theirs; raises `ConfigError`."""
    try:
        context.load_cert_chain(str(config.tls_certificate), str(config.tls_key))
        if config.tls_client_authorities:
            context.load_verify_locations(str(config.tls_client_authorities))
            context.verify_mode = ssl.CERT_OPTIONAL
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"no TLS with {config.tls_certificate} and {config.tls_key}: {error}") from None


def bind(address: str) -> Sequence[socket.socket]:
    """Listening sockets for ``:PORT`` (every address), ``HOST:PORT`` or ``[IPV6]:PORT``. Raises `ConfigError`."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        raise ConfigError(f"an address to bind is [HOST]:PORT, not {address!r}")
    host = host.removeprefix("[").removesuffix("]")
    try:
        if not host and socket.has_dualstack_ipv6():
            return [socket.create_server(("", int(port)), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)]
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return [socket.create_server((host, int(port)), family=family, backlog=BACKLOG)]
    except (OSError, OverflowError) as error:
        raise ConfigError(f"cannot listen on {address!r}: {error}") from None


async def _end_what_is_not_granted(gate: Gate) -> None:
    while True:
        await trio.sleep(STANDING_INTERVAL_S)
        gate.standing.sweep(gate.authority, now_s=gate.now_s)


def _serve_soon(connections: trio.Nursery, server: Server, sock: socket.socket, prefix: bytes) -> None:
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
    connections.start_soon(server.serve_connection, PrefixedStream(prefix, stream))


def _listener(sock: socket.socket, context: ssl.SSLContext | None) -> trio.abc.Listener[Stream]:
    sock.setblocking(False)
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
    return listener if context is None else trio.SSLListener(listener, context, https_compatible=True)


def _url(sock: socket.socket, context: ssl.SSLContext | None) -> str:
    host, port = sock.getsockname()[:2]
    shown = "localhost" if host in ("::", "0.0.0.0") else f"[{host}]" if ":" in host else host  # noqa: S104
    return f"{'https' if context else 'http'}://{shown}:{port}"
