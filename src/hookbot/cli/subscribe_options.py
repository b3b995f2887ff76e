"""Options of all commands that listen: the subscription, and how such a command ends."""

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import wraps
from math import inf
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import click
import trio

from ..client import Disconnected, Event, Lost, Messages, listen
from ..client.address import Address, subscription_of
from ..delivery.shutdown import Stop, run_until_stopped
from ..errors import Refused
from ..protocol.message import Message
from ..protocol.subscribe import MAX_ACK_TIMEOUT_S
from ..routers.expressions import Expression, document
from .display import log_to_stderr
from .parameters import Parsed, cafile, find_token, token_file, with_options

PATIENCE_S = 30.0  # of commands that come to an end: as long as a publish is tried

logger = logging.getLogger("hookbot.handling")


@dataclass(frozen=True, slots=True)
class SubscribeOptions:
    """Options of a subscription: what to hear, and from where; made by those of `subscription_options`."""

    since: str | None
    cursor: str | None
    group: str | None
    unsafe: bool
    where: Expression | None
    limit: int | None
    token_file: Path | None
    ca_file: Path | None
    quiet: bool

    def wants(self, message: Message) -> bool:
        """Whether ``--where`` holds for a message; where it makes no sense, it does not."""
        if self.where is None:
            return True
        try:
            return self.where.holds(document(message))
        except ValueError as error:
            logger.warning("--where does not fit %s %s: %s", message.topic, message.id, error)
            return False

    @asynccontextmanager
    async def open(
        self, url: str, *, follow: bool = True, max_unacked: int | None = None, ack_timeout_s: float = 0
    ) -> AsyncIterator[Messages]:
        """Subscribe; what comes has to be acknowledged. Raises `Refused`; without `follow`, also `Lost`."""
        address = Address.parse(url)
        if subscription_of(address).unsafe and not self.unsafe:
            raise Refused(f"anybody may publish to {address}: say --unsafe if what reads it checks every message")
        query = "" if not self.group or "ack_timeout" in address.query else _ack_timeout(ack_timeout_s)
        with trio.CancelScope() as patience:
            lost = ""

            def note(event: Event) -> None:
                nonlocal lost
                if isinstance(event, Disconnected) and not follow:
                    lost = lost or event.why
                    patience.deadline = min(patience.deadline, trio.current_time() + PATIENCE_S)
                else:
                    patience.deadline, lost = inf, ""

            async with listen(
                with_query(url, query),
                since=self.since,
                cursor=self.cursor,
                group=self.group,
                follow=follow,
                manual_ack=True,
                max_unacked=max_unacked if self.group else None,
                token=find_token(url, self.token_file),
                unsafe=self.unsafe,
                ca_file=self.ca_file,
                on_event=note,
            ) as messages:
                yield messages
        if patience.cancelled_caught:
            raise Lost(f"{address}: {lost}")


def subscription_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a subscription; it is called with them as `subscribe`."""

    @with_options(_SINCE, _CURSOR, _GROUP, _UNSAFE, _WHERE, _LIMIT, token_file, cafile, _QUIET)
    @wraps(command)
    def described(
        since: str | None,
        cursor: str | None,
        group: str | None,
        unsafe: bool,
        where: Expression | None,
        limit: int | None,
        token_file: Path | None,
        cafile: Path | None,
        quiet: bool,
        **others: Any,
    ) -> Any:
        log_to_stderr(quiet=quiet)
        subscribe = SubscribeOptions(since, cursor, group, unsafe, where, limit, token_file, cafile, quiet)
        return command(subscribe=subscribe, **others)

    return described


def take_url(words: tuple[str, ...], is_url: bool) -> tuple[str, tuple[str, ...]]:
    """The URL, which is the first of the words or in HOOKBOT_URL, and the other words."""
    if is_url and words:
        return words[0], words[1:]
    url = os.environ.get("HOOKBOT_URL")
    if not url:
        raise click.UsageError("Missing argument 'URL': give it, or set HOOKBOT_URL.")
    return url, words


def with_query(url: str, query: str) -> str:
    """The URL with more behind its query."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, query))))) if query else url


def run(main: Callable[[Stop], Awaitable[object]]) -> None:
    """Run a command until it ends, or is told to; then the exit code says so. A reader who left is a good end, too."""
    try:
        finished = run_until_stopped(main)
    except BrokenPipeError:
        return
    if not finished:
        raise click.exceptions.Abort


def _ack_timeout(seconds: float) -> str:
    """Query for the time that a group waits for an acknowledgement: longer than an attempt takes."""
    return f"ack_timeout={min(round(seconds) + 30, MAX_ACK_TIMEOUT_S)}s" if seconds else ""


_SINCE = click.option("--since", metavar="WHEN", help="Begin in the past: an id, 90s, 10m, 2h, 7d, a time, or all.")
_CURSOR = click.option("--cursor", metavar="NAME", help="The hub remembers under this name what was handled.")
_GROUP = click.option("--group", metavar="NAME", help="The same, shared: each message goes to one member.")
_UNSAFE = click.option("--unsafe", is_flag=True, help="Needed for /unsafe/sub/...: anybody may have sent it.")
_WHERE = click.option(
    "--where",
    type=Parsed("expression", Expression),
    metavar="EXPRESSION",
    help="Only messages for which this holds (JMESPath).",
)
_LIMIT = click.option("--limit", "-n", type=click.IntRange(1), help="End after so many messages.")
_QUIET = click.option("--quiet", "-q", is_flag=True, help="Say only what goes wrong.")
