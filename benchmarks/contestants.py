"""Contestants: the servers that are compared, and the commands that start them."""

import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from benchmarks.processes import Process, free_port, running, settle
from benchmarks.protocols import KEY, SECRET, HttpAndWebsockets, JetStream, Nats, OnlyWebsockets, Protocol

HTTP = HttpAndWebsockets()
# Programs that come with packages are beside the interpreter, also of an environment that is not activated.
PATH = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))

Command = Callable[[int, Path], Sequence[str]]
"""Command line for a port and a directory of its own."""


@dataclass(frozen=True)
class Contestant:
    """A server that accepts publishes and delivers them to subscribers."""

    name: str
    command: Command
    protocol: Protocol = HTTP
    program: str = sys.executable

    @property
    def installed(self) -> bool:
        """True if its program is installed on this machine."""
        return shutil.which(self.program, path=PATH) is not None


def hub(*options: str) -> Command:
    """Command for ``hookbot serve`` with these options."""

    def command(port: int, directory: Path) -> Sequence[str]:
        listen = ("--bind", f"127.0.0.1:{port}", "--data-dir", str(directory))
        return [sys.executable, "-m", "hookbot", "--key", KEY, "--github-secret", SECRET, "serve", *listen, *options]

    return command


def server(module: str, *arguments: str) -> Command:
    """Command for a module of `benchmarks.servers`."""
    return lambda port, directory: [sys.executable, "-m", f"benchmarks.servers.{module}", str(port), *arguments]


def nats(*options: str) -> Command:
    """Command for nats-server with these lines of configuration, in which ``DIRECTORY`` is one of its own."""

    def command(port: int, directory: Path) -> Sequence[str]:
        # Pings would be counted as parts of messages.
        lines = (f'listen: "127.0.0.1:{port}"', 'ping_interval: "1h"', *options)
        file = directory / "nats.conf"
        file.write_text("\n".join(lines).replace("DIRECTORY", str(directory)))
        return [shutil.which("nats-server", path=PATH) or "nats-server", "--config", str(file)]

    return command


def ancestor(port: int, directory: Path) -> Sequence[str]:
    """Command for the ancestor, hookbot 0.13 in Go."""
    return ["hookbot-go", "--key", KEY, "serve", "--bind", f"127.0.0.1:{port}"]


# Comparable with the other servers, none of which stores a message.
FORGETS = ("--store", "memory:", "--keep-bytes", "64MiB")
HOOKBOT = Contestant("hookbot", hub(*FORGETS))
DURABLE = Contestant("hookbot, durable", hub())
NO_DOOR = Contestant("hookbot --no-door", hub("--no-door", *FORGETS))
QUART = Contestant("Quart-Trio", server("quart_trio"))
STARLETTE = Contestant("Starlette, uvicorn", server("starlette_uvicorn"))
WEBSOCKETS = Contestant("websockets.broadcast", server("websockets_broadcast"), OnlyWebsockets())
NATS = Contestant("nats-server", nats(), Nats(), "nats-server")
SYNCED = 'jetstream { store_dir: "DIRECTORY", sync_interval: always }'
JETSTREAM = Contestant("nats-server, JetStream", nats(SYNCED), JetStream(), "nats-server")
ANCESTOR = Contestant("hookbot 0.13 (Go)", ancestor, program="hookbot-go")
BARE = Contestant("bare socket.send", server("bare_send"))

ALL = (HOOKBOT, DURABLE, NO_DOOR, QUART, STARLETTE, WEBSOCKETS, NATS, JETSTREAM, ANCESTOR, BARE)


class Stage:
    """The running contestants: each is started when it is first needed, and killed when the block ends."""

    def __init__(self, directory: Path, names: Collection[str]) -> None:
        self.directory = directory
        self._names = names
        self._running: dict[Contestant, Process] = {}
        self._stack = ExitStack()
        self._numbers = count()

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def present(self, contestants: Iterable[Contestant]) -> Sequence[Contestant]:
        """Those of the contestants that are selected and installed."""
        return [one for one in contestants if one.name in self._names and one.installed]

    def start(self, contestant: Contestant) -> Process:
        """Process of a contestant, shared by all measures; started on first use, and idle then."""
        if contestant not in self._running:
            self._running[contestant] = self._stack.enter_context(self.fresh(contestant))
            self.settle()
        return self._running[contestant]

    def settle(self) -> None:
        """Wait until all contestants are idle, having cleaned up after closed connections."""
        settle(list(self._running.values()))

    @contextmanager
    def fresh(self, contestant: Contestant, directory: Path | None = None) -> Iterator[Process]:
        """A new process of a contestant, killed when the block ends."""
        own = directory or self.directory / str(next(self._numbers))
        own.mkdir(exist_ok=True)
        port = free_port()
        with running(contestant.command(port, own), port, own / "output.log") as process:
            yield process
