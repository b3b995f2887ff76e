"""A whole hub in this process, configured by a file, at the door or behind the app; and clients that show tokens."""

import json
from collections.abc import Callable
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import h11
import httpx
import trio
from wsproto import ConnectionType, WSConnection, events

from hookbot.access.tokens import make_token
from hookbot.hub.config import Config
from hookbot.hub.config_file import ConfigFile
from hookbot.hub.hub import RunningHub, open_hub
from hookbot.hub.secret_store import StoredSecret
from hookbot.protocol.message import wall_clock_us
from hookbot.protocol.subscribe import UNSAFE_HEADER_VALUE
from hookbot.protocol.topics import TopicFilter
from hookbot.signatures import SignedRequest, load_provider

GUARD_S = 30  # only ever reached by a test that fails
KEY = "the key of the tests"
SECRET = "the secret of the tests, long enough for anybody"
I_UNDERSTAND = ("X-Hookbot-Unsafe-Is-Ok", UNSAFE_HEADER_VALUE)
FORMATS = ["raw", "v1", "cloudevents", "sse", "jsonl"]
SUBPROTOCOLS = {"raw": "hookbot.raw", "v1": "hookbot.v1", "cloudevents": "cloudevents.json"}
ACCEPT = {"sse": "text/event-stream", "jsonl": "application/x-ndjson"}


class Clock:
    """Microseconds since 1970, as a hub sees them; they pass when they are told to."""

    def __init__(self, now_s=1_700_000_000):
        self.now_s = now_s

    def __call__(self):
        return self.now_s * 1_000_000


@dataclass
class WholeHub:
    """A hub that runs."""

    running: RunningHub
    http: httpx.AsyncClient
    clock_us: Callable[[], int]

    @property
    def port(self):
        return urlsplit(self.running.url).port

    @property
    def head(self):
        """How many messages were ever stored."""
        return self.running.broker.log.head

    async def post(self, path, body=b"", headers=(), token=None):
        if token:
            headers = [*headers, ("Authorization", f"Bearer {token}")]
        return await self.http.post(path, content=body, headers=list(headers))

    async def deliver(self, provider, path, body=b"{}", headers=(), *, secret=SECRET, token=None, now=None):
        """Post what a provider signed; it is the hub's time, unless it says otherwise."""
        url = self.running.url + path
        now = self.clock_us() / 1e6 if now is None else now
        signed = load_provider(provider).sign(SignedRequest(body, tuple(headers), "POST", url), secret, now=now)
        return await self.post(path, signed.body, signed.headers, token)

    async def stored(self):
        """All messages, safe and unsafe."""
        page = await self.running.broker.log.read(TopicFilter(("", "/unsafe/")), after=0, limit=1000, max_bytes=1 << 30)
        return page.messages

    @asynccontextmanager
    async def listen(self, path, form, token=None, headers=()):
        """A subscription in one of `FORMATS`; its `status` says how it was answered."""
        token = token or make_token(KEY, path.partition("?")[0])
        headers = [("Authorization", f"Bearer {token}"), I_UNDERSTAND, *headers]
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as connection:
            listener = Stream(connection, form) if form in ACCEPT else Socket(connection, form)
            await listener.begin(path, headers)
            yield listener


class Socket:
    """A websocket."""

    def __init__(self, connection, form):
        self._connection = connection
        self.status = None
        self._form = form
        self._code = None
        self._websocket = WSConnection(ConnectionType.CLIENT)

    async def begin(self, path, headers):
        fields = [(name.encode(), value.encode()) for name, value in headers]
        await self._send(events.Request("hub", path, subprotocols=[SUBPROTOCOLS[self._form]], extra_headers=fields))
        answer = await self._next()
        self.status = getattr(answer, "status_code", 101)
        self.headers = {name.decode().title(): value.decode() for name, value in getattr(answer, "headers", ())}
        if self.status == 101 and self._form == "v1":
            await self.take()  # hello

    async def take(self):
        """What comes next, as bytes; None at the end."""
        taken = b""
        while True:
            event = await self._next()
            if isinstance(event, events.Ping):
                await self._send(event.response())
            elif isinstance(event, events.CloseConnection):
                self._code = event.code
                return None
            elif isinstance(event, events.Message):
                taken += event.data.encode() if isinstance(event.data, str) else bytes(event.data)
                if event.message_finished:
                    return taken

    async def ended(self):
        """The code of the hub's goodbye."""
        while self._code is None:
            await self.take()
        return self._code

    async def _send(self, event):
        await self._connection.send_all(self._websocket.send(event))

    async def _next(self):
        while True:
            for event in self._websocket.events():
                return event
            data = await self._connection.receive_some()
            self._websocket.receive_data(data or None)


class Stream:
    """A streaming answer."""

    def __init__(self, connection, form):
        self._connection = connection
        self._http = h11.Connection(h11.CLIENT)
        self._end = b"\n\n" if form == "sse" else b"\n"
        self._received = b""

    async def begin(self, path, headers):
        accept = ACCEPT["sse" if self._end == b"\n\n" else "jsonl"]
        request = h11.Request(method="GET", target=path, headers=[("Host", "hub"), ("Accept", accept), *headers])
        await self._connection.send_all(self._http.send(request) + self._http.send(h11.EndOfMessage()))
        answer = await self._next()
        self.status = answer.status_code
        self.headers = {name.decode().title(): value.decode() for name, value in answer.headers}

    async def take(self):
        """The next event or line, as bytes; None at the end."""
        while self._end not in self._received:
            event = await self._next()
            if not isinstance(event, h11.Data):
                return None
            self._received += bytes(event.data)
        found, _, self._received = self._received.partition(self._end)
        return found

    async def ended(self):
        """Wait for the end of the answer, in due form; stands for a code."""
        while await self.take() is not None:
            pass

    async def _next(self):
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._connection.receive_some())
        return event


def envelope(form, frame):
    """The envelope in a frame of a format that has one."""
    text = frame.decode()
    if form == "sse":
        text = next(line.removeprefix("data:") for line in text.splitlines() if line.startswith("data:"))
    return json.loads(text)


@contextmanager
def no_groups():
    """Raises what is alone in groups of exceptions by itself."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from None


def configured(tmp_path, text="", **options):
    """A `Config` whose file has this text."""
    path = tmp_path / "hookbot.toml"
    path.write_text(text)
    options = {"bind": "127.0.0.1:0", "store": "memory:", "grace_s": 1, **options}
    return Config(**{"key": StoredSecret(KEY), "data_dir": tmp_path, "file": ConfigFile.read(path), **options})


@asynccontextmanager
async def whole_hub(tmp_path, text="", *, client=None, clock=wall_clock_us, **options):
    """A hub with the sections of a configuration file."""
    with no_groups(), trio.fail_after(GUARD_S):
        async with (
            open_hub(configured(tmp_path, text, **options), clock_us=clock) as running,
            httpx.AsyncClient(base_url=running.url, timeout=GUARD_S, **(client or {})) as http,
        ):
            yield WholeHub(running, http, clock)
