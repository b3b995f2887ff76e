"""Options of a subscription, and `run`, which runs a command until it ends or a signal stops it."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import wraps
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlunsplit

import click

from ..errors import BodyTooLarge, Lost, Refused
from ..protocol.expressions import Expression, document
from ..protocol.message import Message
from ..protocol.subscribe import MAX_ACK_TIMEOUT_S
from ..protocol.urls import split_url
from .credentials import find_token
from .log_lines import log_to_stderr
from .parameters import Decorator, Parsed, cafile, token_file, with_options
from .topics import profile, url_of

if TYPE_CHECKING:
    from ..client import Event, Messages, Timing
    from ..delivery.shutdown import Stop

# A command that does not follow gives up on a lost hub after this time, as a publish does.
PATIENCE_S = 30.0

logger = logging.getLogger(__package__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageOptions:
    """Values of the options that `message_options` adds to a command that handles messages, wherever they come from."""

    where: Expression | None
    limit: int | None
    ca_file: Path | None
    quiet: bool
    timing: Timing

    @property
    def consumer(self) -> str:
        """Name of the cursor or group from which the messages come; empty without one."""
        return ""

    def wants(self, message: Message) -> bool:
        """True without ``--where``, or if the message matches it. False, with a warning, if the expression fails."""
        if self.where is None:
            return True
        try:
            return self.where.holds(document(message, self.where.fields))
        except (ValueError, BodyTooLarge) as error:
            logger.warning("skipped %s %s: --where failed: %s", message.topic, message.id, error)
            return False


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscribeOptions(MessageOptions):
    """Values of the options that `subscription_options` adds to a command."""

    since: str | None
    cursor: str | None
    group: str | None
    unsafe: bool
    token_file: Path | None

    @property
    def consumer(self) -> str:
        """Name of its cursor or group; empty without one."""
        return self.cursor or self.group or ""

    @asynccontextmanager
    async def open(
        self,
        url: str,
        *,
        follow: bool = True,
        max_unacked: int | None = None,
        ack_timeout_s: float = 0,
        reply: bool = False,
        patience_s: float = PATIENCE_S,
    ) -> AsyncIterator[Messages]:
        """Open the subscription; its messages must be acknowledged with `Messages.ack`.

        With `follow`, a lost hub is retried forever; otherwise for `patience_s`, after which the block is cancelled and
        `Lost` is raised. `max_unacked` and `ack_timeout_s` (duration of the longest attempt) apply to groups only.
        `reply` is that of `listen`. Raises `Refused` for an unsafe topic without ``--unsafe``, or if the hub refuses.
        """
        from ..client import listen
        from ..client.address import Address, subscription_of

        address = Address.parse(url)
        if subscription_of(address).unsafe and not self.unsafe:
            raise Refused(f"anybody may publish to {address}: add --unsafe if every message is checked here")
        query = "" if not self.group or "ack_timeout" in address.query else _ack_timeout(ack_timeout_s)
        with _patience(str(address), inf if follow else patience_s) as note:
            async with listen(
                with_query(url, query),
                since=self.since,
                cursor=self.cursor,
                group=self.group,
                follow=follow,
                manual_ack=True,
                max_unacked=max_unacked if self.group else None,
                reply=reply,
                token=find_token(url, self.token_file),
                unsafe=self.unsafe,
                ca_file=self.ca_file,
                timing=self.timing,
                on_event=note,
            ) as messages:
                yield messages


def subscription_options(*consumer: Decorator) -> Decorator:
    """Decorator that adds the options of a subscription, passed as `subscribe`, and sets up logging for people.

    `consumer` are the options for acknowledgements that the command has: `CURSOR`, `GROUP`, both or none.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @with_options(_SINCE, *consumer, _UNSAFE, _WHERE, _LIMIT, profile, token_file, cafile, _QUIET)
        @wraps(command)
        def described(
            since: str | None,
            unsafe: bool,
            token_file: Path | None,
            cursor: str | None = None,
            group: str | None = None,
            **others: Any,
        ) -> Any:
            asked: dict[str, Any] = {
                "since": since,
                "cursor": cursor,
                "group": group,
                "unsafe": unsafe,
                "token_file": token_file,
            }
            return command(subscribe=SubscribeOptions(**asked, **_take_message_options(others)), **others)

        return described

    return decorate


def message_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator for commands without a subscription: adds `MessageOptions`, passed as `messages`, and sets up logging.

    As for `subscription_options`, the logging is for people.
    """

    @with_options(_WHERE, _LIMIT, cafile, _QUIET)
    @wraps(command)
    def described(**others: Any) -> Any:
        return command(messages=MessageOptions(**_take_message_options(others)), **others)

    return described


def _take_message_options(given: dict[str, Any]) -> dict[str, Any]:
    """Take the fields of `MessageOptions` out of the options that are given to a command, and log as these say."""
    from ..client.timing import DEFAULT_TIMING

    log_to_stderr(quiet=given["quiet"])
    timing = click.get_current_context().obj["timing"] or DEFAULT_TIMING
    taken = {name: given.pop(name) for name in ("where", "limit", "quiet")}
    return {**taken, "ca_file": given.pop("cafile"), "timing": timing}


def take_url(words: tuple[str, ...], is_url: bool) -> tuple[str, tuple[str, ...]]:
    """URL of a subscription (of the first word if `is_url`, else of HOOKBOT_URL) and the other words.

    Raises `UsageError` without a URL, and as `url_of`.
    """
    if is_url and words:
        return url_of(words[0], "subscribe"), words[1:]
    url = os.environ.get("HOOKBOT_URL")
    if not url:
        raise click.UsageError("Missing argument 'URL': give it, or set HOOKBOT_URL.")
    return url_of(url, "subscribe"), words


def begins_with_url(words: tuple[str, ...]) -> bool:
    """True if the first of the words before a command is a URL or a topic: with HOOKBOT_URL set, only a URL is."""
    return "://" in "".join(words[:1]) or not os.environ.get("HOOKBOT_URL")


def with_query(url: str, query: str) -> str:
    """URL with `query` appended to its query."""
    parts = split_url(url)
    return urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, query))))) if query else url


def run(main: Callable[[Stop], Awaitable[object]]) -> None:
    """Run a command until it ends; raises `Abort` after a signal, even if the command then ended gracefully.

    Meanwhile nothing waits for a reader of standard error.
    """
    from ..delivery.shutdown import run_until_stopped
    from ..hub.background_output import ERRORS, background_output, loss

    with background_output(loss, ERRORS):
        if not run_until_stopped(main):
            raise click.exceptions.Abort


@contextmanager
def _patience(hub: str, seconds: float) -> Iterator[Callable[[Event], None]]:
    """Function that takes events. The block is cancelled, and `Lost` raised, once the hub has been lost for so long."""
    import trio

    from ..client import Disconnected

    lost = ""

    def note(event: Event) -> None:
        nonlocal lost
        if isinstance(event, Disconnected):
            lost = lost or event.why
            scope.deadline = min(scope.deadline, trio.current_time() + seconds)
        else:
            scope.deadline, lost = inf, ""

    with trio.CancelScope() as scope:
        yield note
    if scope.cancelled_caught:
        raise Lost(f"{hub}: {lost}")


def _ack_timeout(seconds: float) -> str:
    """Query for the ack timeout of a group: 30 s longer than an attempt, at most the hub's limit; "" for 0 seconds."""
    return f"ack_timeout={min(round(seconds) + 30, MAX_ACK_TIMEOUT_S)}s" if seconds else ""


_SINCE = click.option("--since", metavar="WHEN", help="Begin in the past: an id, 90s, 10m, 2h, 7d, a time, or all.")
CURSOR = click.option("--cursor", metavar="NAME", help="Resume at this cursor, whose position the hub remembers.")
GROUP = click.option("--group", metavar="NAME", help="Like --cursor, but shared: each message goes to one member.")
LIVE = click.option(
    "--live", is_flag=True, help="Show messages on the whole terminal, with keys to inspect, pause and try again."
)
_UNSAFE = click.option("--unsafe", is_flag=True, help="Allow /unsafe/sub/..., where anybody may publish.")
_WHERE = click.option(
    "--where",
    type=Parsed("expression", Expression),
    metavar="EXPRESSION",
    help="Only messages that match this JMESPath expression.",
)
_LIMIT = click.option("--limit", "-n", type=click.IntRange(1), metavar="N", help="Exit after N messages.")
_QUIET = click.option("--quiet", "-q", is_flag=True, help="Report only problems.")
