"""Listeners by the `websockets` library, in each of the formats that a websocket can have."""

import json
from base64 import b64decode
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from end_to_end.crashing.acknowledgements import Acknowledgements
from end_to_end.crashing.hub import Reachable
from end_to_end.crashing.listeners import SILENCE_S, Heard, Listener, compare
from end_to_end.crashing.senders import digest
from hookbot.protocol.message import format_time

POLL_S = 0.1
DIES = 0.0005
"""How often a client with a cursor or in a group dies, by message."""
ACKS = 0.05
"""How often the client with a cursor, or any member of a group, acknowledges, by message."""
BEHIND = 20
"""How many messages the client, or all members together, have in hand behind what they acknowledge, at most."""


class WebSocket(Listener):
    """A listener by the `websockets` library."""

    subprotocol: Subprotocol | None = None

    @contextmanager
    def connected(self, **query: Any) -> Iterator[tuple[ClientConnection, int]]:
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

    def frames(self, websocket: ClientConnection) -> Iterator[bytes | None]:
        """Frames as they arrive; None when none has arrived for a while."""
        while not self.over.is_set():
            try:
                yield websocket.recv(POLL_S, decode=False)
            except TimeoutError:
                yield None


class Raw(WebSocket):
    """The ancestor's frames, which have no ids: resumes from the time at which the last message was sent.

    That was before it was stored, so that nothing is missed; what was stored in between comes again.
    """

    def listen(self) -> None:
        with self.connected(since=self.since) as (websocket, life):
            self.begin(life, self.since)
            for frame in filter(None, self.frames(websocket)):
                topic, _, body = (
                    frame.partition(b"\0") if self.topic.endswith("/") else (self.topic.encode(), b"", frame)
                )
                self.note(Heard("", "", topic.decode(), digest(body)))
                self.since = format_time(json.loads(body.partition(b"\n")[0])["at_us"])

    def check(self, expected: list[Heard]) -> int:
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

    subprotocol = Subprotocol("hookbot.v1")

    def listen(self) -> None:
        with self.connected(since=self.since) as (websocket, life):
            self.read_hello(websocket)
            self.begin(life, self.since)
            for frame in filter(None, self.frames(websocket)):
                self.hear_object(json.loads(frame))

    def read_hello(self, websocket: ClientConnection) -> dict[str, Any]:
        hello: dict[str, Any] = json.loads(websocket.recv(SILENCE_S))
        assert hello["type"] == "hello", hello
        return hello

    def hear_object(self, said: dict[str, Any]) -> None:
        if said["type"] == "message":
            self.hear(said)
        else:
            self.hear_other(said)


class Cursor(V1):
    """``hookbot.v1`` with a cursor: acknowledges one of its last messages now and then, and dies now and then."""

    def __init__(self, hub: Reachable, name: str, topic: str, *, seed: str = "", **options: Any) -> None:
        super().__init__(hub, name, topic, seed=seed)
        self._options = options
        self.acks = [""]
        self.acknowledgements = Acknowledgements(hub)
        self._unacked: list[str] = []
        """What the current connection was given, and has not acknowledged."""

    def listen(self) -> None:
        with self.connected(cursor=self.name, since="all", max_unacked=200, **self._options) as (websocket, life):
            self.begin(life, self.read_hello(websocket)["position"], len(self.acks))
            for frame in self.frames(websocket):
                if frame:
                    self.hear_object(json.loads(frame))
                    if self.random.random() < ACKS:
                        self.ack(websocket, self.random.choice(self.sessions[-1].heard[-BEHIND:]).id)
                    if self.random.random() < DIES:
                        return
                elif heard := self.sessions[-1].heard:
                    # No message of an earlier connection: it may be on its way again.
                    self.ack(websocket, heard[-1].id)

    def begin(self, life: int, since: str, acked: int = 0) -> None:
        super().begin(life, since, acked)
        # What an earlier one was given is on its way again, and no longer held up by an acknowledgement.
        self._unacked.clear()

    def hear(self, envelope: dict[str, Any]) -> None:
        super().hear(envelope)
        self.acknowledgements.hear(envelope["id"], self.sessions[-1].life)
        self._unacked.append(envelope["id"])

    def ack(self, websocket: ClientConnection, id: str) -> None:
        """Acknowledge the latest message, never an earlier one: the hub may have died before it was saved."""
        self.acks.append(max(id, self.acks[-1]))
        websocket.send(json.dumps({"type": "ack", "id": self.acks[-1]}))
        self.acknowledgements.note((one for one in self._unacked if one <= self.acks[-1]), self.sessions[-1].life)
        self._unacked = [one for one in self._unacked if one > self.acks[-1]]

    def check(self, expected: list[Heard]) -> int:
        ids = [message.id for message in expected]
        for session in self.sessions:
            acked = self.acks[session.acked - 1]
            assert bisect_right(ids, session.since) <= bisect_right(ids, acked), (
                f"{self.name}: the hub was at {session.since}, the client at {acked}"
            )
        self.acknowledgements.check(self.name)
        return self.check_acknowledged(expected)


class CloudEvents(WebSocket):
    """``cloudevents.json``."""

    subprotocol = Subprotocol("cloudevents.json")

    def listen(self) -> None:
        with self.connected(since=self.since) as (websocket, life):
            self.begin(life, self.since)
            for frame in filter(None, self.frames(websocket)):
                event = json.loads(frame)
                if event["type"] == "hookbot.gap":
                    self.hear_other({"type": "gap", **event["data"]})
                    continue
                assert event["type"] == "hookbot.message", f"{self.name} was told {event}"
                self.note(Heard(event["id"], event["time"], event["subject"], digest(b64decode(event["data_base64"]))))
