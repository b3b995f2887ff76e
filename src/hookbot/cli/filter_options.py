"""Options that select stored messages of a hub, as its API does."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import click

from .parameters import with_options

FILTERS = ("topic", "provider", "event", "verdict", "text", "where")
RANGE = ("from", "until")
VERDICTS = ("verified", "token", "unverified")
_TOPIC = click.option(
    "--topic", metavar="TOPIC", help="Only this topic, or everything beneath one that ends in a slash."
)
_FAILURES = with_options(
    click.option("--router", metavar="NAME", help="Only those that this router has failed at."),
    click.option("--topic", metavar="TOPIC", help="Only those that failed on this topic, or beneath it with a slash."),
    click.option(
        "--dead-letters", metavar="TOPIC", help="Those that `forward --dead-letter` has published to this topic."
    ),
)
_CONDITIONS = with_options(
    click.option("--provider", metavar="NAME", help="Only messages with a verified signature of this provider."),
    click.option("--event", metavar="TYPE", help="Only messages with this event type, such as push."),
    click.option("--verdict", type=click.Choice(VERDICTS), help="Only messages of such senders."),
    click.option("--text", metavar="TEXT", help="Only messages with this text in topic, headers or body, in any case."),
    click.option("--where", metavar="EXPRESSION", help="Only messages for which this JMESPath expression is true."),
)
_RANGE = with_options(
    click.option("--from", metavar="WHEN", help="First message: an id, a time, or 2h ago. Default: the oldest."),
    click.option("--until", metavar="WHEN", help="Last message, in the same words. Default: the newest."),
)

Command = Callable[..., None]


def filter_options(command: Command) -> Command:
    """Decorator that adds the options; the command receives the `filters`, as the query of the API."""
    return _TOPIC(_CONDITIONS(_receiving("filters", FILTERS, command)))


def selection_options(command: Command) -> Command:
    """Decorator that adds these options and a range; the command receives all as the `selection`."""
    return _TOPIC(_CONDITIONS(_RANGE(_receiving("selection", (*FILTERS, *RANGE), command))))


def failure_options(command: Command) -> Command:
    """Decorator that adds the options for messages that have failed; the command receives all as the `selection`."""
    names = ("router", "dead_letters", *FILTERS, *RANGE)
    return _FAILURES(_CONDITIONS(_RANGE(_receiving("selection", names, command))))


def _receiving(parameter: str, names: Sequence[str], command: Command) -> Command:
    @wraps(command)
    def receive(*arguments: Any, **options: Any) -> None:
        given = {name: options.pop(name) for name in names}
        query = {name.replace("_", "-"): value for name, value in given.items() if value}
        command(*arguments, **{parameter: query}, **options)

    return receive
