"""Processes of contestants: started, measured through ``/proc`` and CPU clocks, killed."""

import os
import resource
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Limits against a hang: a contestant starts within a second, and settles within a few.
START_S = 20.0
SETTLING_S = 20.0
# Short beside a start, which is measured too.
LISTENING_STEP_S = 0.002
# A process that uses less than this share of one processor, for this time, has settled.
QUIET = 0.1
QUIET_S = 0.1
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Process:
    """A running contestant."""

    pid: int
    port: int

    @property
    def cpu_s(self) -> float:
        """CPU time of all threads so far, in user and system mode.

        The sum of utime and stime in ``/proc/PID/stat``, but in nanoseconds instead of ticks of 10 ms.
        """
        # The clock id that clock_getcpuclockid(3) computes from a process id; Python does not wrap that function.
        return time.clock_gettime(~self.pid << 3 | 2)

    @property
    def rss_bytes(self) -> int:
        """Resident memory."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE_BYTES


@dataclass(frozen=True)
class Together(Process):
    """Processes whose CPU time is measured together; the rest is that of the first one."""

    others: Sequence[Process]

    @classmethod
    def of(cls, processes: Sequence[Process]) -> "Together":
        """Processes that belong together."""
        first, *others = processes
        return cls(first.pid, first.port, others)

    @property
    def cpu_s(self) -> float:
        """CPU time of all of them."""
        return super().cpu_s + sum(process.cpu_s for process in self.others)


@contextmanager
def running(command: Sequence[str], port: int, log: Path) -> Iterator[Process]:
    """A process that listens on `port`, killed when the block ends; its output is appended to the file `log`."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        _wait_for(port, process, log)
        yield Process(process.pid, port)
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    """A TCP port that is not in use."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def raise_file_limit() -> int:
    """Raise the limit of open files, and thus of connections, to the hard limit, and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def settle(processes: Sequence[Process]) -> None:
    """Wait until the processes are idle, 20 s at most."""
    deadline = time.monotonic() + SETTLING_S
    busy = True
    while busy and time.monotonic() < deadline:
        before = sum(process.cpu_s for process in processes)
        time.sleep(QUIET_S)
        busy = sum(process.cpu_s for process in processes) - before > QUIET_S * QUIET


class Meter:
    """Time used, from now on, by a contestant and by the load generator, which is this process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._cpu_s = process.cpu_s
        self._own_s = time.process_time()
        self._start_s = time.perf_counter()

    @property
    def wall_s(self) -> float:
        """Wall-clock time."""
        return time.perf_counter() - self._start_s

    @property
    def cpu_s(self) -> float:
        """CPU time of the contestant."""
        return self._process.cpu_s - self._cpu_s

    @property
    def generator(self) -> float:
        """Share of the time in which the generator was busy. Near 1, the generator was the bottleneck."""
        return (time.process_time() - self._own_s) / self.wall_s


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(LISTENING_STEP_S)
    raise RuntimeError(f"{process.args!r} does not listen on port {port}:\n{log.read_text()[-2000:]}")
