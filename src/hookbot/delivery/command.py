"""Running a command for each message: the body on its standard input, the rest in its environment, no shell."""

import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from ..protocol.message import Message, format_time
from .output import Output, PrefixedOutput, escaped
from .worker import Failed

KILL_AFTER_S = 10.0  # a command that is asked to end has so long to do it

_OURS = "HOOKBOT_"
_PLAIN = re.compile(r"[A-Za-z0-9-]+")  # X_A, which would look like X-A, is left out


class CommandRunner:
    """A command that is run for each message, in processes of its own session; made by `open_runner`."""

    def __init__(self, command: Sequence[str], hop: str, timeout_s: float, directory: Path) -> None:
        self._command = command
        self._hop = hop
        self._timeout_s = timeout_s
        self._directory = directory
        lock = trio.Lock()
        self._outputs = Output(1, lock), Output(2, lock)
        self._runs = 0

    async def run(self, message: Message, attempt: int) -> str:
        """One attempt: returns after exit 0, raises `Failed` after any other.

        What the command leaves running in the background goes on, but its output is read no longer. When the time is
        over, or this is cancelled, nothing of it goes on.
        """
        started = trio.current_time()
        self._runs += 1
        body = self._directory / str(self._runs)
        await trio.Path(body).write_bytes(message.body)
        try:
            code = await self._run(message, self._environment(message, attempt, body), body)
        finally:
            body.unlink()
        if code != 0:
            raise Failed(f"{self._command[0]} {_ending(code)}")
        return f"{self._command[0]} is done in {trio.current_time() - started:.1f} s"

    async def _run(self, message: Message, environment: Mapping[str, str], body: Path) -> int:
        """The exit code."""
        try:
            with body.open("rb") as stdin:
                process = await trio.lowlevel.open_process(
                    self._command,
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=environment,
                    start_new_session=True,
                )
        except OSError as error:
            raise Failed(f"{self._command[0]} cannot be run: {error.strerror}") from None
        prefix = f"{escaped(message.topic)} | ".encode("utf-8", "replace")
        pipes = [pipe for pipe in (process.stdout, process.stderr) if isinstance(pipe, trio.lowlevel.FdStream)]
        async with pipes[0], pipes[1], trio.open_nursery() as nursery:
            passing = [PrefixedOutput(pipe, output, prefix) for pipe, output in zip(pipes, self._outputs, strict=True)]
            for one in passing:
                nursery.start_soon(one.run)
            in_time = await self._wait(process)
            for one in passing:
                one.finish()
        if not in_time:
            raise Failed(f"{self._command[0]} took longer than {self._timeout_s:g} s, and was ended")
        return process.returncode or 0

    async def _wait(self, process: trio.Process) -> bool:
        """Whether it ended by itself in time; if not, it is ended, with all of its process group."""
        try:
            with trio.move_on_after(self._timeout_s):
                await process.wait()
                return True
            _signal_group(process, signal.SIGTERM)
            with trio.move_on_after(KILL_AFTER_S):
                await process.wait()
            _signal_group(process, signal.SIGKILL)  # also those who outlived the first of them
            return False
        finally:
            if process.returncode is None:
                _signal_group(process, signal.SIGKILL)
                with trio.CancelScope(shield=True):
                    await process.wait()

    def _environment(self, message: Message, attempt: int, body: Path) -> Mapping[str, str]:
        """Our environment without any variable of hookbot's own, which may hold tokens, and the message's."""
        headers: dict[str, str] = {}
        for name, value in message.headers:
            if _PLAIN.fullmatch(name):
                key = f"HEADER_{name.upper().replace('-', '_')}"
                headers[key] = f"{headers[key]}, {value}" if key in headers else value
        ours = {
            "ID": message.id,
            "TOPIC": message.topic,
            "TIME": format_time(message.time_us),
            "QUERY": message.query,
            "VERIFIED": message.verified.provider if message.verified else "",
            "HOPS": ",".join((*message.hops, self._hop)),
            "ATTEMPT": str(attempt),
            "BODY_FILE": str(body),
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        kept |= {_OURS + name: _variable(value, "latin-1") for name, value in headers.items()}
        return kept | {_OURS + name: _variable(value, "utf-8") for name, value in ours.items()}


@asynccontextmanager
async def open_runner(command: Sequence[str], hop: str, timeout_s: float) -> AsyncIterator[CommandRunner]:
    """A runner of a command; bodies lie in a directory that only this user can read."""
    with TemporaryDirectory(prefix="hookbot-") as directory:
        yield CommandRunner(command, hop, timeout_s, Path(directory))


def _signal_group(process: trio.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _ending(code: int) -> str:
    return f"exited with {code}" if code > 0 else f"was killed by {signal.Signals(-code).name}"


def _variable(value: str, encoding: str) -> str:
    """A value of the environment, which holds any bytes but NUL."""
    return os.fsdecode(value.encode(encoding, "replace").replace(b"\0", b""))
