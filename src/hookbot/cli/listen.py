"""``hookbot listen`` and ``hookbot latest``: messages on standard output."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

import click

from ..errors import HookbotError
from ..protocol.envelope import encode_line, to_envelope
from ..protocol.message import Gap, Message
from .display import for_terminal, show
from .log_lines import log_to_stderr
from .subscribe_options import CURSOR, GROUP, LIVE, SubscribeOptions, run, subscription_options, with_query
from .topics import SUBSCRIPTION

if TYPE_CHECKING:
    from ..delivery.shutdown import Stop

logger = logging.getLogger(__package__)

Form = Literal["text", "raw", "json"]

URL = click.argument("url", type=SUBSCRIPTION, envvar="HOOKBOT_URL")
RAW = click.option(
    "--raw", "form", flag_value="raw", help="Print only the bodies, byte for byte (except to a terminal)."
)
JSON = click.option("--json", "form", flag_value="json", help="Print each message as a line of JSON, its envelope.")
NO_FOLLOW = click.option("--no-follow", is_flag=True, help="Exit after the messages that are stored now.")
_HEADER = click.option(
    "--header", "-H", "headers", multiple=True, metavar="NAME", help="Also show this header. Repeatable."
)


@click.command()
@URL
@RAW
@JSON
@_HEADER
@NO_FOLLOW
@LIVE
@subscription_options(CURSOR, GROUP)
def listen(
    subscribe: SubscribeOptions, url: str, form: Form | None, headers: tuple[str, ...], no_follow: bool, live: bool
) -> None:
    """Print the messages of a topic as they arrive.

    If URL ends in "/", print those of all topics beneath it.

    \b
    Examples:
      hookbot listen https://TOKEN@hub.example.com/sub/github.com/
      hookbot listen --since 2h --where "body.action == 'opened'" --header X-GitHub-Event URL
    """
    if live:
        if form or headers or no_follow:
            raise click.UsageError("--live excludes --raw, --json, --header and --no-follow.")
        run(partial(_watch, subscribe, url))
        return
    log_to_stderr(quiet=subscribe.quiet or no_follow)
    run(partial(_print, subscribe, url, printing(form, headers), subscribe.limit, not no_follow))


@click.command()
@URL
@RAW
@JSON
@_HEADER
@subscription_options()
def latest(subscribe: SubscribeOptions, url: str, form: Form | None, headers: tuple[str, ...]) -> None:
    """Print the newest message of a topic.

    With --where, print the newest that matches; with --limit N, the newest N, newest first. If there is none, the exit
    code is 1.

    \b
    Example:
      hookbot latest --raw https://TOKEN@hub.example.com/sub/deployed/shop
    """
    from ..client.address import Address

    log_to_stderr(quiet=True)
    # Without a start, the subscription would start now, after all stored messages.
    since = "" if subscribe.since or "since" in Address.parse(url).query else "since=all"
    newest = with_query(url, "&".join(filter(None, (since, "order=newest"))))
    run(partial(_print_latest, subscribe, newest, printing(form, headers)))


async def _print_latest(
    subscribe: SubscribeOptions, url: str, printing: Callable[[Message], bytes], stop: Stop
) -> None:
    if not await _print(subscribe, url, printing, subscribe.limit or 1, False, stop):
        raise HookbotError("the log has no such message")


async def _print(
    subscribe: SubscribeOptions,
    url: str,
    printing: Callable[[Message], bytes],
    limit: int | None,
    follow: bool,
    stop: Stop,
) -> int:
    """Print messages and return their number. Each is acknowledged once written, or if ``--where`` excludes it."""
    from ..delivery.output import Output

    printed = 0
    output = Output(sys.stdout.fileno())
    # One at a time: a member of a group would otherwise hold messages that it may never print.
    async with subscribe.open(url, follow=follow, max_unacked=1) as messages:
        # The first Ctrl-C must not cut a message in half: only `next_of`, between two messages, reacts to it.
        with stop.gently(lambda: None):
            while printed != limit and (item := await stop.next_of(messages)):
                if isinstance(item, Gap):
                    logger.warning("messages before %s are missing (%s)", item.before, item.reason)
                    continue
                if subscribe.wants(item):
                    await output.write(printing(item))
                    printed += 1
                messages.ack(item)
    return printed


async def _watch(subscribe: SubscribeOptions, url: str, stop: Stop) -> None:
    """Show messages in a live view. Each is acknowledged once it is there, or if ``--where`` excludes it."""
    import trio

    from ..client.address import Address
    from .live.live_view import open_live_view

    async with (
        open_live_view(f"listen  {Address.parse(url)}") as live,
        subscribe.open(url, max_unacked=1) as messages,
    ):
        with trio.CancelScope() as reading, stop.gently(reading.cancel):
            while live.deliveries.received != subscribe.limit and (item := await live.pause.next_of(messages)):
                if isinstance(item, Gap):
                    live.deliveries.missed(item)
                    logger.warning("messages before %s are missing (%s)", item.before, item.reason)
                    continue
                if subscribe.wants(item):
                    live.deliveries.receive(item)
                messages.ack(item)


def printing(form: Form | None, headers: Sequence[str]) -> Callable[[Message], bytes]:
    """Function that makes of a message what is printed of it, with these headers if they are shown apart."""
    if form == "raw":
        return _raw_on_terminal if sys.stdout.isatty() else _raw
    if form == "json":
        return _json
    return partial(_text, headers, sys.stdout.isatty() and "NO_COLOR" not in os.environ)


def _raw(message: Message) -> bytes:
    return message.body


def _raw_on_terminal(message: Message) -> bytes:
    return for_terminal(message.body).encode()


def _json(message: Message) -> bytes:
    return encode_line(to_envelope(message))


def _text(headers: Sequence[str], colours: bool, message: Message) -> bytes:
    text = show(message, headers)
    # JSON may contain lone surrogates, which UTF-8 cannot encode.
    return (text if colours else click.unstyle(text)).encode("utf-8", "backslashreplace")
