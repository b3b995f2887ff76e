"""Options of commands that handle messages: concurrency, attempts, and dead letters."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import ConfigError
from ..hub.data_dir import default_data_dir, make_data_dir
from .credentials import find_publish_token
from .parameters import INTERVAL, Decorator, Parsed, with_options
from .subscribe_options import MessageOptions, SubscribeOptions

if TYPE_CHECKING:
    from ..delivery.dead_letters import DeadLetters
    from ..delivery.shutdown import Stop
    from ..delivery.worker import Policy, Totals, Work
    from .live.live_view import LiveView

# What says that the message is at fault, and not the moment: RFC 9110, sections 15.5.1, 15.5.11, 15.5.14 and 15.5.21.
HOPELESS_STATUSES = "400,410,413,422"
STATUSES = range(300, 600)
EXIT_CODES = range(1, 256)
_CODE = re.compile("[0-9]{1,3}")

logger = logging.getLogger(__package__)


@dataclass(frozen=True, slots=True)
class RetryOptions:
    """Values of the options that `retry_options` adds to a command."""

    concurrency: int
    max_attempts: int | None
    dead_letter: str | None
    timeout_s: float
    give_up_on: frozenset[str] = frozenset()

    def policy(self, options: MessageOptions, hop: str, **more: Any) -> Policy:
        """Policy for a worker whose name in the hops of messages is `hop`; `more` are further fields of `Policy`."""
        from ..delivery.dead_letters import NoDeadLetters
        from ..delivery.worker import Policy

        place = self._dead_letters(options, hop)
        # Otherwise a message that has no place would end the worker at each start, and hold up all others.
        has_nowhere = self.dead_letter is None and isinstance(place, NoDeadLetters)
        return Policy(
            hop=hop,
            wanted=options.wants,
            limit=options.limit,
            concurrency=self.concurrency,
            max_attempts=self.max_attempts,
            give_up_on=frozenset() if has_nowhere else self.give_up_on,
            dead_letters=place,
            backoff=options.timing.backoff,
            **more,
        )

    @property
    def gives_up(self) -> bool:
        """True if a message may be given up."""
        return self.max_attempts is not None or bool(self.give_up_on)

    def _dead_letters(self, options: MessageOptions, hop: str) -> DeadLetters:
        from ..delivery.dead_letters import DeadLetterFile, DeadLetterTopic, NoDeadLetters

        if self.dead_letter == "stop" or not self.gives_up:
            return NoDeadLetters()
        if self.dead_letter is None:
            return _own_file("-".join(filter(None, (options.consumer, hop))))
        if "://" in self.dead_letter:
            return DeadLetterTopic(self.dead_letter, find_publish_token(self.dead_letter), options.ca_file, hop)
        return DeadLetterFile(Path(self.dead_letter))


def _own_file(name: str) -> DeadLetters:
    """File of a worker of this name, in the user's state directory; nothing is kept where there can be none."""
    from ..delivery.dead_letters import DeadLetterFile, NoDeadLetters

    try:
        state = make_data_dir(Path(os.environ.get("HOOKBOT_DATA_DIR") or default_data_dir()))
        return DeadLetterFile(make_data_dir(state / "dead-letters") / f"{name}.jsonl")
    except ConfigError as error:
        logger.warning(
            "there is no place for dead letters, so --give-up-on is ignored: %s, or use --dead-letter", error
        )
        return NoDeadLetters()


def retry_options(timeout: str, *codes: range, give_up_on: str = "none") -> Decorator:
    """Decorator that adds the options for handling messages, passed as `retry`.

    `timeout` is the default timeout. `codes` are the results that may be told by their numbers, of `STATUSES` and
    `EXIT_CODES`, and `give_up_on` those that are told by default.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @with_options(
            CONCURRENCY,
            timeout_option(timeout),
            _MAX_ATTEMPTS,
            _give_up_on(codes, give_up_on),
            _DEAD_LETTER,
        )
        @wraps(command)
        def described(
            concurrency: int,
            timeout: float,
            max_attempts: int | None,
            give_up_on: frozenset[str],
            dead_letter: str | None,
            **others: Any,
        ) -> Any:
            retry = RetryOptions(concurrency, max_attempts, dead_letter, timeout, give_up_on)
            if dead_letter not in (None, "stop") and not retry.gives_up:
                raise click.UsageError(
                    "--dead-letter needs --max-attempts or --give-up-on: without either, a message is retried forever."
                )
            return command(retry=retry, **others)

        return described

    return decorate


def timeout_option(default: str) -> Decorator:
    """Option for the time that an attempt may take."""
    return click.option("--timeout", type=INTERVAL, default=default, show_default=True, help="Limit for one attempt.")


async def handle(
    subscribe: SubscribeOptions,
    url: str,
    retry: RetryOptions,
    policy: Policy,
    work: Work,
    stop: Stop,
    live: LiveView | None = None,
    *,
    replies: bool = False,
) -> Totals:
    """Handle messages until a request to stop or ``--limit``, and return the totals.

    With `replies`, reply to the senders that wait. A `live` view shows what happens, and controls it. Raises `Refused`
    if the subscription is refused, and the errors of `Worker.run`.
    """
    from ..delivery.replying import replying
    from ..delivery.worker import Worker

    async with subscribe.open(
        url, max_unacked=retry.concurrency, ack_timeout_s=retry.timeout_s, reply=replies
    ) as messages:
        worker = Worker(
            replying(work, messages) if replies else work, policy, messages.ack, live.deliveries if live else None
        )
        if live:
            live.attach(worker)
        await worker.run(messages, stop)
    return worker.totals


def _give_up_on(codes: tuple[range, ...], default: str) -> Decorator:
    return click.option(
        "--give-up-on",
        type=Parsed("codes", partial(_results, codes)),
        default=default,
        show_default=True,
        metavar="CODES",
        help=f"{_named(codes)} after which a message is not tried again, or none.",
    )


def _results(codes: tuple[range, ...], text: str) -> frozenset[str]:
    """Results of attempts that a text such as ``400,422`` tells; raises `ConfigError` for any other but ``none``."""
    from ..delivery.outcome import UNSENDABLE

    if text.strip() == "none":
        return frozenset()
    results = {UNSENDABLE}
    for part in text.split(","):
        code = int(part) if _CODE.fullmatch(part.strip()) else 0
        if not any(code in each for each in codes):
            raise ConfigError(f"{_named(codes)} are numbers {_bounds(codes)} with commas between them, not {part!r}")
        results.add(str(code) if code in STATUSES else f"exit {code}")
    return frozenset(results)


def _named(codes: tuple[range, ...]) -> str:
    return " or ".join("statuses" if each == STATUSES else "exit codes" for each in codes).capitalize()


def _bounds(codes: tuple[range, ...]) -> str:
    return " or ".join(f"from {each.start} to {each.stop - 1}" for each in codes)


CONCURRENCY = click.option(
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
    metavar="FILE|URL|stop",
    help="Append a message that is given up to FILE, publish it to URL, or stop. Default: a file of its own.",
)
