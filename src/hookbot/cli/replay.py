"""``hookbot replay``: stored messages are delivered again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import click

from ..protocol.message import Message, wall_clock_us
from .destinations import Destination, DestinationOptions, deliver, destination_options
from .log_lines import log_to_stderr
from .parameters import Moment, ago
from .retry_options import EXIT_CODES, HOPELESS_STATUSES, STATUSES, RetryOptions, retry_options
from .subscribe_options import CURSOR, SubscribeOptions, begins_with_url, run, subscription_options, take_url
from .topics import complete_topic

if TYPE_CHECKING:
    from ..delivery.shutdown import Stop

_UNTIL = Moment("when", ago, "not a time such as 2026-01-02T03:04:05Z, nor how long ago: {!r}")


@click.command()
@click.argument("words", nargs=-1, metavar="URL [COMMAND [ARGS]...]", shell_complete=complete_topic)
@destination_options
@click.option("--until", type=_UNTIL, metavar="WHEN", help="End of the range: 10m or 2h ago, or a time. Default: now.")
@retry_options("30s", STATUSES, EXIT_CODES, give_up_on=HOPELESS_STATUSES)
@subscription_options(CURSOR)
def replay(
    subscribe: SubscribeOptions,
    retry: RetryOptions,
    choice: DestinationOptions,
    words: tuple[str, ...],
    until: float | None,
) -> None:
    """Deliver stored messages again.

    Post them (--to), run a command for each (--exec), or publish them again (--publish). The range begins at --since
    and ends at --until. If a message is given up, the exit code is 1.

    \b
    Examples:
      hookbot replay --since 2h --to http://localhost:3000/webhook https://TOKEN@hub.example.com/sub/stripe
      hookbot replay --since 1d --until 1h --speed 60 https://TOKEN@hub.example.com/sub/ --exec -- ./load.sh
    """
    if subscribe.since is None and subscribe.cursor is None:
        raise click.UsageError("Needs --since: 2h, 7d, a time, an id, or all.")
    url, command = take_url(words, not choice.executes or begins_with_url(words))
    destination = choice.make(command)
    log_to_stderr(quiet=True)
    until_us = None if until is None else round(until * 1_000_000)
    run(partial(_replay, subscribe, retry, url, destination, until_us))


async def _replay(
    subscribe: SubscribeOptions,
    retry: RetryOptions,
    url: str,
    destination: Destination,
    until_us: int | None,
    stop: Stop,
) -> None:
    from ..client.address import Address
    from ..delivery.worker import hop_name

    hop = hop_name("replay", str(Address.parse(url)), destination.name)
    source = subscribe.open(url, follow=False)
    share = _share_of_time(until_us or wall_clock_us())
    policy = retry.policy(subscribe, hop)
    await deliver(
        source, destination, subscribe, policy, retry.timeout_s, stop, done="replayed", until_us=until_us, share=share
    )


def _share_of_time(end_us: int) -> Callable[[Message], float]:
    """Function that tells how much of the time from the first message to the end has passed with a message."""
    began_us = 0

    def share(message: Message) -> float:
        nonlocal began_us
        began_us = began_us or message.time_us
        return (message.time_us - began_us) / max(1, end_us - began_us)

    return share
