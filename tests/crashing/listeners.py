"""Listeners of every kind: whatever happens, they come back and go on where they were, and note what they hear.

`check` compares that with what the log holds: nothing is missing, everything is in order, and what came again had a
reason to. It returns how many messages that were.
"""

import http.client
import json
import random
from base64 import b64decode
from bisect import bisect_left, bisect_right
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event
from typing import NamedTuple
from urllib.parse import urlencode

import httpx
import trio
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

import hookbot
from hookbot.client import Connected
from hookbot.message import format_time
from hookbot.tokens import make_token

from .hub import KEY
from .senders import digest

LOST = (OSError, TimeoutError, httpx.TransportError, http.client.HTTPException, WebSocketException)
POLL_S = 0.1
SILENCE_S = 10  # ten heartbeats
DIES = 0.0005
"""How often a client with a cursor or in a group dies, by message."""


class Heard(NamedTuple):
    """A message as it came; raw frames have neither id nor time."""

    id: str
    time: str
    topic: str
    body: bytes


@dataclass
class Session:
    """One connection, from the hub's first word on."""

    life: int
    since: str
    """Where it was to begin."""
    acked: int = 0
    """How many acknowledgements were sent before."""
    heard: list[Heard] = field(default_factory=list)


class Listener:
    """Listens, in a thread, and again when the connection breaks, until it is told that this was all."""

    def __init__(self, hub, name, topic, *, seed=0):
        self.hub = hub
        self.name = name
        self.topic = topic
        self.path = f"/sub/{topic}"
        self.headers = {"Authorization": f"Bearer {make_token(KEY, self.path)}"}
        self.since = "all"
        self.sessions = []
        self.over = Event()
        self.random = random.Random(f"{seed} {name}")

    @property
    def heard(self):
        """Everything, in the order in which it came."""
        return [heard for session in self.sessions for heard in session.heard]

    async def run(self):
        """Listen until `end`."""
        await trio.to_thread.run_sync(self._keep_listening, limiter=trio.CapacityLimiter(1))

    def end(self):
        """This was all."""
        self.over.set()

    def listen(self):
        """Listen on one connection."""
        raise NotImplementedError

    def check(self, expected):
        """The rule of those who resume after an id: everything once."""
        compare(self.name, self.heard, expected)
        return 0

    def begin(self, life, since, acked=0):
        """A connection stands; if the hub was killed meanwhile, nobody knows in which of its lives."""
        if life != self.hub.life:
            raise OSError("too late")
        self.sessions.append(Session(life, since, acked))

    def hear(self, envelope):
        """Note a message, and resume after it."""
        body = b64decode(envelope["body_base64"]) if "body_base64" in envelope else envelope["body"].encode()
        self.note(Heard(envelope["id"], envelope["time"], envelope["topic"], digest(body)))

    def note(self, heard):
        """Note a message, and resume after it."""
        self.sessions[-1].heard.append(heard)
        self.since = heard.id

    def hear_other(self, said):
        """A heartbeat is a place to resume from as well; nothing else should be told."""
        assert said["type"] == "heartbeat", f"{self.name} was told {said}"
        self.since = said["id"]

    def check_acknowledged(self, expected):
        """The rule of cursors: in order on each connection, and nothing is left out that was not heard before."""
        places = {message.id: place for place, message in enumerate(expected)}
        reached = 0
        for session in self.sessions:
            last = -1
            for heard in session.heard:
                place = places[heard.id]
                assert heard == expected[place], f"{self.name} heard {heard}, not {expected[place]}"
                assert last < place <= reached, f"{self.name} heard number {place} after {last}, of {reached}"
                last, reached = place, max(reached, place + 1)
        assert reached == len(expected), f"{self.name} heard {reached} of {len(expected)}"
        return len(self.heard) - len(expected)

    def _keep_listening(self):
        while not self.over.is_set():
            with suppress(*LOST):
                self.listen()
            self.over.wait(self.random.uniform(0, 0.2))


class WebSocket(Listener):
    """By the `websockets` library."""

    subprotocol = None

    @contextmanager
    def connected(self, **query):
        """A websocket, and the life of the hub that it belongs to."""
        life = self.hub.life
        with connect(
            f"{self.hub.url(self.path).replace('http', 'ws')}?{urlencode(query)}",
            subprotocols=[self.subprotocol] if self.subprotocol else None,
            additional_headers=self.headers,
            compression=None,
            proxy=None,
            max_size=None,
            close_timeout=2,
        ) as websocket:
            yield websocket, life

    def frames(self, websocket):
        """What comes; None when nothing does for a while."""
        while not self.over.is_set():
            try:
                frame = websocket.recv(POLL_S)
            except TimeoutError:
                frame = None
            yield frame


class Raw(WebSocket):
    """The ancestor's frames, which have no ids: resumes from the time at which the last message was sent.

    That was before it was stored, so that nothing is missed; what was stored in between comes again.
    """

    def listen(self):
        with self.connected(since=self.since) as (websocket, life):
            self.begin(life, self.since)
            for frame in filter(None, self.frames(websocket)):
                topic, _, body = (
                    frame.partition(b"\0") if self.topic.endswith("/") else (self.topic.encode(), b"", frame)
                )
                self.note(Heard("", "", topic.decode(), digest(body)))
                self.since = format_time(json.loads(body.partition(b"\n")[0])["at_us"])

    def check(self, expected):
        times = [message.time for message in expected]
        bare = [message._replace(id="", time="") for message in expected]
        reached = 0
        for session in self.sessions:
            start = 0 if session.since == "all" else bisect_left(times, session.since)
            assert start <= reached, f"{self.name} missed {reached} to {start} of what it should have heard"
            end = start + len(session.heard)
            compare(self.name, session.heard, bare[start:end])
            reached = max(reached, end)
        assert reached == len(expected), f"{self.name} heard {reached} of {len(expected)}"
        return len(self.heard) - len(expected)


class V1(WebSocket):
    """``hookbot.v1``: resumes after the last message, or heartbeat."""

    subprotocol = "hookbot.v1"

    def listen(self):
        with self.connected(since=self.since) as (websocket, life):
            self.read_hello(websocket)
            self.begin(life, self.since)
            for frame in filter(None, self.frames(websocket)):
                self.hear_object(json.loads(frame))

    def read_hello(self, websocket):
        hello = json.loads(websocket.recv(SILENCE_S))
        assert hello["type"] == "hello", hello
        return hello

    def hear_object(self, said):
        if said["type"] == "message":
            self.hear(said)
        else:
            self.hear_other(said)


class Cursor(V1):
    """``hookbot.v1`` with a cursor: acknowledges one of its last messages now and then, and dies now and then."""

    def __init__(self, hub, name, topic, *, seed=0):
        super().__init__(hub, name, topic, seed=seed)
        self.acks = [""]

    def listen(self):
        with self.connected(cursor=self.name, since="all", max_unacked=200) as (websocket, life):
            self.begin(life, self.read_hello(websocket)["position"], len(self.acks))
            for frame in self.frames(websocket):
                if frame:
                    self.hear_object(json.loads(frame))
                    if self.random.random() < 0.05:
                        self.ack(websocket, self.random.choice(self.sessions[-1].heard[-20:]).id)
                    if self.random.random() < DIES:
                        return
                elif self.heard:
                    self.ack(websocket, self.heard[-1].id)

    def ack(self, websocket, id):
        """Say how far it is; never less than before, as the hub may have died before it was saved."""
        self.acks.append(max(id, self.acks[-1]))
        websocket.send(json.dumps({"type": "ack", "id": self.acks[-1]}))

    def check(self, expected):
        ids = [message.id for message in expected]
        for session in self.sessions:
            acked = self.acks[session.acked - 1]
            assert bisect_right(ids, session.since) <= bisect_right(ids, acked), (
                f"{self.name}: the hub was at {session.since}, the client at {acked}"
            )
        return self.check_acknowledged(expected)


class CloudEvents(WebSocket):
    """``cloudevents.json``."""

    subprotocol = "cloudevents.json"

    def listen(self):
        with self.connected(since=self.since) as (websocket, life):
            self.begin(life, self.since)
            for frame in filter(None, self.frames(websocket)):
                event = json.loads(frame)
                assert event["type"] == "hookbot.message", f"{self.name} was told {event}"
                self.note(Heard(event["id"], event["time"], event["subject"], digest(b64decode(event["data_base64"]))))


class ServerSentEvents(Listener):
    """As a browser does it: by httpx, with ``Last-Event-ID``."""

    def listen(self):
        life = self.hub.life
        headers = self.headers | {"Accept": "text/event-stream", "Last-Event-ID": self.since}
        with httpx.stream("GET", self.hub.url(self.path), headers=headers, timeout=SILENCE_S, verify=False) as answer:
            answer.raise_for_status()
            self.begin(life, self.since)
            event = {}
            for line in answer.iter_lines():
                if line:
                    name, _, value = line.partition(": ")
                    event[name] = value
                elif event:
                    self._hear_event(event)
                    event = {}
                if self.over.is_set():
                    return

    def _hear_event(self, event):
        said = json.loads(event["data"])
        assert said["id"] == event["id"]
        if event["event"] == "message":
            self.hear(said)
        else:
            self.hear_other({"type": event["event"], **said})


class JsonLines(Listener):
    """By the standard library."""

    def listen(self):
        life = self.hub.life
        connection = http.client.HTTPConnection("127.0.0.1", self.hub.port, timeout=SILENCE_S)
        with closing(connection):
            headers = self.headers | {"Accept": "application/x-ndjson"}
            connection.request("GET", f"{self.path}?since={self.since}", headers=headers)
            answer = connection.getresponse()
            assert answer.status == 200
            self.begin(life, self.since)
            while (line := answer.readline()).endswith(b"\n") and not self.over.is_set():
                said = json.loads(line)
                if "type" in said:
                    self.hear_other(said)
                else:
                    self.hear(said)


class Client(Listener):
    """Our own client, which does by itself what the others do here."""

    async def run(self):
        with self._running:
            await self.listen_with(since="all")

    def __init__(self, hub, name, topic, *, seed=0):
        super().__init__(hub, name, topic, seed=seed)
        self._running = trio.CancelScope()

    def end(self):
        self._running.cancel()

    async def listen_with(self, **options):
        token = make_token(KEY, self.path)
        async with hookbot.listen(self.hub.url(self.path), token=token, on_event=self._on_event, **options) as messages:
            async for message in messages:
                assert isinstance(message, hookbot.Message), f"{self.name} was told {message}"
                self.note(Heard(message.id, format_time(message.time_us), message.topic, digest(message.body)))

    def _on_event(self, event):
        if isinstance(event, Connected):
            self.begin(self.hub.life, "")


class ClientCursor(Client):
    """Our own client with a cursor, in a program that is restarted every few seconds."""

    async def run(self):
        with self._running:
            while True:
                with trio.move_on_after(self.random.uniform(1, 6)):
                    await self.listen_with(cursor=self.name, since="all")

    def check(self, expected):
        return self.check_acknowledged(expected)


def compare(name, heard, expected):
    """Raises with the first difference."""
    if heard != expected:
        at = next((at for at, (one, other) in enumerate(zip(heard, expected, strict=False)) if one != other), None)
        if at is not None:
            raise AssertionError(f"{name} heard {heard[at]} as number {at}, not {expected[at]}")
        raise AssertionError(f"{name} heard {len(heard)} of {len(expected)}")
