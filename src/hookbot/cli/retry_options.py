"""Options of commands that handle messages: concurrency, attempts, and dead letters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .credentials import find_publish_token
from .parameters import INTERVAL, Decorator, with_options
from .subscribe_options import MessageOptions, SubscribeOptions

if TYPE_CHECKING:
    from ..delivery.dead_letters import DeadLetters
    from ..delivery.shutdown import Stop
    from ..delivery.worker import Policy, Totals, Work


@dataclass(frozen=True, slots=True)
class RetryOptions:
    """Values of the options that `retry_options` adds to a command."""

    concurrency: int
    max_attempts: int | None
    dead_letter: str
    timeout_s: float

    def policy(self, options: MessageOptions, hop: str, **more: Any) -> Policy:
        """Policy for a worker whose name in the hops of messages is `hop`; `more` are further fields of `Policy`."""
        from ..delivery.worker import Policy

        return Policy(
            hop=hop,
            wanted=options.wants,
            limit=options.limit,
            concurrency=self.concurrency,
            max_attempts=self.max_attempts,
            dead_letters=self._dead_letters(options, hop),
            backoff=options.timing.backoff,
            **more,
        )

    def _dead_letters(self, options: MessageOptions, hop: str) -> DeadLetters:
        from ..delivery.dead_letters import DeadLetterFile, DeadLetterTopic, NoDeadLetters

        if self.dead_letter == "stop":
            return NoDeadLetters()
        if "://" in self.dead_letter:
            return DeadLetterTopic(self.dead_letter, find_publish_token(self.dead_letter), options.ca_file, hop)
        return DeadLetterFile(Path(self.dead_letter))


def retry_options(timeout: str) -> Decorator:
    """Decorator that adds the options for handling messages, passed as `retry`; `timeout` is the default timeout."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @with_options(
            _CONCURRENCY,
            click.option("--timeout", type=INTERVAL, default=timeout, show_default=True, help="Limit for one attempt."),
            _MAX_ATTEMPTS,
            _DEAD_LETTER,
        )
        @wraps(command)
        def described(
            concurrency: int, max_attempts: int | None, dead_letter: str, timeout: float, **others: Any
        ) -> Any:
            if max_attempts is None and dead_letter != "stop":
                raise click.UsageError("--dead-letter needs --max-attempts: without it, a message is retried forever.")
            return command(retry=RetryOptions(concurrency, max_attempts, dead_letter, timeout), **others)

        return described

    return decorate


async def handle(
    subscribe: SubscribeOptions,
    url: str,
    retry: RetryOptions,
    policy: Policy,
    work: Work,
    stop: Stop,
    *,
    replies: bool = False,
) -> Totals:
    """Handle messages until a request to stop or ``--limit``, and return the totals. With `replies`, reply to senders.

    Raises `Refused` if the subscription is refused, and the errors of `Worker.run`.
    """
    from ..delivery.replying import replying
    from ..delivery.worker import Worker

    async with subscribe.open(
        url, max_unacked=retry.concurrency, ack_timeout_s=retry.timeout_s, reply=replies
    ) as messages:
        worker = Worker(replying(work, messages) if replies else work, policy, messages.ack)
        await worker.run(messages, stop)
    return worker.totals


_CONCURRENCY = click.option(
    "--concurrency",
    "-j",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Messages handled at once.",
)
_MAX_ATTEMPTS = click.option(
    "--max-attempts", type=click.IntRange(1), metavar="N", help="Attempts for a message. Default: no limit."
)
_DEAD_LETTER = click.option(
    "--dead-letter",
    default="stop",
    show_default=True,
    metavar="FILE|URL|stop",
    help="After --max-attempts: append the message to FILE, publish it to URL, or stop.",
)
