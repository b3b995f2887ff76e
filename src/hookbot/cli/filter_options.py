"""Options that select stored messages of a hub, as its API does."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import click

from .parameters import with_options

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
    def filtered(
        *arguments: Any,
        topic: str | None,
        provider: str | None,
        event: str | None,
        verdict: str | None,
        text: str | None,
        where: str | None,
        **others: Any,
    ) -> None:
        given = {"topic": topic, "provider": provider, "event": event, "verdict": verdict, "text": text, "where": where}
        filters: Mapping[str, str] = {name: value for name, value in given.items() if value}
        command(*arguments, filters=filters, **others)

    return filtered
