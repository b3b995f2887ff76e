"""Options that select stored messages of a hub, as its API does."""

from collections.abc import Callable, Mapping
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


def filter_options(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator that adds the options; the command receives the `filters`, as the query of the API."""

    @_OPTIONS
    @wraps(command)
    def filtered(*arguments: Any, **options: Any) -> None:
        given: Mapping[str, str | None] = {name: options.pop(name) for name in FILTERS}
        command(*arguments, filters={name: value for name, value in given.items() if value}, **options)

    return filtered
