"""Commands run for each message: the body on standard input, the rest in the environment, without a shell."""

import errno
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

import trio

from ..errors import system_reason
from ..protocol.message import Message, format_time
from ..terminal import one_line
from .outcome import MAX_KEPT_BODY, Failed, Outcome, exchange_of_output
from .output import Output, PrefixedOutput

# From SIGTERM to SIGKILL, when a command exceeds its timeout.
KILL_AFTER_S = 10.0

_PREFIX = "HOOKBOT_"
# Without the underscore: a sender could otherwise forge X-A with X_A, since both become HEADER_X_A.
_PLAIN = re.compile(r"[A-Za-z0-9-]+")


class CommandRunner:
    """A command that is run for each message, each time in a new session (setsid).

    Its output goes to standard output and standard error, or to `outputs`. With `answers`, what a command that succeeds
    has written to its standard output is also its answer.
    """

    def __init__(
        self,
        command: Sequence[str],
        hop: str,
        timeout_s: float,
        *,
        kill_after_s: float = KILL_AFTER_S,
        outputs: tuple[Output, Output] | None = None,
        answers: bool = False,
    ) -> None:
        self._command = command
        self._hop = hop
        self._timeout_s = timeout_s
        self._kill_after_s = kill_after_s
        self._outputs = outputs or _standard_outputs()
        # One more than is answered tells that it was more.
        self._keeps = MAX_KEPT_BODY + 1 if answers else 0

    async def run(self, message: Message, attempt: int) -> Outcome:
        """Run the command once.

        Raises `Failed` for any exit code but 0, after a timeout, and if the command cannot be started or given the
        body. Processes that the command leaves in the background keep running, but their output is no longer read. On
        timeout, the whole process group gets SIGTERM, and SIGKILL `kill_after_s` later; on cancellation, SIGKILL at
        once.
        """
        started = trio.current_time()
        async with _body_file(message.body) as body:
            code, output = await self._run(message, self._environment(message, attempt, body), body)
        seconds = trio.current_time() - started
        if code != 0:
            raise Failed(Outcome(f"{self._command[0]} {_ending(code)}", _result(code), seconds))
        answer = exchange_of_output(output) if self._keeps else None
        return Outcome(f"{self._command[0]} succeeded after {seconds:.1f} s", _result(code), seconds, answer)

    async def _run(self, message: Message, environment: Mapping[str, str], body: Path) -> tuple[int, bytes]:
        """Exit code of the command, negative for a signal, and what is kept of its standard output."""
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
            raise Failed(Outcome(f"cannot run {self._command[0]}: {_reason(error, self._command[0])}")) from None
        prefix = f"{one_line(message.topic)} | ".encode("utf-8", "replace")
        pipes = [pipe for pipe in (process.stdout, process.stderr) if pipe]
        async with pipes[0], pipes[1], trio.open_nursery() as nursery:
            copies = [
                PrefixedOutput(pipe, output, prefix, keeps=keeps)
                for pipe, output, keeps in zip(pipes, self._outputs, (self._keeps, 0), strict=True)
            ]
            for copy in copies:
                nursery.start_soon(copy.run)
            in_time = await self._wait(process)
            # A process in the background may hold the pipes open forever: do not wait for their end.
            for copy in copies:
                copy.finish()
        if not in_time:
            line = f"{self._command[0]} exceeded its timeout of {self._timeout_s:g} s and was stopped"
            raise Failed(Outcome(line, "timeout", self._timeout_s))
        return process.returncode or 0, bytes(copies[0].kept)

    async def _wait(self, process: trio.Process) -> bool:
        """True if the process ended before the timeout; otherwise it is killed, with its whole process group."""
        try:
            with trio.move_on_after(self._timeout_s):
                await process.wait()
                return True
            _end(process, kill=False)
            with trio.move_on_after(self._kill_after_s):
                await process.wait()
            # Even if the command itself has ended, some of its children may have ignored SIGTERM.
            _end(process, kill=True)
            return False
        finally:
            # Cancelled: kill at once. Shielded, as the process would otherwise stay a zombie.
            if process.returncode is None:
                _end(process, kill=True)
                with trio.CancelScope(shield=True):
                    await process.wait()

    def _environment(self, message: Message, attempt: int, body: Path) -> Mapping[str, str]:
        """Environment of the command: ours, with the message in place of hookbot's variables, which may hold tokens."""
        # Joined at the end: a value that grows with each of a million fields would take hours.
        headers: dict[str, list[str]] = {}
        for name, value in message.headers:
            if _PLAIN.fullmatch(name):
                headers.setdefault(f"HEADER_{name.upper().replace('-', '_')}", []).append(value)
        ours = {
            "ID": message.id,
            "TOPIC": message.topic,
            "TIME": format_time(message.time_us),
            "METHOD": message.method,
            "QUERY": message.query,
            "VERIFIED": message.verified.provider if message.verified else "",
            "VERIFIED_SOURCE": (message.verified and message.verified.source) or "",
            "HOPS": ",".join((*message.hops, self._hop)),
            "ATTEMPT": str(attempt),
            "BODY_FILE": str(body),
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_PREFIX)}
        kept |= {_PREFIX + name: _variable(", ".join(values), "latin-1") for name, values in headers.items()}
        return kept | {_PREFIX + name: _variable(value, "utf-8") for name, value in ours.items()}


@asynccontextmanager
async def _body_file(body: bytes) -> AsyncIterator[Path]:
    """File of a body for the block, in a new directory that only this user can read. Raises `Failed`.

    The command may move or delete both.
    """
    directory = None
    try:
        try:
            directory = Path(mkdtemp(prefix="hookbot-"))
            file = directory / "body"
            await trio.Path(file).write_bytes(body)
        except OSError as error:
            # If none can be written, Python's words name those that it has tried.
            raise Failed(Outcome(f"cannot write the body to the temporary directory: {error.strerror}")) from None
        yield file
    finally:
        if directory:
            shutil.rmtree(directory, ignore_errors=True)


def _standard_outputs() -> tuple[Output, Output]:
    # One lock, since both usually lead to the same terminal or pipe.
    lock = trio.Lock()
    return Output(1, lock), Output(2, lock)


def _end(process: trio.Process, *, kill: bool) -> None:
    """Kill or terminate a process with its whole group. Windows has no process groups: there, the process alone."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL if kill else signal.SIGTERM)
        elif kill:
            process.kill()
        else:
            process.terminate()


def _reason(error: OSError, program: str) -> str:
    reason = system_reason(error)
    # Of a script whose interpreter does not exist, the system says that the script does not.
    if error.errno == errno.ENOEXEC or (error.errno == errno.ENOENT and shutil.which(program)):
        return f"{reason}; its first line must name an interpreter, as #!/bin/sh does, without a carriage return"
    return reason


def _result(code: int) -> str:
    return f"exit {code}" if code >= 0 else _signal_name(-code)


def _ending(code: int) -> str:
    return f"exited with {code}" if code > 0 else f"was killed by {_signal_name(-code)}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    # Of the real-time signals, only the first and the last have names.
    except ValueError:
        return f"signal {number}"


def _variable(value: str, encoding: str) -> str:
    """`value` encoded for the environment, without NUL; characters without an encoding become ``?``."""
    return os.fsdecode(value.encode(encoding, "replace").replace(b"\0", b""))
