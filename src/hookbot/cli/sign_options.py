"""Options of commands that sign what they post: the provider by whose rule, its options, and the secret."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import click

from .parameters import Parsed, completed, parse_option, with_options


def _provider_names() -> Iterable[str]:
    from ..signatures import provider_names

    return provider_names()


complete_provider = completed(_provider_names)
provider_option = click.option(
    "--option",
    "-o",
    "options",
    multiple=True,
    type=Parsed("option", parse_option),
    metavar="NAME=VALUE",
    help="Option of the provider. Repeatable.",
)
KEY_HELP = "Secret, env:NAME or file:PATH; of a pair of keys, the private one."


def sign_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for signing to a command, which receives a `Signer` or None as `signer`."""

    @with_options(
        click.option(
            "--sign",
            "provider",
            metavar="PROVIDER",
            shell_complete=complete_provider,
            help="Sign each attempt anew for TARGET, as this provider does.",
        ),
        click.option("--secret", metavar="SECRET", help=f"Of --sign. {KEY_HELP}"),
        provider_option,
    )
    @wraps(command)
    def described(provider: str | None, secret: str | None, options: Iterable[tuple[str, Any]], **others: Any) -> Any:
        if (provider is None) != (secret is None) or (options and provider is None):
            raise click.UsageError("--sign and --secret go together, and --option needs them.")
        if provider is None or secret is None:
            return command(signer=None, **others)
        from ..delivery.signer import Signer
        from ..hub.secret_store import resolve_secret

        return command(signer=Signer.load(provider, dict(options), resolve_secret(secret)), **others)

    return described
