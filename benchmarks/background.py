"""Listeners that are unlike the others, in a process of their own: slow ones, some that catch up, a cursor, a group."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import trio

import hookbot
from benchmarks.connecting import PATIENCE_S, Connection, Lost, connect
from benchmarks.protocols import HttpAndWebsockets, token

# What is published to these, the listeners receive.
JOBS, LARGE, PAST = "bench/jobs", "bench/large", "bench/past"
SLOW = CATCHING_UP = MEMBERS = 2
# A slow one takes 320 kB/s.
SIP_BYTES = 16_000
SIP_S = 0.05
GULP_BYTES = 1 << 18


class Background:
    """The process, from the side of the load generator."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def finish(self, jobs: int, large_bytes: int) -> None:
        """Wait until everything is received: so many jobs, and so many bytes of large messages. Raises `Lost`."""
        missing, _ = self._process.communicate(f"{jobs} {large_bytes}\n", timeout=2 * PATIENCE_S)
        if self._process.returncode or missing.strip():
            raise Lost(f"listeners in the background miss messages: {missing.strip()}")


@contextmanager
def background(port: int, past_bytes: int) -> Iterator[Background]:
    """Listeners that are subscribed, and catch up `past_bytes` from now on. They are killed when the block ends."""
    command = [sys.executable, "-m", __name__, str(port), str(past_bytes)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            if process.stdout.readline() != "ready\n":
                raise Lost("listeners in the background cannot subscribe")
            yield Background(process)
        finally:
            process.kill()


async def listen(port: int, past_bytes: int) -> None:
    """Listen until everything is received that the load generator then says."""
    received: Counter[str] = Counter()
    async with trio.open_nursery() as nursery:
        for who in ("cursor", *["group"] * MEMBERS):
            await nursery.start(_handle, port, who, received)
        for number, connection in enumerate(_subscribed(port, LARGE, SLOW)):
            nursery.start_soon(_read, connection, f"slow {number}", received, SIP_BYTES, SIP_S)
        print("ready", flush=True)
        for number, connection in enumerate(_subscribed(port, PAST, CATCHING_UP, "?since=all")):
            nursery.start_soon(_read, connection, f"catching up {number}", received, GULP_BYTES, 0)
        jobs, large_bytes = map(int, (await trio.to_thread.run_sync(sys.stdin.readline)).split())
        due = {
            "cursor": jobs,
            "group": jobs,
            **{f"slow {number}": large_bytes for number in range(SLOW)},
            **{f"catching up {number}": past_bytes for number in range(CATCHING_UP)},
        }
        with trio.move_on_after(PATIENCE_S):
            while any(received[who] < due[who] for who in due):
                await trio.sleep(SIP_S)
        print(*[f"{who} received {received[who]} of {due[who]}" for who in due if received[who] < due[who]], sep=", ")
        nursery.cancel_scope.cancel()


async def _handle(
    port: int, who: str, received: Counter[str], task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    url = f"http://{token(f'/sub/{JOBS}')}@127.0.0.1:{port}/sub/{JOBS}"
    # None that an earlier round has left.
    name = f"{who}-{os.getpid()}"
    cursor, group = (name, None) if who == "cursor" else (None, name)
    async with hookbot.listen(url, cursor=cursor, group=group) as messages:
        task_status.started()
        async for _ in messages:
            received[who] += 1


async def _read(connection: Connection, who: str, received: Counter[str], size: int, pause_s: float) -> None:
    received[who] += len(connection.early)
    sock = trio.socket.from_stdlib_socket(connection.sock)
    while data := await sock.recv(size):
        received[who] += len(data)
        await trio.sleep(pause_s)


def _subscribed(port: int, topic: str, count: int, query: str = "") -> list[Connection]:
    return connect([port], [HttpAndWebsockets().subscribing(topic, query)] * count)


if __name__ == "__main__":
    trio.run(listen, int(sys.argv[1]), int(sys.argv[2]))
