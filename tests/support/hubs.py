"""Whole hubs: in this process, in a thread of its own, and as a process of its own."""

import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import httpx
import trio

from hookbot.access.fetching import Fetch, fetch_small
from hookbot.access.tokens import make_token
from hookbot.client import listen
from hookbot.errors import sole_error
from hookbot.hub.config import Config
from hookbot.hub.config_file import ConfigFile
from hookbot.hub.hub import RunningHub, open_hub
from hookbot.hub.secret_store import StoredSecret
from hookbot.protocol.message import Message, wall_clock_us
from hookbot.protocol.subscribe import UNSAFE_HEADER_VALUE
from hookbot.protocol.topics import TopicFilter
from hookbot.signatures import SignedRequest, load_provider
from hookbot.testing import open_test_hub
from support import GUARD_S, KEY, SECRET
from support.clients import Stream, WebSocket, connect
from support.commands import Process
from support.ports import free_ports
from support.targets import Target

T = TypeVar("T")

I_UNDERSTAND = ("X-Hookbot-Unsafe-Is-Ok", UNSAFE_HEADER_VALUE)
FORMATS = ["raw", "v1", "cloudevents", "sse", "jsonl"]
SUBPROTOCOLS = {"raw": "hookbot.raw", "v1": "hookbot.v1", "cloudevents": "cloudevents.json"}
ACCEPT = {"sse": "text/event-stream", "jsonl": "application/x-ndjson"}


@dataclass
class WholeHub:
    """A hub that runs."""

    running: RunningHub
    http: httpx.AsyncClient
    clock_us: Callable[[], int]

    @property
    def port(self) -> int:
        port = urlsplit(self.running.url).port
        assert port
        return port

    @property
    def head(self) -> int:
        """Number of messages that were ever stored."""
        return self.running.broker.log.head

    async def post(
        self,
        path: str,
        body: bytes = b"",
        headers: Iterable[tuple[str, str]] = (),
        token: str | None = None,
    ) -> httpx.Response:
        authorization = [("Authorization", f"Bearer {token}")] if token else []
        return await self.http.post(path, content=body, headers=[*headers, *authorization])

    async def deliver(
        self,
        provider: str,
        path: str,
        body: bytes = b"{}",
        headers: Iterable[tuple[str, str]] = (),
        *,
        secret: str = SECRET,
        token: str | None = None,
        now: float | None = None,
    ) -> httpx.Response:
        """Post a signed delivery, made at the hub's time unless `now` is given."""
        url = self.running.url + path
        now = self.clock_us() / 1e6 if now is None else now
        signed = load_provider(provider).sign(SignedRequest(body, tuple(headers), "POST", url), secret, now=now)
        return await self.post(path, signed.body, signed.headers, token)

    async def heard(self, path: str, count: int, **options: Any) -> list[Any]:
        """Messages and gaps that a listener is told, until these are `count` messages."""
        async with listen(self.running.url + path, token=make_token(KEY, path), limit=count, **options) as messages:
            return [item async for item in messages]

    async def stored(self) -> list[Message]:
        """All messages, safe and unsafe, of every hub with the same store."""
        log = self.running.broker.log
        await log.refresh()
        page = await log.read(TopicFilter(("", "/unsafe/")), after=0, limit=1000, max_bytes=1 << 30)
        return list(page.messages)

    @asynccontextmanager
    async def listen(
        self, path: str, form: str, token: str | None = None, headers: Iterable[tuple[str, str]] = ()
    ) -> AsyncIterator[WebSocket | Stream]:
        """A subscription in one of `FORMATS`; its `status` says how it was answered."""
        token = token or make_token(KEY, path.partition("?")[0])
        headers = [("Authorization", f"Bearer {token}"), I_UNDERSTAND, *headers]
        async with await connect(self.port) as client:
            listener: WebSocket | Stream
            if form in ACCEPT:
                listener = Stream(client, path, [("Accept", ACCEPT[form]), *headers])
            else:
                listener = WebSocket(client, path, SUBPROTOCOLS[form], headers=headers)
            await listener.ask()
            await listener.answered()
            if form == "v1" and listener.status == 101:
                await listener.take()  # hello
            yield listener


def envelope(form: str, frame: bytes) -> dict[str, Any]:
    """The envelope in a frame of a format that has one."""
    text = frame.decode()
    if form == "sse":
        text = next(line.removeprefix("data:") for line in text.splitlines() if line.startswith("data:"))
    found: dict[str, Any] = json.loads(text)
    return found


@contextmanager
def no_groups() -> Iterator[None]:
    """Unwrap the only exception of nested groups."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise sole_error(group) from None


def configured(tmp_path: Path, text: str = "", **options: Any) -> Config:
    """A `Config` whose file has this text."""
    path = tmp_path / "hookbot.toml"
    path.write_text(text)
    options = {"bind": ("127.0.0.1:0",), "store": "memory:", "grace_s": 1, **options}
    return Config(**{"key": StoredSecret(KEY), "data_dir": tmp_path, "file": ConfigFile.read(path), **options})


@asynccontextmanager
async def open_whole_hub(
    tmp_path: Path,
    text: str = "",
    *,
    client: dict[str, Any] | None = None,
    clock: Callable[[], int] = wall_clock_us,
    elapsed: Callable[[], int] | None = None,
    fetch: Fetch = fetch_small,
    **options: Any,
) -> AsyncIterator[WholeHub]:
    """A hub with the sections of a configuration file. Its clock never jumps, unless `elapsed` says what passes."""
    with no_groups(), trio.fail_after(GUARD_S):
        async with (
            open_hub(
                configured(tmp_path, text, **options),
                clock_us=clock,
                monotonic_us=elapsed or clock,
                fetch=fetch,
                sweep_interval_s=0.01,
                look_interval_s=0.01,
            ) as running,
            httpx.AsyncClient(base_url=running.url, timeout=GUARD_S, **(client or {})) as http,
        ):
            yield WholeHub(running, http, clock)


class ThreadHub:
    """A hub in a thread of its own until the block ends, for tests that block: a test hub, or one that is `opened`."""

    def __init__(self, opened: AbstractAsyncContextManager[Any] | None = None) -> None:
        self._opened = opened or open_test_hub()
        self._ready = Event()
        self._thread = Thread(target=trio.run, args=[self._run], daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(GUARD_S)
        return self

    def __exit__(self, *_: object) -> None:
        trio.from_thread.run_sync(self._nursery.cancel_scope.cancel, trio_token=self._trio)
        self._thread.join()

    async def _run(self) -> None:
        self._trio = trio.lowlevel.current_trio_token()
        async with self._opened as hub, trio.open_nursery() as self._nursery:
            self.hub: Any = hub
            self._ready.set()
            await trio.sleep_forever()

    def call(self, function: Callable[..., Awaitable[T]], *args: Any, **options: Any) -> T:
        """Result of an async function, run in the thread of the hub."""
        return trio.from_thread.run(partial(function, *args, **options), trio_token=self._trio)

    def publish(self, topic: str, *bodies: bytes, **options: Any) -> None:
        for body in bodies:
            self.call(self.hub.publish, topic, body, **options)

    def wait_for(self, topic: str, count: int = 1) -> list[Message]:
        return list(self.call(self.hub.wait_for, topic, count))

    @property
    def url(self) -> str:
        url: str = self.hub.url
        return url

    def url_for(self, path: str) -> str:
        url: str = self.hub.url_for(path)
        return url

    def target(self, *answers: Any) -> Target:
        """A target that is up until the end."""
        made = Target(*answers)
        self.call(made.up, self._nursery)
        return made


class HubProcess:
    """``hookbot serve``, always at the same port; `start` is that of `commands.starting`."""

    def __init__(self, start: Callable[..., Any], directory: Path, *options: Any, key: str | None = KEY) -> None:
        self._start = start
        self._words = ["serve", "--data-dir", directory, *options]
        self._env = {name: value for name, value in os.environ.items() if not name.startswith("HOOKBOT_")}
        self._env |= {"HOOKBOT_KEY": key} if key else {}
        [self.port] = free_ports(1)

    def url(self, path: str, port: int | None = None) -> str:
        return f"http://{make_token(KEY, path)}@127.0.0.1:{port or self.port}{path}"

    async def start(self) -> None:
        self.process: Process = await self._start(*self._words, "--bind", f"127.0.0.1:{self.port}", env=self._env)
        await self.process.until("\n", "out")

    async def reload(self, answer: str) -> str:
        """Send SIGHUP; returns what it says about that, which has this text in it."""
        self.process.signal(signal.SIGHUP)
        return await self.process.line(answer)

    async def stop(self) -> int:
        """Stop the hub, and return its exit code."""
        self.process.signal(signal.SIGTERM)
        return await self.process.ended()

    async def kill(self) -> None:
        self.process.signal(signal.SIGKILL)
        await self.process.ended()
