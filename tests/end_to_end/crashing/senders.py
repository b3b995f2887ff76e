"""Senders that publish again until each publish is acknowledged, whatever happens."""

import json
import random
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from hashlib import blake2b
from math import inf
from typing import Any, NamedTuple

import httpx
import trio

from end_to_end.crashing.hub import SECRET, Reachable, http_client
from hookbot.access.tokens import make_token
from hookbot.backoff import Backoff
from hookbot.client import open_publisher
from hookbot.client.publisher import Publisher
from hookbot.signatures import SignedRequest, load_provider
from support import KEY

TRY_AGAIN = (409, 503)
SIZES = (50, 50, 50, 300, 300, 2_000, 20_000)
HUGE = 300_000  # so large that it is encoded in a thread
ANY_BYTES = bytes(range(256))
ANSWER_S = 10
PATIENCE_S = 300
# The hub dies every few seconds: our client comes back as soon as the others.
QUICK_BACKOFF = partial(Backoff, 0.05, 0.5)

Publish = Callable[[deque[bytes]], Awaitable[None]]


class Acknowledged(NamedTuple):
    """A publish that the hub has acknowledged."""

    id: str
    body: bytes
    at: float
    """When that was, on the monotonic clock."""


def digest(body: bytes) -> bytes:
    """Digest that represents a body: there are many, and some are large."""
    return blake2b(body, digest_size=8).digest()


class Sender:
    """Publishes one message after the other until stopped; then until all are acknowledged."""

    burst = 1

    def __init__(
        self,
        hub: Reachable,
        name: str,
        topic: str,
        *,
        keyed: bool = True,
        pause_s: float = 0.03,
        limit: float = inf,
        seed: str = "",
    ) -> None:
        self.hub = hub
        self.name = name
        self.topic = topic
        self.path = f"/pub/{topic}"
        self.keyed = keyed
        self.pause_s = pause_s
        self.limit = limit
        self.random = random.Random(f"{seed} {name}")
        self.count = 0
        self.acknowledged: list[Acknowledged] = []
        self.attempts: Counter[bytes] = Counter()
        self.first_sent: dict[bytes, float] = {}
        """When each message was sent for the first time, on the monotonic clock."""

    async def run(self, stop: trio.Event) -> None:
        """Publish until stopped, again after each failure."""
        waiting: deque[bytes] = deque()
        while waiting or self.has_more(stop):
            with suppress(OSError, trio.BrokenResourceError, trio.TooSlowError, httpx.TransportError):
                async with self.connected() as publish:
                    while self.fill(waiting, stop):
                        await publish(waiting)
                        await trio.sleep(self.random.uniform(0, 2 * self.pause_s))
            self.hub.check_alive()
            await trio.sleep(self.random.uniform(0, 0.2))

    def connected(self) -> AbstractAsyncContextManager[Publish]:
        """Function that publishes the waiting messages and removes those that are acknowledged."""
        raise NotImplementedError

    def has_more(self, stop: trio.Event) -> bool:
        """True if there is anything new to send."""
        return self.count < self.limit and not stop.is_set()

    def fill(self, waiting: deque[bytes], stop: trio.Event) -> bool:
        """Add new messages behind those that wait; True if any wait."""
        for _ in range(len(waiting), self.random.randint(1, self.burst)):
            if self.has_more(stop):
                self.count += 1
                waiting.append(self.body())
        return bool(waiting)

    def body(self) -> bytes:
        """A line of JSON, sometimes with bytes of any kind after it."""
        size = HUGE if self.count % 500 == 0 else self.random.choice(SIZES)
        about = {"sender": self.name, "n": self.count, "at_us": time.time_ns() // 1000, "keep": self.count % 2 == 0}
        if self.count % 7 == 0:
            return json.dumps(about).encode() + b"\n" + ANY_BYTES * (size // 256)
        return json.dumps(about | {"pad": "ü\u2028" * (size // 5)}, ensure_ascii=False).encode()

    def headers(self, body: bytes) -> tuple[Any, ...]:
        """Headers of one publish."""
        key = (("Idempotency-Key", digest(body).hex()),) if self.keyed else ()
        return (("Authorization", f"Bearer {make_token(KEY, self.path)}"), *key)

    def note_attempt(self, body: bytes) -> None:
        """Count an attempt to send a message."""
        self.attempts[digest(body)] += 1
        self.first_sent.setdefault(digest(body), time.monotonic())

    def note_answer(self, status: int, id: str, waiting: deque[bytes]) -> None:
        """Record that the first waiting message is stored, or raise if it has to be sent again."""
        if status in TRY_AGAIN:
            raise trio.BrokenResourceError
        assert status == 200, f"{self.name} was answered {status}"
        assert id, f"{self.name} got no id"
        self.hub.answers.note()
        self.acknowledged.append(Acknowledged(id, digest(waiting.popleft()), time.monotonic()))


class Pipeliner(Sender):
    """Bytes on a socket: many requests at once, whose answers are awaited afterwards."""

    burst = 20

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Publish]:
        async with await trio.open_tcp_stream("127.0.0.1", self.hub.port) as stream:
            yield partial(self._publish, stream, bytearray())

    async def _publish(self, stream: trio.SocketStream, received: bytearray, waiting: deque[bytes]) -> None:
        with trio.fail_after(ANSWER_S):
            await stream.send_all(b"".join(map(self._request, waiting)))
        for _ in range(len(waiting)):
            with trio.fail_after(ANSWER_S):
                head = (await take(stream, received, until=b"\r\n\r\n")).decode("latin-1")
            status, *lines = head.split("\r\n")
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            self.note_answer(int(status.split()[1]), fields.get("hookbot-message-id", ""), waiting)
            assert await take(stream, received, until=b"\n") == b"OK\n"

    def _request(self, body: bytes) -> bytes:
        self.note_attempt(body)
        fields = (("Host", "hub"), ("Content-Length", len(body)), *self.headers(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in fields)
        return f"POST {self.path} HTTP/1.1\r\n{head}\r\n".encode() + body


class GitHub(Pipeliner):
    """Signed deliveries about the repositories of an organisation."""

    def __init__(self, hub: Reachable, name: str, repositories: list[str], **options: Any) -> None:
        super().__init__(hub, name, "/unsafe/github.com/org/acme", keyed=False, **options)
        self.path = "/unsafe/pub/github.com/org/acme"
        self.repositories = repositories

    def body(self) -> bytes:
        payload = {"n": f"{self.name} {self.count}", "repository": {"full_name": self.random.choice(self.repositories)}}
        if self.count % 3 == 0:
            payload |= {"ref": "refs/heads/main", "after": f"{self.count:040x}", "pusher": {"name": "ann"}}
        return json.dumps(payload).encode()

    def headers(self, body: bytes) -> tuple[tuple[str, str], ...]:
        payload = json.loads(body)
        event = "push" if "ref" in payload else "issues"
        fields = (("Content-Type", "application/json"), ("X-GitHub-Event", event), ("X-GitHub-Delivery", payload["n"]))
        return load_provider("github").sign(SignedRequest(body, fields), SECRET, now=0).headers


class HttpxSender(Sender):
    """A sender by httpx, one request at a time."""

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Publish]:
        async with http_client() as client:
            yield partial(self._publish, client)

    async def _publish(self, client: httpx.AsyncClient, waiting: deque[bytes]) -> None:
        self.note_attempt(waiting[0])
        headers = list(self.headers(waiting[0]))
        answer = await client.post(self.hub.url(self.path), content=waiting[0], headers=headers)
        self.note_answer(answer.status_code, answer.headers.get("Hookbot-Message-Id"), waiting)


class ClientSender(Sender):
    """A sender by hookbot's client, which retries on its own."""

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Publish]:
        token = make_token(KEY, self.path)
        async with open_publisher(
            self.hub.url(self.path), token=token, patience_s=PATIENCE_S, backoff=QUICK_BACKOFF
        ) as publisher:
            yield partial(self._publish, publisher)

    async def _publish(self, publisher: Publisher, waiting: deque[bytes]) -> None:
        self.note_attempt(waiting[0])
        self.note_answer(200, await publisher.publish(waiting[0]), waiting)


async def take(stream: trio.SocketStream, received: bytearray, *, until: bytes) -> bytes:
    """Bytes up to and including a mark; those after it stay in `received`."""
    while until not in received:
        data = await stream.receive_some()
        if not data:
            raise trio.BrokenResourceError
        received += data
    end = received.index(until) + len(until)
    taken = bytes(received[:end])
    del received[:end]
    return taken
