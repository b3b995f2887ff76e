"""A hub process that is killed and comes back, on the same port and with the same options."""

import os
import re
import signal
import subprocess
import sys
import time
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import httpx
import trio

from hookbot.access.tokens import make_token
from support import KEY
from support.ports import free_ports

SECRET = "crash-secret"
LAUNCHER = (sys.executable, "-m", "hookbot")
START_S = STOP_S = 30  # only ever reached by a hub that does not

ROUTERS = ("github", "kept")
CONFIGURATION = """
[routers.kept]
router = "filter"
reads = ["load/"]
where = "body.keep"
topic = "kept/{body.sender}"
body = "{of: id}"
"""

http_client = partial(httpx.AsyncClient, verify=False)  # or else it would read all certificates that there are first


class Answers:
    """When senders were answered, on the monotonic clock: how far a hub got, however slow its machine is."""

    def __init__(self) -> None:
        self._times: list[float] = []

    def note(self) -> None:
        """Note that a sender was answered now."""
        self._times.append(time.monotonic())

    def tenths(self, start: float, end: float) -> int:
        """In how many tenths of a second senders were answered between two times."""
        return len({int(10 * at) for at in self._times[bisect(self._times, start) : bisect(self._times, end)]})


class Reachable(Protocol):
    """What senders and listeners know of: one hub, or several that have one log."""

    @property
    def port(self) -> int: ...

    @property
    def life(self) -> int: ...

    def url(self, path: str) -> str: ...

    def check_alive(self) -> None: ...

    answers: Answers

    def unsaved(self, at: float, life: int, later: int) -> float:
        """How busy it was before its end, since it was told something in a life that it no longer knew in a later one.

        In tenths of a second, as `Answers.tenths` counts them; infinite if it did not end.
        """


class Hub:
    """A hub that can be killed and started again: ``hookbot serve`` with `options`.

    `launcher` are the words that start the program.
    """

    def __init__(
        self, directory: Path, options: Mapping[str, str] | None = None, launcher: Sequence[str] = LAUNCHER
    ) -> None:
        self.life = 0
        self.kills = 0
        self.ended_at: dict[int, float] = {}
        """When each life ended, on the monotonic clock."""
        self.thawed_at = -inf
        self.answers = Answers()
        self._process: subprocess.Popen[bytes] | None = None
        self._options = options or {}
        self._launcher = launcher
        [self.port] = free_ports(1)
        self._directory = directory
        (directory / "hookbot.toml").write_text(CONFIGURATION)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{quote(path)}"

    def start(self, *, routers: Sequence[str] = ROUTERS) -> None:
        """Start the hub again."""
        self.life += 1
        options = {
            "--config": self._directory / "hookbot.toml",
            "--data-dir": self._directory,
            "--bind": f"127.0.0.1:{self.port}",
            "--heartbeat": "1s",
            **self._options,
        }
        command = [*self._launcher, "--key", KEY, "--github-secret", SECRET, "serve"]
        command += [str(part) for option in options.items() for part in option]
        command += [part for router in routers for part in ("--router", router)]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)

    async def ready(self) -> None:
        """Wait until it serves."""
        async with http_client() as client:
            with trio.fail_after(START_S):
                while True:
                    self.check_alive()
                    try:
                        if (await client.get(self.url("/readyz"))).status_code == 200:
                            return
                    except httpx.TransportError:
                        await trio.sleep(0.02)

    def check_alive(self) -> None:
        """Check that the hub has not ended on its own."""
        assert self._process is None or self._process.poll() is None, f"the hub ended by itself: {self.log()}"

    def kill(self) -> None:
        """Kill the process, like a power cut that leaves the system's caches intact."""
        self.check_alive()
        self._end()
        self.kills += 1

    def unsaved(self, at: float, life: int, later: int) -> float:
        return self.answers.tenths(at, self.ended_at[life]) if life < later else inf

    @property
    def is_up(self) -> bool:
        """True unless it was killed or stopped."""
        return self._process is not None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze the process for the block, like a virtual machine that is moved to another host.

        That is the end of a life: another hub may have gone on meanwhile.
        """
        assert self._process
        pid = self._process.pid
        self.ended_at[self.life] = time.monotonic()
        self.life += 1
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            self.thawed_at = time.monotonic()
            os.kill(pid, signal.SIGCONT)

    async def stop(self) -> None:
        """Stop the hub by SIGTERM."""
        process, self._process = self._process, None
        assert process
        self.ended_at[self.life] = time.monotonic()
        process.terminate()
        try:
            assert await trio.to_thread.run_sync(process.wait, STOP_S) == 0, self.log()
        finally:
            process.kill()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the hub until the block ends, and leave no process behind."""
        try:
            yield
        finally:
            self._end()

    def _end(self) -> None:
        if self._process:
            self.ended_at[self.life] = time.monotonic()
            self._process.kill()
            self._process.wait()
            self._process = None

    def log(self) -> str:
        """Standard error of the hub, of all its processes."""
        return (self._directory / "log").read_text()

    def check_log(self, never: str = " ERROR |Traceback") -> None:
        """Check that nothing in the log is worse than a warning, or not what is named."""
        for line in self.log().splitlines():
            assert not re.search(never, line), self.log()

    async def ask(self, path: str) -> dict[str, Any]:
        """Response of an operators' path."""
        async with httpx.AsyncClient(
            verify=False, headers={"Authorization": f"Bearer {make_token(KEY, path)}"}, timeout=START_S
        ) as client:
            answer: dict[str, Any] = (await client.get(self.url(path))).raise_for_status().json()
            return answer
