"""The whole hub: log, broker, routers, fan-out, door and app, as siblings under one nursery.

What nobody expected, in any of them, ends the process, loudly. A router's failure does not.
"""

import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from time import time_ns

import trio

from . import poller
from .app import Hub, create_app
from .authority import Authority
from .broker import Broker, open_broker
from .config import Config, resolve_secret
from .door import Door, HandOn
from .errors import ConfigError
from .fanout import Fanout
from .gate import Gate
from .intake import Intake
from .log import Log, MemoryLog
from .log_sqlite import open_sqlite_log
from .routers.running import RouterSpec, open_routers
from .serving import Limits, PrefixedStream, Server
from .serving.streams import Stream
from .signatures import load_provider
from .sources import Source, Sources
from .streams import Closing

BACKLOG = 8192  # a storm of reconnecting subscribers waits here (Linux caps it at net.core.somaxconn)


@dataclass(frozen=True, slots=True)
class Running:
    """A hub that is listening."""

    urls: Sequence[str]
    """Where, for example ``http://127.0.0.1:8080``."""
    broker: Broker


async def run_hub(config: Config, started: Callable[[Running], None]) -> None:
    """Run a hub until SIGTERM or SIGINT; then finish what was accepted, within `grace_s`. Raises `ConfigError`."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with open_hub(config) as hub:
            started(hub)
            await anext(signals)


@asynccontextmanager
async def open_hub(config: Config) -> AsyncIterator[Running]:
    """A hub that listens for as long as the block lasts. Raises `ConfigError`."""
    sockets = bind(config.bind)
    context = tls_context(config)
    async with (
        open_log(config) as log,
        open_broker(log, config.retention) as broker,
        open_routers(broker, router_specs(config), resolve_secret) as routers,
    ):
        gate = make_gate(config)
        intake = Intake(config.max_body_bytes, config.max_receiving_bytes)
        closing = Closing()
        app = create_app(Hub(broker, gate, intake, config.heartbeat_s, closing, lambda: routers.running))
        server = Server(app, limits(config))
        async with trio.open_nursery() as connections:
            hand_on = partial(_serve_soon, connections, server)
            if context is None and config.door and poller.AVAILABLE:
                front: AbstractAsyncContextManager[None] = open_front(config, broker, gate, intake, sockets, hand_on)
            else:
                await connections.start(server.serve_listeners, [_listener(sock, context) for sock in sockets])
                front = nullcontext(None)
            async with front:
                yield Running([_url(sock, context) for sock in sockets], broker)
                closing.begin()
                server.shut_down()


@asynccontextmanager
async def open_front(
    config: Config, broker: Broker, gate: Gate, intake: Intake, sockets: Sequence[socket.socket], hand_on: HandOn
) -> AsyncIterator[None]:
    """The poller and what lies in it. When the block ends, everybody there is told, and has `grace_s` to leave."""
    own = poller.Poller()
    fanout = Fanout(
        broker,
        own,
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
        Authority(config.keys, digests=("sha1", "sha256") if config.sha1_tokens else ("sha256",)),
        clock_us=lambda: time_ns() // 1000,
        sources=Sources(make_sources(config)),
        unsafe_prefixes=config.unsafe_prefixes,
        max_body_bytes=config.max_body_bytes,
        origins=config.cors_origins,
    )


def make_sources(config: Config) -> Iterator[Source]:
    """Who has to prove themselves where: whom the GitHub router serves does, by itself."""
    if "github" in config.routers:
        secrets = [secret.value for secret in config.github_secrets]
        yield Source("/unsafe/github.com/", load_provider("github"), secrets)


def router_specs(config: Config) -> Sequence[RouterSpec]:
    """The routers to run; a GitHub router without secrets of its own gets the hub's."""
    specs = []
    for name in config.routers:
        options = dict(config.router_options.get(name, {}))
        if options.get("router", name) == "github":
            options.setdefault("secrets", [secret.value for secret in config.github_secrets])
        specs.append(RouterSpec.parse(name, options))
    return specs


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
    try:
        context.load_cert_chain(config.tls_certificate, config.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"no TLS with {config.tls_certificate} and {config.tls_key}: {error}") from None
    return context


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
