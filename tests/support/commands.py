"""The program as processes, and called as a function."""

import gc
import io
import logging
import os
import pty
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from threading import Thread
from typing import Any

import pytest
import trio

from hookbot.cli.main import main
from hookbot.client import Timing
from hookbot.web.access_log import logger as access_logger
from support import GUARD_S

IMPORTS = "from functools import partial; from hookbot.backoff import Backoff; from hookbot.client import Timing"


class Process:
    """A running command. What it prints is collected."""

    def __init__(self, process: trio.Process, nursery: trio.Nursery) -> None:
        self.process = process
        self.out = self.err = b""
        self._lines_read = 0
        self._more = trio.Event()
        self._read = [trio.Event(), trio.Event()]
        assert process.stdout
        assert process.stderr
        nursery.start_soon(self._collect, process.stdout, "out", self._read[0])
        nursery.start_soon(self._collect, process.stderr, "err", self._read[1])

    async def _collect(self, stream: trio.abc.ReceiveStream, name: str, done: trio.Event) -> None:
        async for chunk in stream:
            setattr(self, name, getattr(self, name) + chunk)
            self._tell()
        done.set()
        self._tell()

    def _tell(self) -> None:
        self._more.set()
        self._more = trio.Event()

    async def until(self, text: str, stream: str = "err", count: int = 1) -> None:
        """Wait until it has printed a text so often."""
        while getattr(self, stream).count(text.encode()) < count:
            await self._wait_for_more()

    async def line(self, text: str) -> str:
        """The next line on standard error with a text in it, behind the one that was read last."""
        while True:
            lines = self.err.split(b"\n")[self._lines_read : -1]
            for line in lines:
                self._lines_read += 1
                if text.encode() in line:
                    return line.decode()
            await self._wait_for_more()

    async def _wait_for_more(self) -> None:
        assert not all(done.is_set() for done in self._read), f"it ended: {self.out!r} {self.err!r}"
        await self._more.wait()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Its exit code, when it has ended and all that it printed was read."""
        code = await self.process.wait()
        for done in self._read:
            await done.wait()
        return code

    async def interrupted(self) -> int:
        self.signal(signal.SIGINT)
        return await self.ended()


@asynccontextmanager
async def starting() -> AsyncIterator[Callable[..., Awaitable[Process]]]:
    """Starts commands, with `start("listen", url, ...)`, which end with the block at the latest.

    `settings` is Python that runs before the program, `timing` an expression for the timing of its listeners.
    """
    started = []
    with trio.fail_after(GUARD_S):
        async with trio.open_nursery() as nursery:

            async def start(
                *words: Any,
                settings: str = "",
                timing: str = "None",
                env: dict[str, str] | None = None,
                stdin: io.BufferedReader | None = None,
            ) -> Process:
                code = f"{IMPORTS}\n{settings}\nfrom hookbot.cli import main; main(timing={timing})"
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
async def running(*words: Any, **options: Any) -> AsyncIterator[Process]:
    async with starting() as start:
        yield await start(*words, **options)


async def run(*words: str, **options: Any) -> tuple[int, bytes, str]:
    """A command that has ended: exit code, output, complaints."""
    async with running(*words, **options) as process:
        code = await process.ended()
        return code, process.out, process.err.decode()


class Caller:
    """Calls the program as a function: exit code, output, complaints."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capfdbinary: pytest.CaptureFixture[bytes],
        timing: Timing | None = None,
    ) -> None:
        self._monkeypatch = monkeypatch
        self._capture = capfdbinary
        self._timing = timing

    def __call__(self, *words: Any, **env: str) -> tuple[int, bytes, str]:
        self._capture.readouterr()
        with self._monkeypatch.context() as patch, kept_logging():
            patch.setattr(sys, "argv", ["hookbot", *map(str, words)])
            for name, value in env.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as leaving:
                main(timing=self._timing)
        sys.stdout.flush()
        out, err = self._capture.readouterr()
        assert isinstance(leaving.value.code, int)
        return leaving.value.code, out, err.decode()


@contextmanager
def signalled_after(wait: Callable[[], object], number: int = signal.SIGINT) -> Iterator[None]:
    """Send this process a signal, as Ctrl-C does, once `wait` has returned in a thread of its own."""

    def act() -> None:
        try:
            wait()
        finally:
            os.kill(os.getpid(), number)

    # A worker of pytest-xdist may ignore it
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)


@contextmanager
def on_terminal(monkeypatch: pytest.MonkeyPatch, *names: str) -> Iterator[bytearray]:
    """Within the block these streams of `sys` are a terminal; after it, the array has all that was shown there."""
    ours, theirs = pty.openpty()
    shown = bytearray()

    def read() -> None:
        # Linux reports the end of a terminal as an error
        with suppress(OSError):
            while chunk := os.read(ours, 65536):
                shown.extend(chunk)

    # A terminal that nobody reads takes only some kilobytes
    reader = Thread(target=read)
    reader.start()
    with open(theirs, "w") as stream, monkeypatch.context() as patch:
        for name in names:
            patch.setattr(sys, name, stream)
        yield shown
    # An error's traceback may still refer to an `Output`, which has the terminal open
    gc.collect()
    reader.join()
    os.close(ours)


@contextmanager
def kept_logging() -> Iterator[None]:
    """Undo the changes of a command to the root logger."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    try:
        yield
    finally:
        root.handlers = handlers
        root.setLevel(level)
        logging.getLogger("hookbot").setLevel(logging.NOTSET)
        access_logger.setLevel(logging.WARNING)
