"""Listeners of every kind: whatever happens, they come back and go on where they were, and note what they hear.

`check` compares that with what the log holds: nothing is missing, everything is in order, and what came again had a
reason to. It returns how many messages that were.
"""

import http.client
import json
import random
import time
from base64 import b64decode
from contextlib import closing, suppress
from dataclasses import dataclass, field
from threading import Event
from typing import Any, NamedTuple

import httpx
import trio
from websockets.exceptions import WebSocketException

from end_to_end.crashing.hub import Reachable
from end_to_end.crashing.senders import digest
from hookbot.access.tokens import make_token
from hookbot.protocol.message import Gap
from support import KEY

LOST = (OSError, TimeoutError, httpx.TransportError, http.client.HTTPException, WebSocketException)
SILENCE_S = 10  # ten heartbeats
UNAVAILABLE = 503


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

    def __init__(self, hub: Reachable, name: str, topic: str, *, seed: str = "") -> None:
        self.hub = hub
        self.name = name
        self.topic = topic
        self.path = f"/sub/{topic}"
        self.headers = {"Authorization": f"Bearer {make_token(KEY, self.path)}"}
        self.since = "all"
        self.sessions: list[Session] = []
        self.may_miss_by = ""
        """The reason that a gap may have, if there may be one."""
        self.gaps: list[Gap] = []
        self.heard_at: list[float] = []
        """When each message arrived, on the monotonic clock."""
        self.over = Event()
        self.random = random.Random(f"{seed} {name}")

    @property
    def heard(self) -> list[Heard]:
        """All messages, in the order in which they arrived."""
        return [heard for session in self.sessions for heard in session.heard]

    async def run(self) -> None:
        """Listen until `end`."""
        await trio.to_thread.run_sync(self._keep_listening, limiter=trio.CapacityLimiter(1))

    def end(self) -> None:
        """Tell the listener that no more messages follow."""
        self.over.set()

    def listen(self) -> None:
        """Listen on one connection."""
        raise NotImplementedError

    def check(self, expected: list[Heard]) -> int:
        """Check the rule for listeners that resume after an id: every message once."""
        compare(self.name, self.heard, expected)
        return 0

    def begin(self, life: int, since: str, acked: int = 0) -> None:
        """Note a new connection. Raises `OSError` if the hub was killed meanwhile: its process is unknown then."""
        if life != self.hub.life:
            raise OSError("too late")
        self.sessions.append(Session(life, since, acked))

    def check_status(self, status: int) -> None:
        """Check that the hub accepts a listener. Raises `OSError` if it has just started, and not yet its log."""
        if status == UNAVAILABLE:
            raise OSError("too early")
        assert status == 200, f"{self.name} was answered {status}"

    def hear(self, envelope: dict[str, Any]) -> None:
        """Note a message, and resume after it."""
        body = b64decode(envelope["body_base64"]) if "body_base64" in envelope else envelope["body"].encode()
        self.note(Heard(envelope["id"], envelope["time"], envelope["topic"], digest(body)))

    def note(self, heard: Heard) -> None:
        """Note a message, and resume after it."""
        self.sessions[-1].heard.append(heard)
        self.heard_at.append(time.monotonic())
        self.since = heard.id

    def hear_other(self, said: dict[str, Any]) -> None:
        """Resume after a heartbeat, or note a gap; no other kind of frame is expected."""
        if said["type"] == "gap":
            self.note_gap(Gap(said["reason"], said["after"], said["before"]))
            return
        assert said["type"] == "heartbeat", f"{self.name} was told {said}"
        self.since = said["id"]

    def note_gap(self, gap: Gap) -> None:
        """Note a gap, which is told again unless a message follows it on the same connection."""
        assert gap.reason == self.may_miss_by, f"{self.name} was told {gap}"
        self.gaps.append(gap)

    def check_acknowledged(self, expected: list[Heard]) -> int:
        """Check the rule of cursors: in order on each connection, and nothing skipped that was not received before."""
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

    def _keep_listening(self) -> None:
        while not self.over.is_set():
            with suppress(*LOST):
                self.listen()
            self.over.wait(self.random.uniform(0, 0.2))


class ServerSentEvents(Listener):
    """Server-sent events by httpx, resumed with ``Last-Event-ID`` as a browser does."""

    def listen(self) -> None:
        life = self.hub.life
        headers = self.headers | {"Accept": "text/event-stream", "Last-Event-ID": self.since}
        with httpx.stream("GET", self.hub.url(self.path), headers=headers, timeout=SILENCE_S, verify=False) as answer:
            self.check_status(answer.status_code)
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

    def _hear_event(self, event: dict[str, str]) -> None:
        said = json.loads(event["data"])
        # Browsers resume after the last event that had one: a gap has none.
        assert said.get("id") == event.get("id")
        if event["event"] == "message":
            self.hear(said)
        else:
            self.hear_other({"type": event["event"], **said})


class JsonLines(Listener):
    """JSON lines by the standard library."""

    def listen(self) -> None:
        life = self.hub.life
        connection = http.client.HTTPConnection("127.0.0.1", self.hub.port, timeout=SILENCE_S)
        with closing(connection):
            headers = self.headers | {"Accept": "application/x-ndjson"}
            connection.request("GET", f"{self.path}?since={self.since}", headers=headers)
            answer = connection.getresponse()
            self.check_status(answer.status)
            self.begin(life, self.since)
            while (line := answer.readline()).endswith(b"\n") and not self.over.is_set():
                said = json.loads(line)
                if "type" in said:
                    self.hear_other(said)
                else:
                    self.hear(said)


def compare(name: str, heard: list[Any], expected: list[Any]) -> None:
    """Raise an error that shows the first difference."""
    if heard != expected:
        at = next((at for at, (one, other) in enumerate(zip(heard, expected, strict=False)) if one != other), None)
        if at is not None:
            raise AssertionError(f"{name} heard {heard[at]} as number {at}, not {expected[at]}")
        raise AssertionError(f"{name} heard {len(heard)} of {len(expected)}")
