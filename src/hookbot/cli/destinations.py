"""Destinations of messages that `replay`, `play` and `retry-file` deliver: the options, and the delivery itself."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, Protocol

import click

from ..protocol.message import Gap, Headers, Message
from .credentials import find_publish_token
from .exec import check_command
from .parameters import headers, read_headers, with_options
from .sign_options import sign_options
from .subscribe_options import MessageOptions
from .topics import PUBLICATION

if TYPE_CHECKING:
    from ..delivery.observer import Observer
    from ..delivery.shutdown import Stop
    from ..delivery.signer import Signer
    from ..delivery.target import Target
    from ..delivery.worker import Policy, Totals, Work

# Steps of the progress bar: more than a terminal has columns.
_STEPS = 1000

_Ack = Callable[[Message], None]


class StoredMessages(Protocol):
    """Asynchronous iterator of stored messages and gaps, that is told of each message that is done with."""

    def __aiter__(self) -> AsyncIterator[Message | Gap]: ...

    def ack(self, message: Message) -> None: ...


@dataclass(frozen=True, slots=True)
class Destination:
    """Destination of the messages, exactly one of `target`, `topic` and `command`, and the pace."""

    target: Target | None
    topic: str | None
    command: tuple[str, ...]
    headers: Headers
    signer: Signer | None
    speed: float | None

    @property
    def name(self) -> str:
        """The same for the same destination."""
        from ..client.address import Address

        if self.target:
            return str(self.target)
        return str(Address.parse(self.topic)) if self.topic else "\0".join(self.command)

    @asynccontextmanager
    async def open(self, options: MessageOptions, hop: str, timeout_s: float) -> AsyncIterator[Work]:
        """Work of a worker with each message, until the block ends."""
        from ..client import open_publisher
        from ..delivery.command import CommandRunner
        from ..delivery.forwarder import ForwardOptions, open_forwarder
        from ..delivery.replayer import Republisher, with_headers

        if self.target:
            # Not `once`: with an Idempotency-Key of ours, the target would ignore messages that it has received before.
            posting = ForwardOptions(
                hop, timeout_s, headers=self.headers, signer=self.signer, once=False, ca_file=options.ca_file
            )
            async with open_forwarder(self.target, posting) as forwarder:
                yield forwarder.post
        elif self.topic:
            token = find_publish_token(self.topic)
            async with open_publisher(
                self.topic, token=token, ca_file=options.ca_file, backoff=options.timing.backoff
            ) as publisher:
                yield Republisher(publisher, self.headers, hop).publish
        else:
            runner = CommandRunner(self.command, hop, timeout_s)
            yield lambda message, attempt: runner.run(with_headers(message, self.headers), attempt)


@dataclass(frozen=True, slots=True)
class DestinationOptions:
    """Values of the options that `destination_options` adds to a command, before the words of COMMAND are known."""

    target: str | None
    topic: str | None
    executes: bool
    """True if the destination is a command."""
    speed: float | None
    headers: tuple[str, ...]
    signer: Signer | None

    def make(self, command: tuple[str, ...]) -> Destination:
        """The destination; these are the words of the command to run, if any. Raises `UsageError`."""
        from ..delivery.target import Target

        if command and not self.executes:
            raise click.UsageError("COMMAND needs --exec.")
        return Destination(
            Target.parse(self.target) if self.target else None,
            self.topic,
            check_command(command) if self.executes else (),
            read_headers(self.headers),
            self.signer,
            self.speed,
        )


def destination_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator that adds the options of a destination, passed as `choice`; raises `UsageError` for none or several."""

    @with_options(_TO, _EXEC, _PUBLISH, _SPEED, headers)
    @sign_options
    @wraps(command)
    def described(
        target: str | None,
        executes: bool,
        topic: str | None,
        speed: float | None,
        headers: tuple[str, ...],
        signer: Signer | None,
        **others: Any,
    ) -> Any:
        if (target is not None) + (topic is not None) + executes != 1:
            raise click.UsageError("Needs exactly one of --to, --exec and --publish.")
        if signer and not target:
            raise click.UsageError("--sign needs --to.")
        return command(choice=DestinationOptions(target, topic, executes, speed, headers, signer), **others)

    return described


async def deliver(
    source: AbstractAsyncContextManager[StoredMessages],
    destination: Destination,
    options: MessageOptions,
    policy: Policy,
    timeout_s: float,
    stop: Stop,
    *,
    done: str,
    until_us: int | None = None,
    share: Callable[[Message], float],
    observer: Observer | None = None,
) -> None:
    """Deliver the messages of a source up to the time `until_us`, and tell how many were `done`, such as ``replayed``.

    `share` is how much of the source has come with a message, from 0 to 1, for the progress bar. Raises `GaveUp` at the
    end if any could not be handled, and as `Worker.run`.
    """
    from ..delivery.dead_letters import GaveUp
    from ..delivery.replayer import Replay
    from ..delivery.worker import Totals, Worker

    began, totals = time.monotonic(), Totals()
    try:
        async with destination.open(options, policy.hop, timeout_s) as work, source as messages:
            with _progress(share, shown=sys.stderr.isatty() and not destination.command) as note:
                worker = Worker(work, policy, note(messages.ack), observer)
                totals = worker.totals
                await worker.run(Replay(aiter(messages), until_us, destination.speed), stop)
    finally:
        click.echo(f"{_summary(totals, done)}, in {time.monotonic() - began:.1f} s", err=True)
    if totals.failed:
        raise GaveUp("some messages could not be handled")


@contextmanager
def _progress(share: Callable[[Message], float], *, shown: bool) -> Iterator[Callable[[_Ack], _Ack]]:
    """Show a progress bar if `shown`, and yield a wrapper for `ack`, which advances it."""
    if not shown:
        yield lambda ack: ack
        return
    with click.progressbar(length=_STEPS, label="Delivering", file=sys.stderr) as bar:

        def moving(ack: _Ack) -> _Ack:
            def moved(message: Message) -> None:
                bar.update(max(0, min(_STEPS, round(share(message) * _STEPS)) - bar.pos))
                ack(message)

            return moved

        yield moving
        bar.update(_STEPS - bar.pos)


def _summary(totals: Totals, done: str) -> str:
    counts = {"failed": totals.failed, "skipped": totals.skipped, "gaps": totals.gaps}
    return ", ".join([f"{totals.done} {done}", *(f"{count} {what}" for what, count in counts.items() if count)])


_TO = click.option("--to", "target", metavar="TARGET", help="Post to this server, as `forward` does.")
_EXEC = click.option("--exec", "executes", is_flag=True, help="Run COMMAND, as `exec` does.")
_PUBLISH = click.option("--publish", "topic", type=PUBLICATION, help="Publish to this topic of a hub.")
_SPEED = click.option(
    "--speed",
    type=click.FloatRange(0, min_open=True),
    metavar="N",
    help="Deliver at N times the original speed. Default: as fast as possible.",
)
