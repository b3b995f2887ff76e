"""Commands as processes, and what they talk to: hubs that can be killed, targets that can be down."""

import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from functools import partial

import h11
import trio

from hookbot.testing import KEY
from hookbot.tokens import make_token

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

    `settings` is Python that runs before the program: ``connection.SILENCE_S = 1``.
    """
    started = []
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:

            async def start(*words, settings="", env=None, stdin=None):
                code = (
                    f"from hookbot.client import backoff, connection\n{settings}\nfrom hookbot.cli import main; main()"
                )
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
        self.port = int(self.process.out.split()[-1].rpartition(b":")[2])

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

    A number in `answers` may stand with headers: ``(503, ("Retry-After", "1"))``; None is no answer at all.
    """

    def __init__(self, *answers):
        self.requests = []
        self.answers = list(answers)
        self.port = 0
        self._arrived = trio.Event()
        self._nursery = None

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
            await trio.sleep_forever()
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
