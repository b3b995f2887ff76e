"""``hookbot replay``: stored messages are delivered again."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import click

from ..protocol.message import Headers, Message, wall_clock_us
from .credentials import find_publish_token
from .display import log_to_stderr
from .exec import check_command
from .parameters import Moment, ago, headers, read_headers
from .retry_options import RetryOptions, retry_options
from .subscribe_options import CURSOR, SubscribeOptions, begins_with_url, run, subscription_options, take_url
from .topics import PUBLICATION, complete_topic

if TYPE_CHECKING:
    from ..delivery.shutdown import Stop
    from ..delivery.target import Target
    from ..delivery.worker import Totals, Work

_UNTIL = Moment("when", ago, "not a time such as 2026-01-02T03:04:05Z, nor how long ago: {!r}")
# Steps of the progress bar: more than a terminal has columns.
_STEPS = 1000
_Ack = Callable[[Message], None]


@dataclass(frozen=True, slots=True)
class _Destination:
    """Destination of the messages: exactly one of `target`, `topic` and `command`."""

    target: Target | None
    topic: str | None
    command: tuple[str, ...]
    headers: Headers

    @property
    def name(self) -> str:
        from ..client.address import Address

        if self.target:
            return str(self.target)
        return str(Address.parse(self.topic)) if self.topic else "\0".join(self.command)

    @asynccontextmanager
    async def open(self, subscribe: SubscribeOptions, hop: str, timeout_s: float) -> AsyncIterator[Work]:
        from ..client import open_publisher
        from ..delivery.command import CommandRunner
        from ..delivery.forwarder import ForwardOptions, open_forwarder
        from ..delivery.replayer import Republisher, with_headers

        if self.target:
            # Not `once`: with an Idempotency-Key of ours, the target would ignore messages that it has received before.
            options = ForwardOptions(hop, timeout_s, headers=self.headers, once=False, ca_file=subscribe.ca_file)
            async with open_forwarder(self.target, options) as forwarder:
                yield forwarder.post
        elif self.topic:
            token = find_publish_token(self.topic)
            async with open_publisher(
                self.topic, token=token, ca_file=subscribe.ca_file, backoff=subscribe.timing.backoff
            ) as publisher:
                yield Republisher(publisher, self.headers, hop).publish
        else:
            runner = CommandRunner(self.command, hop, timeout_s)
            yield lambda message, attempt: runner.run(with_headers(message, self.headers), attempt)


@click.command()
@click.argument("words", nargs=-1, metavar="URL [COMMAND [ARGS]...]", shell_complete=complete_topic)
@click.option("--to", "target", metavar="TARGET", help="Post to this server, as `forward` does.")
@click.option("--exec", "executes", is_flag=True, help="Run COMMAND, as `exec` does.")
@click.option("--publish", "topic", type=PUBLICATION, help="Publish to this topic of a hub.")
@click.option("--until", type=_UNTIL, metavar="WHEN", help="End of the range: 10m or 2h ago, or a time. Default: now.")
@click.option(
    "--speed",
    type=click.FloatRange(0, min_open=True),
    metavar="N",
    help="Replay at N times the original speed. Default: as fast as possible.",
)
@headers
@retry_options(timeout="30s")
@subscription_options(CURSOR)
def replay(
    subscribe: SubscribeOptions,
    retry: RetryOptions,
    words: tuple[str, ...],
    target: str | None,
    executes: bool,
    topic: str | None,
    until: float | None,
    speed: float | None,
    headers: tuple[str, ...],
) -> None:
    """Deliver stored messages again.

    Post them (--to), run a command for each (--exec), or publish them again (--publish). The range begins at --since
    and ends at --until. If a message is given up, the exit code is 1.

    \b
    Examples:
      hookbot replay --since 2h --to http://localhost:3000/webhook https://TOKEN@hub.example.com/sub/stripe
      hookbot replay --since 1d --until 1h --speed 60 https://TOKEN@hub.example.com/sub/ --exec -- ./load.sh
    """
    from ..delivery.target import Target

    if (target is not None) + (topic is not None) + executes != 1:
        raise click.UsageError("Needs exactly one of --to, --exec and --publish.")
    if subscribe.since is None and subscribe.cursor is None:
        raise click.UsageError("Needs --since: 2h, 7d, a time, an id, or all.")
    url, command = take_url(words, not executes or begins_with_url(words))
    if command and not executes:
        raise click.UsageError("COMMAND needs --exec.")
    log_to_stderr(quiet=True)
    destination = _Destination(
        Target.parse(target) if target else None,
        topic,
        check_command(command) if executes else (),
        read_headers(headers),
    )
    until_us = None if until is None else round(until * 1_000_000)
    run(partial(_replay, subscribe, retry, url, destination, until_us, speed))


async def _replay(
    subscribe: SubscribeOptions,
    retry: RetryOptions,
    url: str,
    destination: _Destination,
    until_us: int | None,
    speed: float | None,
    stop: Stop,
) -> None:
    from ..client.address import Address
    from ..delivery.dead_letters import GaveUp
    from ..delivery.replayer import Replay
    from ..delivery.worker import Totals, Worker, hop_name

    hop = hop_name("replay", str(Address.parse(url)), destination.name)
    began, totals = time.monotonic(), Totals()
    try:
        async with (
            destination.open(subscribe, hop, retry.timeout_s) as work,
            subscribe.open(url, follow=False) as messages,
        ):
            with _progress(until_us, shown=sys.stderr.isatty() and not destination.command) as note:
                worker = Worker(work, retry.policy(subscribe, hop), note(messages.ack))
                totals = worker.totals
                await worker.run(Replay(messages, until_us, speed), stop)
    finally:
        click.echo(f"{_summary(totals)}, in {time.monotonic() - began:.1f} s", err=True)
    if totals.failed:
        raise GaveUp("some messages could not be handled")


@contextmanager
def _progress(until_us: int | None, *, shown: bool) -> Iterator[Callable[[_Ack], _Ack]]:
    """Show a progress bar over the time range if `shown`, and yield a wrapper for `ack`, which advances it."""
    if not shown:
        yield lambda ack: ack
        return
    end_us = until_us or wall_clock_us()
    began_us = 0
    with click.progressbar(length=_STEPS, label="Replaying", file=sys.stderr) as bar:

        def moving(ack: _Ack) -> _Ack:
            def moved(message: Message) -> None:
                nonlocal began_us
                began_us = began_us or message.time_us
                share = (message.time_us - began_us) / max(1, end_us - began_us)
                bar.update(max(0, min(_STEPS, round(share * _STEPS)) - bar.pos))
                ack(message)

            return moved

        yield moving
        bar.update(_STEPS - bar.pos)


def _summary(totals: Totals) -> str:
    counts = {"failed": totals.failed, "skipped": totals.skipped, "gaps": totals.gaps}
    return ", ".join([f"{totals.done} replayed", *(f"{count} {what}" for what, count in counts.items() if count)])
