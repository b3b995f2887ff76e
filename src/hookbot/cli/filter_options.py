"""Options that select stored messages of a hub, as its API does."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import click

from .parameters import with_options

FILTERS = ("topic", "provider", "event", "verdict", "text", "where")
VERDICTS = ("verified", "token", "unverified")
_OPTIONS = with_options(
    click.option("--topic", metavar="TOPIC", help="Only this topic, or everything beneath one that ends in a slash."),
    click.option("--provider", metavar="NAME", help="Only messages with a verified signature of this provider."),
    click.option("--event", metavar="TYPE", help="Only messages with this event type, such as push."),
    click.option("--verdict", type=click.Choice(VERDICTS), help="Only messages of such senders."),
    click.option("--text", metavar="TEXT", help="Only messages with this text in topic, headers or body, in any case."),
    click.option("--where", metavar="EXPRESSION", help="Only messages for which this JMESPath expression is true."),
)
_RANGE = with_options(
    click.option("--from", metavar="ID", help="First message. Default: the oldest."),
    click.option("--until", metavar="ID", help="Last message. Default: the newest."),
)

Command = Callable[..., None]


def filter_options(command: Command) -> Command:
    """Decorator that adds the options; the command receives the `filters`, as the query of the API."""
    return _OPTIONS(_receiving("filters", FILTERS, command))


def selection_options(command: Command) -> Command:
    """Decorator that adds these options and a range of ids; the command receives all as the `selection`."""
    return _OPTIONS(_RANGE(_receiving("selection", (*FILTERS, "from", "until"), command)))


def _receiving(parameter: str, names: Sequence[str], command: Command) -> Command:
    @wraps(command)
    def receive(*arguments: Any, **options: Any) -> None:
        given = {name: options.pop(name) for name in names}
        command(*arguments, **{parameter: {name: value for name, value in given.items() if value}}, **options)

    return receive
