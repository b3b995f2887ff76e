"""Demo of two hubs with one log in PostgreSQL, one of which is killed while eight senders publish.

Starts a private PostgreSQL, two hubs, and a proxy that is the only address that senders and listeners know. At the end
it compares what the senders were told with what each listener has heard. `make demo-cluster` runs it.
"""

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count, cycle
from pathlib import Path
from typing import Any

import click
import trio

import hookbot
from hookbot.access.tokens import make_token
from hookbot.client import Connected, Disconnected, Publisher, open_publisher

KEY = "demo-key"
TOPIC = "demo"
SENDERS = 8
# From the first publish to the kill, and from there to the last publish.
BEFORE_S, AFTER_S = 2, 4
LAST = b"the last message"
DEBIAN = Path("/usr/lib/postgresql")


@dataclass
class Hub:
    """A hub in a process of its own."""

    name: str
    process: subprocess.Popen[str]
    port: int


@dataclass
class Listener:
    """A listener, and what it has heard."""

    name: str
    color: str
    bodies: list[bytes] = field(default_factory=list)
    gaps: int = 0


def main() -> None:
    """Run the demo."""
    # What the clients say about lost connections is said here in other words.
    logging.getLogger("hookbot").setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        store = stack.enter_context(postgres())
        click.secho("PostgreSQL runs, in a directory of its own.", bold=True)
        hubs = [stack.enter_context(hub(f"hub {number}", store)) for number in (1, 2)]
        for one in hubs:
            click.secho(f"{one.name.capitalize()} listens on http://127.0.0.1:{one.port}.", bold=True)
        good = trio.run(demo, hubs)
    sys.exit(0 if good else 1)


async def demo(hubs: Sequence[Hub]) -> bool:
    """Connect the listeners, publish, kill a hub, and report; True if all is well."""
    listeners = Listener("listener 1", "green"), Listener("listener 2", "cyan")
    acknowledged: list[bytes] = []
    async with trio.open_nursery() as proxy:
        turns = cycle(hubs)
        serve = partial(trio.serve_tcp, partial(join, turns, len(hubs)), 0, host="127.0.0.1")
        [address] = await proxy.start(serve)
        url = f"http://127.0.0.1:{address.socket.getsockname()[1]}"
        click.secho(f"A proxy on {url} gives them connections in turn.\n", bold=True)
        async with trio.open_nursery() as listening:
            for listener in listeners:
                await listening.start(listen, url, listener)
            await publish(url, hubs[0], acknowledged)
            # By then they have heard the last message, or something is wrong.
            listening.cancel_scope.deadline = trio.current_time() + 10
        proxy.cancel_scope.cancel()
    return report(acknowledged, listeners)


async def join(hubs: Iterator[Hub], attempts: int, client: trio.SocketStream) -> None:
    """Join a client to the next hub that takes the connection, until either side closes it."""
    for _ in range(attempts):
        with suppress(OSError):
            upstream = await trio.open_tcp_stream("127.0.0.1", next(hubs).port)
            break
    else:
        return
    async with upstream, trio.open_nursery() as nursery:
        nursery.start_soon(pass_on, client, upstream, nursery.cancel_scope)
        nursery.start_soon(pass_on, upstream, client, nursery.cancel_scope)


async def pass_on(source: trio.SocketStream, target: trio.SocketStream, joined: trio.CancelScope) -> None:
    """Pass on what comes until one side closes."""
    with suppress(trio.BrokenResourceError):
        async for data in source:
            await target.send_all(data)
    joined.cancel()


async def listen(url: str, listener: Listener, *, task_status: trio.TaskStatus[None]) -> None:
    """Hear everything up to the last message."""

    def tell(event: object) -> None:
        if isinstance(event, Disconnected):
            click.secho(f"  {listener.name} has lost its connection", fg=listener.color)
        elif isinstance(event, Connected):
            again = " again" if listener.bodies else ""
            click.secho(f"  {listener.name} is connected{again}", fg=listener.color)

    token = make_token(KEY, f"/sub/{TOPIC}")
    async with hookbot.listen(f"{url}/sub/{TOPIC}", token=token, on_event=tell) as messages:
        task_status.started()
        async for message in messages:
            if isinstance(message, hookbot.Gap):
                listener.gaps += 1
            elif message.body == LAST:
                return
            else:
                listener.bodies.append(message.body)


async def publish(url: str, victim: Hub, acknowledged: list[bytes]) -> None:
    """Publish from all senders at once, as fast as they are answered, and kill a hub meanwhile."""
    click.secho(f"\n{SENDERS} senders publish numbers, each as fast as it is answered:\n", bold=True)
    token = make_token(KEY, f"/pub/{TOPIC}")
    async with open_publisher(f"{url}/pub/{TOPIC}", token=token) as publisher:
        async with trio.open_nursery() as senders:
            ends = trio.current_time() + BEFORE_S + AFTER_S
            for sender in range(SENDERS):
                senders.start_soon(send, publisher, sender, ends, acknowledged)
            await trio.sleep(BEFORE_S)
            victim.process.kill()
            click.secho(f"  {victim.name} is killed, after {len(acknowledged):,} messages", fg="red")
        await publisher.publish(LAST)


async def send(publisher: Publisher, sender: int, ends: float, acknowledged: list[bytes]) -> None:
    """Publish numbers in ascending order, each when the one before is acknowledged."""
    for number in count():
        if trio.current_time() > ends:
            return
        body = b"%d %d" % (sender, number)
        await publisher.publish(body)
        acknowledged.append(body)


def report(acknowledged: Sequence[bytes], listeners: Sequence[Listener]) -> bool:
    """Say how each listener fared, and return True if each heard every message once and in order."""
    click.secho(f"\nThe senders were told of {len(acknowledged):,} messages that they are stored:\n", bold=True)
    click.echo(f"  {'':10} {'heard':>8} {'lost':>8} {'doubled':>8} {'out of order':>14}")
    good = listeners[0].bodies == listeners[1].bodies
    for listener in listeners:
        lost = len(set(acknowledged).difference(listener.bodies))
        doubled = len(listener.bodies) - len(set(listener.bodies))
        late = misplaced(listener.bodies)
        row = f"{len(listener.bodies):8,} {lost:8,} {doubled:8,} {late:14,}"
        click.secho(f"  {listener.name} {row}", fg=listener.color)
        good &= not (lost or doubled or late or listener.gaps)
    if good:
        click.secho("\nNothing was lost, doubled or out of order, and both listeners heard the same order.", bold=True)
    else:
        click.secho("\nThat is not what docs/cluster.md promises: please report it.", fg="red", bold=True)
    return good


def misplaced(bodies: Sequence[bytes]) -> int:
    """Number of messages that came after a later one of the same sender."""
    newest: dict[int, int] = {}
    found = 0
    for body in bodies:
        sender, number = map(int, body.split())
        found += number < newest.get(sender, number)
        newest[sender] = max(number, newest.get(sender, number))
    return found


@contextmanager
def hub(name: str, store: str) -> Iterator[Hub]:
    """A hub that runs in a separate process until the block ends, at a free port."""
    serve = [sys.executable, "-m", "hookbot", "--key", KEY]
    serve += ["serve", "--bind", "127.0.0.1:0", "--store", store, "--log-level", "error"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            url = process.stdout.readline().split()[-1]
            yield Hub(name, process, int(url.rpartition(":")[2]))
        finally:
            process.terminate()


@contextmanager
def postgres() -> Iterator[str]:
    """Address of a PostgreSQL that runs until the block ends, in a directory that only its user enters."""
    programs = find_programs()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        # It refuses to run as root.
        owner: dict[str, Any] = {}
        if os.geteuid() == 0:
            owner = {"user": "postgres", "group": "postgres", "extra_groups": ()}
            shutil.chown(directory, "postgres", "postgres")

        def run(program: str, *arguments: str) -> None:
            # A file: the server would keep a pipe.
            with (directory / "printed").open("w+") as printed:
                command = [str(programs / program), "-D", str(directory / "data"), *arguments]
                done = subprocess.run(command, check=False, stdout=printed, stderr=printed, cwd=directory, **owner)
                if done.returncode:
                    sys.exit(f"{program} fails: {(directory / 'printed').read_text()}")

        run("initdb", "--auth=trust", "--username=hookbot", "--encoding=UTF8", "--locale=C", "--no-sync")
        run("pg_ctl", "start", "--wait", f"--options=-c listen_addresses= -c unix_socket_directories={directory}")
        try:
            yield f"postgresql:///postgres?user=hookbot&host={directory}"
        finally:
            run("pg_ctl", "stop", "--mode=immediate")


def find_programs() -> Path:
    """Folder of the programs of PostgreSQL; ends the demo if there is none."""
    versions = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    found = shutil.which("initdb")
    if not (versions or found):
        sys.exit("The demo needs a PostgreSQL: install Debian's package postgresql, or put initdb on the PATH.")
    return (versions[-1] if versions else Path(str(found)).resolve()).parent


if __name__ == "__main__":
    main()
