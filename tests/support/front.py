"""A hub's front in this process, on a real socket: log, broker, gate, door and fan-out; and clients of it."""

from base64 import b64encode
from contextlib import asynccontextmanager
from dataclasses import dataclass
from socket import SO_LINGER, SO_RCVBUF, SO_SNDBUF, SOL_SOCKET, create_server
from struct import pack
from urllib.parse import unquote

import pytest
import trio
from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.uri import parse_uri

from hookbot.access.active_subscriptions import ActiveSubscriptions
from hookbot.access.authorizer import Authorizer
from hookbot.access.control import AccessControl
from hookbot.access.tokens import make_token
from hookbot.broker.broker import Broker, open_broker
from hookbot.broker.consumers import open_consumers
from hookbot.log.memory import MemoryLog
from hookbot.protocol.message import Draft, wall_clock_us
from hookbot.web.fastpath.epoll import AVAILABLE, EpollLoop
from hookbot.web.fastpath.fanout import Fanout
from hookbot.web.fastpath.listener import FastPath
from hookbot.web.limits import BodyBudget, ConnectionLimits
from hookbot.web.metrics import Metrics
from hookbot.web.services import Readiness, Services
from hookbot.web.streams import Streams

GUARD_S = 30  # only ever reached by a test that fails
KEY = "the key of the tests"
NEVER_S = 10_000


@dataclass
class Front:
    """A front that listens, and everything in it."""

    port: int
    broker: Broker
    access: AccessControl
    door: FastPath
    fanout: Fanout
    bodies: BodyBudget
    active: ActiveSubscriptions
    handed_on: list
    """What was handed on to the app: each the bytes that were read already."""
    clients: list

    async def connect(self, *, receive_buffer=None):
        client = Client(await connect(self.port, receive_buffer=receive_buffer))
        self.clients.append(client)
        return client

    async def ask(self, sent):
        """Everything that comes back until the hub closes; our side is closed behind what is sent."""
        client = await self.connect()
        await client.send(sent)
        await client.stream.send_eof()
        return await client.rest()

    async def listen(self, path="/sub/topic", *, headers=(), subprotocol=None, receive_buffer=None):
        """A websocket whose handshake was answered."""
        client = await self.connect(receive_buffer=receive_buffer)
        listener = Listener(client, self.port, path, subprotocol)
        await listener.shake_hands(headers)
        return listener

    async def subscribe(self, path="/sub/topic", *fields):
        """A client behind whose handshake's answer there are only frames, as bytes."""
        client = await self.connect()
        await client.send(handshake(path, *fields))
        answer = await client.until(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        return client

    async def publish(self, topic="topic", body=b"hello"):
        return await self.broker.publish(Draft(topic, body))

    def stored(self):
        """What the log holds, as (topic, body)."""
        entries = [entry for half in self.broker.log._entries for entry in half]
        return [(message.topic, message.body) for _, message in sorted(entries, key=lambda entry: entry[0])]


@asynccontextmanager
async def open_front(*, log=None, hand_over=None, retention=None, send_buffer=None, **limits):
    """A front on a port of its own; what is handed over is answered by ``299``, unless `hand_over` takes them."""
    if not AVAILABLE:
        pytest.skip("no epoll here: the hub runs on the app alone")
    handed_on = []

    def answer_handed_on(sock, prefix):
        handed_on.append(prefix)
        with sock:
            sock.send(b"HTTP/1.1 299 Handed On\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    sock = create_server(("127.0.0.1", 0), backlog=4096)
    if send_buffer:
        sock.setsockopt(SOL_SOCKET, SO_SNDBUF, send_buffer)
    max_body_bytes = limits.pop("max_body_bytes", 1 << 20)
    bodies = BodyBudget(max_body_bytes, limits.pop("max_receiving_bytes", 16 << 20))
    access = AccessControl(
        Authorizer([KEY]), clock_us=wall_clock_us, max_body_bytes=max_body_bytes, **limits.pop("access", {})
    )
    heartbeat_s = limits.pop("heartbeat_s", NEVER_S)
    limits = ConnectionLimits(**{**dict.fromkeys(("slow_s", "ping_s", "deaf_s", "stall_s"), NEVER_S), **limits})
    with trio.fail_after(GUARD_S):
        async with (
            open_broker(log or MemoryLog(), retention) as broker,
            open_consumers(broker) as consumers,
            trio.open_nursery() as nursery,
        ):
            streams = Streams(broker, access.active, heartbeat_s)
            readiness = Readiness(broker.log, lambda: True)
            services = Services(broker, access, bodies, consumers, streams, readiness, Metrics(), list)
            epoll = EpollLoop()
            fanout = Fanout(services, epoll, limits)
            door = FastPath(services, fanout, epoll, limits, hand_over or answer_handed_on)
            front = Front(sock.getsockname()[1], broker, access, door, fanout, bodies, access.active, handed_on, [])
            nursery.start_soon(epoll.run)
            await nursery.start(fanout.run)
            await nursery.start(door.run)
            door.listen(sock)
            try:
                yield front
            finally:
                with trio.CancelScope(shield=True):
                    for client in front.clients:
                        await trio.aclose_forcefully(client.stream)
                    await door.close(trio.current_time())
                    await fanout.close(trio.current_time())
                nursery.cancel_scope.cancel()


async def connect(port, *, receive_buffer=None):
    sock = trio.socket.socket()
    if receive_buffer:
        sock.setsockopt(SOL_SOCKET, SO_RCVBUF, receive_buffer)
    try:
        await sock.connect(("127.0.0.1", port))
    except OSError:
        sock.close()
        raise
    return trio.SocketStream(sock)


@dataclass
class Answer:
    """An HTTP response."""

    status: int
    headers: dict
    body: bytes


class Client:
    """One connection to a hub, that can be as rude as a test wants."""

    def __init__(self, stream):
        self.stream = stream
        self.received = b""

    async def send(self, data, *, bytewise=False):
        for start in range(0, len(data), 1 if bytewise else len(data) or 1):
            await self.stream.send_all(data[start : start + 1] if bytewise else data)

    async def until(self, mark):
        """What comes up to `mark` and with it; what comes after it stays for the next."""
        while mark not in self.received:
            await self.more()
        found, _, self.received = self.received.partition(mark)
        return found + mark

    async def exactly(self, size):
        while len(self.received) < size:
            await self.more()
        found, self.received = self.received[:size], self.received[size:]
        return found

    async def more(self):
        data = await self.stream.receive_some(65536)
        assert data, f"closed after {self.received!r}"
        self.received += data

    async def rest(self):
        """What comes until the hub closes."""
        async for data in self.stream:
            self.received += data
        found, self.received = self.received, b""
        return found

    async def answer(self):
        """The next whole response."""
        status, *fields = (await self.until(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        return Answer(int(status.split()[1]), headers, await self.exactly(int(headers.get("content-length", 0))))

    async def closed(self):
        """Wait until the hub has closed the connection, with nothing more to say."""
        assert await self.rest() == b""

    async def reset(self):
        """End the connection as a crash would."""
        self.stream.socket.setsockopt(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))
        await trio.aclose_forcefully(self.stream)


class Listener:
    """The `websockets` library's client protocol over a `Client`: pings answered, every frame as it came."""

    def __init__(self, client, port, path, subprotocol=None):
        self.client = client
        uri = parse_uri(f"ws://127.0.0.1:{port}{path}")
        self.protocol = ClientProtocol(uri, subprotocols=[subprotocol] if subprotocol else None, max_size=None)
        self.frames = []
        self.pongs = True

    async def shake_hands(self, headers=()):
        request = self.protocol.connect()
        request.headers["Authorization"] = f"Basic {basic(request.path)}"
        for name, value in headers:
            request.headers[name] = value
        self.protocol.send_request(request)
        await self.flush()
        response = (await self.events(1))[0]
        assert response.status_code == 101, response
        assert self.protocol.handshake_exc is None, self.protocol.handshake_exc

    async def events(self, count):
        """At least so many events of the protocol."""
        while len(self.frames) < count:
            data = await self.client.stream.receive_some(65536)
            if data:
                self.protocol.receive_data(data)
            else:
                self.protocol.receive_eof()
            for event in self.protocol.events_received():
                if getattr(event, "opcode", None) not in (Opcode.PING, Opcode.PONG):
                    self.frames.append(event)
            if self.pongs:
                await self.flush()
            if not data:
                break
        found, self.frames = self.frames[:count], self.frames[count:]
        return found

    async def flush(self):
        for data in self.protocol.data_to_send():
            if data:
                await self.client.send(data)
            else:
                await self.client.stream.send_eof()

    async def frame(self):
        """The next frame that is no ping or pong."""
        return (await self.events(1))[0]

    async def payload(self):
        """The payload of the next frame."""
        return bytes((await self.frame()).data)

    async def payloads(self, count):
        return [bytes(frame.data) for frame in await self.events(count)]

    async def closed(self):
        """The code of the hub's goodbye, when the hub has closed the connection."""
        while await self.events(1):
            pass
        return self.protocol.close_rcvd and self.protocol.close_rcvd.code


def basic(path):
    """Basic credentials for the path of a target."""
    return b64encode(f"{make_token(KEY, unquote(path.partition('?')[0]))}:".encode()).decode()


def post(path="/pub/topic", body=b"hello", *fields, version="1.1", token=None):
    """The bytes of a publish; a body of None leaves the headers as they are."""
    lines = [f"POST {path} HTTP/{version}", "Host: hub", f"Authorization: Basic {token or basic(path)}"]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, *fields, "", ""]).encode("latin-1") + (body or b"")


def handshake(path="/sub/topic", *fields, token=None):
    """The bytes of a websocket handshake."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: hub",
        f"Authorization: Basic {token or basic(path)}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
    return "\r\n".join([*lines, *fields, "", ""]).encode("latin-1")
