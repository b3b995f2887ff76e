"""Commands as processes, and what they talk to: hubs that can be killed, targets that can be down."""

import logging
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from threading import Event, Thread

import h11
import trio

from hookbot.access.tokens import make_token
from hookbot.cli.main import main
from hookbot.testing import KEY, open_test_hub

DEADLINE_S = 50  # only ever reached by a test that fails


class Process:
    """A running command. What it prints is collected."""

    def __init__(self, process, nursery):
        self.process = process
        self.out = self.err = b""
        self._more = trio.Event()
        self._read = [trio.Event(), trio.Event()]
        nursery.start_soon(self._collect, process.stdout, "out", self._read[0])
        nursery.start_soon(self._collect, process.stderr, "err", self._read[1])

    async def _collect(self, stream, name, done):
        async for chunk in stream:
            setattr(self, name, getattr(self, name) + chunk)
            self._tell()
        done.set()
        self._tell()

    def _tell(self):
        self._more.set()
        self._more = trio.Event()

    async def until(self, text, stream="err", count=1):
        """Wait until it has printed a text so often."""
        while getattr(self, stream).count(text.encode()) < count:
            assert not all(done.is_set() for done in self._read), f"it ended: {self.out!r} {self.err!r}"
            await self._more.wait()

    def signal(self, number):
        self.process.send_signal(number)

    async def ended(self):
        """Its exit code, when it has ended and all that it printed was read."""
        await self.process.wait()
        for done in self._read:
            await done.wait()
        return self.process.returncode

    async def interrupted(self):
        self.signal(signal.SIGINT)
        return await self.ended()


@asynccontextmanager
async def starting():
    """Starts commands, with `start("listen", url, ..., settings="...")`, which end with the block at the latest.

    `settings` is Python that runs before the program: ``websocket.SILENCE_S = 1``.
    """
    started = []
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:

            async def start(*words, settings="", env=None, stdin=None):
                imports = "from hookbot import backoff\nfrom hookbot.client import websocket"
                code = f"{imports}\n{settings}\nfrom hookbot.cli import main; main()"
                process = await trio.lowlevel.open_process(
                    [sys.executable, "-c", code, *map(str, words)],
                    stdin=stdin or subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=env,
                )
                started.append(process)
                return Process(process, nursery)

            try:
                yield start
            finally:
                for process in started:
                    process.kill()
                with trio.CancelScope(shield=True):
                    for process in started:
                        await process.wait()
                nursery.cancel_scope.cancel()


@asynccontextmanager
async def running(*words, **options):
    async with starting() as start:
        yield await start(*words, **options)


async def run(*words, **options):
    """A command that has ended: exit code, output, complaints."""
    async with running(*words, **options) as process:
        code = await process.ended()
        return code, process.out, process.err.decode()


class ThreadHub:
    """A hub in a thread of its own, for tests that call commands as functions."""

    def __init__(self):
        self._ready = Event()
        self._thread = Thread(target=trio.run, args=[self._run], daemon=True)
        self._thread.start()
        assert self._ready.wait(DEADLINE_S)

    async def _run(self):
        self._trio = trio.lowlevel.current_trio_token()
        async with open_test_hub() as self.hub, trio.open_nursery() as self._nursery:
            self._ready.set()
            await trio.sleep_forever()

    def publish(self, topic, *bodies, **options):
        for body in bodies:
            trio.from_thread.run(partial(self.hub.publish, topic, body, **options), trio_token=self._trio)

    def wait_for(self, topic, count=1):
        return trio.from_thread.run(self.hub.wait_for, topic, count, trio_token=self._trio)

    @property
    def url(self):
        return self.hub.url

    def url_for(self, path):
        return self.hub.url_for(path)

    def target(self, *answers):
        """A target that is up until the end."""
        made = Target(*answers)
        trio.from_thread.run(made.up, self._nursery, trio_token=self._trio)
        return made

    def close(self):
        trio.from_thread.run_sync(self._nursery.cancel_scope.cancel, trio_token=self._trio)
        self._thread.join()


class Caller:
    """Calls the program as a function: exit code, output, complaints."""

    def __init__(self, monkeypatch, capfdbinary):
        self._monkeypatch = monkeypatch
        self._capture = capfdbinary

    def __call__(self, *words, **env):
        self._capture.readouterr()
        with self._monkeypatch.context() as patch, kept_logging():
            patch.setattr(sys, "argv", ["hookbot", *map(str, words)])
            for name, value in env.items():
                patch.setenv(name, value)
            try:
                main()
            except SystemExit as leaving:
                code = leaving.code
        sys.stdout.flush()
        out, err = self._capture.readouterr()
        return code, out, err.decode()


@contextmanager
def kept_logging():
    """Whatever a command does to the root logger is undone."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    try:
        yield
    finally:
        root.handlers = handlers
        root.setLevel(level)
        logging.getLogger("hookbot").setLevel(logging.NOTSET)


class HubProcess:
    """A hub with a store on disk, always at the same port."""

    def __init__(self, start, directory):
        self._start = start
        self._directory = directory
        self.port = 0

    def url(self, path, port=None):
        return f"http://{make_token(KEY, path)}@127.0.0.1:{port or self.port}{path}"

    async def start(self):
        options = ["--bind", f"127.0.0.1:{self.port}", "--data-dir", self._directory]
        self.process = await self._start("--key", KEY, "serve", *options)
        await self.process.until("\n", "out")
        self.port = int(self.process.out.splitlines()[0].rpartition(b":")[2])

    async def kill(self):
        self.process.signal(signal.SIGKILL)
        await self.process.ended()


class Request:
    """What arrived at a target."""

    def __init__(self, request, body):
        self.target = request.target
        self.headers = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw_items()
        ]
        self.body = body

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]


class Target:
    """An HTTP server that keeps what it gets. `answers` are the statuses of the first answers; then it is 204.

    A number in `answers` may stand with headers: ``(503, ("Retry-After", "1"))``; None is a 204 after `go`.
    """

    def __init__(self, *answers):
        self.requests = []
        self.answers = list(answers)
        self.port = 0
        self._arrived = trio.Event()
        self._nursery = None
        self._go = trio.Event()

    def go(self):
        self._go.set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/hook"

    async def arrived(self, count):
        """The bodies of the first requests, when so many have come."""
        while len(self.requests) < count:
            await self._arrived.wait()
        return [request.body for request in self.requests]

    async def up(self, nursery):
        """Listen, at the port that it had before if there is one."""
        self._nursery = await nursery.start(self._serve)

    def down(self):
        """Refuse connections, and cut those that there are."""
        self._nursery.cancel_scope.cancel()

    async def _serve(self, task_status):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, self.serve, self.port, host="127.0.0.1"))
            self.port = listeners[0].socket.getsockname()[1]
            task_status.started(nursery)
            await trio.sleep_forever()

    async def serve(self, stream):
        """One connection."""
        connection = h11.Connection(h11.SERVER)
        request, body = None, bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                try:
                    connection.receive_data(await stream.receive_some())
                except trio.BrokenResourceError:
                    return
            elif isinstance(event, h11.Request):
                request, body = event, bytearray()
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                self._keep(Request(request, bytes(body)))
                if not await self._answer(stream, connection):
                    return
                connection.start_next_cycle()
            else:
                return

    def _keep(self, request):
        self.requests.append(request)
        self._arrived.set()
        self._arrived = trio.Event()

    async def _answer(self, stream, connection):
        status = self.answers.pop(0) if self.answers else 204
        if status is None:
            await self._go.wait()
            status = 204
        status, *headers = status if isinstance(status, tuple) else (status,)
        body = b"" if status == 204 else b"because"
        fields = [("Content-Length", str(len(body)))] if body else []
        await stream.send_all(connection.send(h11.Response(status_code=status, headers=[*fields, *headers])))
        await stream.send_all(connection.send(h11.Data(body)) + connection.send(h11.EndOfMessage()))
        return connection.our_state is not h11.MUST_CLOSE


@asynccontextmanager
async def target(*answers):
    """A target that is up."""
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            made = Target(*answers)
            await made.up(nursery)
            yield made
            nursery.cancel_scope.cancel()
