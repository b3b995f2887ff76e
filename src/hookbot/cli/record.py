"""``hookbot record`` and ``hookbot play``: messages kept in a file, and delivered from there."""

from __future__ import annotations

import os
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from os.path import samestat
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from ..errors import HookbotError
from .destinations import Destination, DestinationOptions, deliver, destination_options
from .listen import NO_FOLLOW, URL
from .log_lines import log_to_stderr
from .progress import messages as number_of
from .retry_options import EXIT_CODES, HOPELESS_STATUSES, STATUSES, RetryOptions, retry_options
from .subscribe_options import MessageOptions, SubscribeOptions, message_options, run, subscription_options
from .topics import profile

if TYPE_CHECKING:
    from ..delivery.shutdown import Stop


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@URL
@NO_FOLLOW
@subscription_options()
def record(subscribe: SubscribeOptions, file: Path, url: str, no_follow: bool) -> None:
    """Append the messages of a topic to FILE as they arrive.

    Each is a line of JSON, its envelope. If FILE has messages, go on after the last one, whatever --since says: nothing
    is missed that the hub still has.

    \b
    Example:
      hookbot record --since all stripe.jsonl https://TOKEN@hub.example.com/sub/stripe/
    """
    from ..client.address import Address

    query = Address.parse(url).query
    if query.keys() & {"cursor", "group"} or query.get("order") == "newest":
        raise click.UsageError("FILE is the position: URL names no cursor, no group and not order=newest.")
    log_to_stderr(quiet=subscribe.quiet or no_follow)
    run(partial(_record, subscribe, file, url, not no_follow))


async def _record(subscribe: SubscribeOptions, file: Path, url: str, follow: bool, stop: Stop) -> None:
    from ..delivery.recording import open_recorder

    with open_recorder(file) as recorder:
        try:
            async with replace(subscribe, since=recorder.last_id or subscribe.since).open(url, follow=follow) as items:
                await recorder.record(items, subscribe.wants, subscribe.limit, stop)
        finally:
            click.echo(f"{number_of(recorder.count)} recorded in {file}", err=True)


@click.command()
@click.argument("file", type=click.File("rb"))
@click.argument("command", nargs=-1, metavar="[COMMAND [ARGS]...]")
@destination_options
@retry_options("30s", STATUSES, EXIT_CODES, give_up_on=HOPELESS_STATUSES)
@profile
@message_options
def play(
    messages: MessageOptions, retry: RetryOptions, choice: DestinationOptions, file: BinaryIO, command: tuple[str, ...]
) -> None:
    """Deliver the messages in FILE.

    Post them (--to), run a command for each (--exec), or publish them (--publish), as `replay` does. FILE has JSON
    lines: of `record`, of `listen --json`, or dead letters. If a message is given up, or a line is damaged, the exit
    code is 1.

    \b
    Examples:
      hookbot play stripe.jsonl --to localhost:3000/webhook --sign stripe --secret env:STRIPE_SECRET
      hookbot play --speed 10 --where "topic == 'deploy'" stripe.jsonl --exec -- ./deploy.sh
    """
    from ..delivery.worker import hop_name

    destination = choice.make(command)
    # It would never come to its end.
    with suppress(OSError):
        if retry.dead_letter and samestat(Path(retry.dead_letter).stat(), os.fstat(file.fileno())):
            raise click.UsageError("--dead-letter names FILE itself.")
    log_to_stderr(quiet=True)
    hop = hop_name("play", str(Path(file.name).resolve()), destination.name)
    run(partial(_play, messages, retry, file, destination, hop))


async def _play(
    options: MessageOptions, retry: RetryOptions, file: BinaryIO, destination: Destination, hop: str, stop: Stop
) -> None:
    from ..delivery.recording import Playback

    playback = Playback(file, file.name)
    policy, source = retry.policy(options, hop), nullcontext(playback)
    await deliver(source, destination, options, policy, retry.timeout_s, stop, done="played", share=playback.share)
    if playback.damaged:
        raise HookbotError("some lines of the file are damaged")
