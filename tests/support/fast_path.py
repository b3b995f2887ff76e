"""A hub's fast path alone, in this process, on a real socket: log, broker, access control and fan-out."""

import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from socket import SO_SNDBUF, SOL_SOCKET, create_server
from typing import Any

import pytest
import trio

from hookbot.access.active_subscriptions import ActiveSubscriptions
from hookbot.access.authorizer import Authorizer
from hookbot.access.control import AccessControl
from hookbot.alerts.watching import Alerts
from hookbot.broker.broker import Broker, open_broker
from hookbot.broker.consumers import open_consumers
from hookbot.broker.limits import BrokerLimits
from hookbot.broker.time_slices import Line
from hookbot.log.memory import MemoryLog
from hookbot.log.retention import Retention
from hookbot.protocol.message import Draft, Message, wall_clock_us
from hookbot.web.bodies import BodyBudget
from hookbot.web.fastpath.connection import FastPathConnection
from hookbot.web.fastpath.context import Context, HandOver
from hookbot.web.fastpath.epoll import AVAILABLE, EpollLoop
from hookbot.web.fastpath.fanout import Fanout
from hookbot.web.fastpath.listener import FastPath
from hookbot.web.fastpath.subscriber import Subscriber
from hookbot.web.held_bytes import HeldBytes
from hookbot.web.limits import ConnectionLimits
from hookbot.web.metrics import Metrics
from hookbot.web.replies import Replies
from hookbot.web.services import Readiness, Services
from hookbot.web.streams import Streams
from hookbot.web.tls import Tls
from hookbot.web.unauthenticated import UnauthenticatedConnections
from support import GUARD_S, KEY
from support.clients import Client, WebSocket, basic, connect, handshake
from support.tls import ENCRYPTED, client_context, hub_context

NEVER_S = 10_000
PATH = "/pub/topic"
CHUNKED = "Transfer-Encoding: chunked"
SMALL = 4096
"""A socket buffer that a few messages fill."""
BIG = 100_000
"""A message that no small buffer holds."""


@dataclass
class FastPathHub:
    """A fast path that listens, and everything that it works with."""

    port: int
    broker: Broker
    access: AccessControl
    fast_path: FastPath
    fanout: Fanout
    bodies: BodyBudget
    active: ActiveSubscriptions
    log: MemoryLog
    handed_over: list[bytes]
    """What was handed over to the app: each the bytes that were read already."""
    clients: list[Client]

    @property
    def tls(self) -> Tls | None:
        """The hub's TLS, if its connections are encrypted."""
        return self.fast_path._listeners[0]._tls

    @property
    def services(self) -> Services:
        """The parts of the hub that answer requests."""
        return self.fast_path._context.services

    @property
    def connections(self) -> list[FastPathConnection]:
        """The connections that are neither closed nor handed over."""
        return [one for one in self.fast_path._context.connections if isinstance(one, FastPathConnection)]

    @property
    def subscriber(self) -> Subscriber:
        """The only subscriber."""
        [subscriber] = self.fanout._subscribers
        return subscriber

    async def connect(self, *, receive_buffer: int | None = None) -> Client:
        client = await connect(self.port, receive_buffer=receive_buffer, tls=client_context() if self.tls else None)
        self.clients.append(client)
        return client

    async def ask(self, sent: bytes) -> bytes:
        """Everything that comes back until the hub closes; our side is closed behind what is sent."""
        client = await self.connect()
        await client.send(sent)
        await client.send_eof()
        return await client.rest()

    async def listen(
        self,
        path: str = "/sub/topic",
        *,
        headers: Iterable[tuple[str, str]] = (),
        subprotocol: str | None = None,
        receive_buffer: int | None = None,
    ) -> WebSocket:
        """A websocket whose handshake was answered."""
        client = await self.connect(receive_buffer=receive_buffer)
        authorization = ("Authorization", f"Basic {basic(path)}")
        listener = WebSocket(client, path, subprotocol, headers=[authorization, *headers])
        await listener.ask()
        return await listener.accepted()

    async def subscribe(self, path: str = "/sub/topic", *fields: str) -> Client:
        """A client behind whose handshake's answer there are only frames, as bytes."""
        client = await self.connect()
        await client.send(handshake(path, *fields))
        answer = await client.until(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        return client

    async def publish(self, topic: str = "topic", body: bytes = b"hello") -> Message:
        message = await self.broker.publish(Draft(topic, body))
        assert isinstance(message, Message)
        return message

    def stored(self) -> list[tuple[str, bytes]]:
        """All stored messages, as (topic, body)."""
        entries = [entry for entries in self.log._entries.values() for entry in entries]
        return [(message.topic, message.body) for _, message in sorted(entries, key=lambda entry: entry[0])]


async def settled(condition: Callable[[], object]) -> None:
    """Let all tasks run until a condition holds that no event tells of; also while the test's clock stands still."""
    while not condition():
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def running_epoll(
    line: Line | None = None, gather: Callable[[], None] = lambda: None, flush: Callable[[], None] = lambda: None
) -> AsyncIterator[EpollLoop]:
    """An epoll loop that runs until the block ends."""
    if not AVAILABLE:
        pytest.skip("no epoll here: the hub runs on the app alone")
    async with trio.open_nursery() as nursery:
        epoll = EpollLoop(line or Line(), gather, flush)
        nursery.start_soon(epoll.run)
        yield epoll
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_fast_path(
    *,
    log: Any = None,
    hand_over: HandOver | None = None,
    app_made: trio.Event | None = None,
    retention: Retention | None = None,
    send_buffer: int | None = None,
    broker_limits: BrokerLimits | None = None,
    max_body_bytes: int = 1 << 20,
    max_receiving_bytes: int = 16 << 20,
    heartbeat_s: float = NEVER_S,
    unauthenticated: UnauthenticatedConnections | None = None,
    access: Mapping[str, Any] | None = None,
    tls: Tls | None = None,
    **limits: Any,
) -> AsyncIterator[FastPathHub]:
    """A fast path on a port of its own; what is handed over is answered by ``299``, unless `hand_over` takes them.

    Without `app_made`, there is an app from the beginning. `access` are options of access control.
    With `tls`, or in a test that is `ENCRYPTED`, connections are encrypted. No limit is ever reached, but for the
    given ones.
    """
    if not AVAILABLE:
        pytest.skip("no epoll here: the hub runs on the app alone")
    if tls is None and ENCRYPTED.get():
        tls = Tls(hub_context())
    log = log or MemoryLog()
    handed_over: list[bytes] = []

    def answer_handed_over(sock: socket.socket, prefix: bytes) -> None:
        handed_over.append(prefix)
        with sock:
            sock.send(b"HTTP/1.1 299 Handed Over\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    sock = create_server(("127.0.0.1", 0), backlog=4096)
    if send_buffer:
        sock.setsockopt(SOL_SOCKET, SO_SNDBUF, send_buffer)
    control = AccessControl(Authorizer([KEY]), clock_us=wall_clock_us, max_body_bytes=max_body_bytes, **(access or {}))
    never = dict.fromkeys(("slow_s", "ping_s", "deaf_s", "stall_s"), NEVER_S)
    connection_limits = ConnectionLimits(**{**never, "sweep_s": 0.01, **limits})
    bodies = BodyBudget(max_body_bytes, max_receiving_bytes, connection_limits)
    with trio.fail_after(GUARD_S):
        async with (
            open_broker(log, retention, limits=broker_limits) as broker,
            open_consumers(broker) as consumers,
            trio.open_nursery() as nursery,
        ):
            streams = Streams(broker, control.active, heartbeat_s, HeldBytes(connection_limits.max_held_bytes))
            readiness = Readiness(broker.log, lambda: "", broker.clock)
            services = Services(
                broker,
                control,
                bodies,
                unauthenticated or UnauthenticatedConnections(),
                consumers,
                streams,
                readiness,
                Metrics(),
                Alerts(broker, consumers, list, ()),
                list,
                Replies(broker, lambda: control.replies),
            )
            epoll = EpollLoop(broker.line, broker.gather, broker.flush)
            fanout = Fanout(services, epoll, connection_limits)
            if app_made is None:
                app_made = trio.Event()
                app_made.set()
            hand_over = hand_over or answer_handed_over
            fast_path = FastPath(Context(services, fanout, epoll, connection_limits, hand_over, app_made))
            port = sock.getsockname()[1]
            hub = FastPathHub(
                port, broker, control, fast_path, fanout, bodies, control.active, log, handed_over, clients=[]
            )
            nursery.start_soon(epoll.run)
            await nursery.start(fanout.run)
            await nursery.start(fast_path.run)
            fast_path.listen(sock, tls)
            try:
                yield hub
            finally:
                with trio.CancelScope(shield=True):
                    for client in hub.clients:
                        await trio.aclose_forcefully(client.stream)
                    await fast_path.close(trio.current_time())
                    await fanout.close(trio.current_time())
                nursery.cancel_scope.cancel()
