"""The options of commands that ask the HTTP API of a hub, and their requests."""

from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

import click

from .credentials import key_for
from .parameters import Given, cafile, data_dir, with_options

Ask = Callable[..., Any]
"""Parsed response to a method and a path beneath ``/hookbot/v1/``; the query is given by name. Raises as `http.ask`."""

_URL = click.option(
    "--url", "-u", envvar="HOOKBOT_URL", required=True, metavar="URL", help="URL of the hub, with a token."
)


def of_a_hub(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator that adds the options for the hub. The command receives an `Ask` for it.

    If the URL has no token, one is made from the key for each path.
    """

    @with_options(_URL, data_dir, cafile)
    @wraps(command)
    @click.pass_obj
    def described(given: Given, /, url: str, data_dir: Path, cafile: Path | None, **others: Any) -> None:
        import trio

        from ..client.address import Address
        from ..client.http import ask
        from ..routers.hub_url import HubUrl

        address = Address.parse(url)
        hub = HubUrl(address, key_for(given, data_dir, address))

        def ask_hub(method: str, path: str, /, **query: str) -> Any:
            return trio.run(partial(ask, hub.at(path), method, query=query, ca_file=cafile))

        command(ask_hub, **others)

    return described
