"""The options of commands that ask the HTTP API of a hub, and their requests."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import click

from ..protocol.paths import split_path
from ..protocol.urls import split_url
from .credentials import key_for
from .parameters import Given, cafile, data_dir, with_options

if TYPE_CHECKING:
    from ..client.address import Address


class Ask:
    """Requests to paths beneath ``/hookbot/v1/`` of a hub; the query is given by name."""

    def __init__(self, at: Callable[..., Address], ca_file: Path | None) -> None:
        """`at` is `HubUrl.at`."""
        self._at = at
        self._ca_file = ca_file

    @property
    def with_topics(self) -> Ask:
        """The same, but a token that is made from the key opens all topics, too: for requests that publish."""
        return Ask(partial(self._at, opening="/"), self._ca_file)

    def __call__(self, method: str, path: str, /, **query: str) -> Any:
        """Parsed response. Raises as `http.ask`."""
        import trio

        from ..client.http import ask

        return trio.run(partial(ask, self._at(path), method, query=query, ca_file=self._ca_file))

    def lines(self, take: Callable[[Any], object], method: str, path: str, key: str = "", /, **query: str) -> None:
        """Call `take` with each parsed line of a response, as it comes. Raises as `http.ask`.

        `key` is the Idempotency-Key of the request, if it has one.
        """
        import trio

        from ..client.http import ask_lines

        async def take_all() -> None:
            async for line in ask_lines(self._at(path), method, key, query=query, ca_file=self._ca_file):
                take(line)

        trio.run(take_all)


_URL = click.option(
    "--url", "-u", envvar="HOOKBOT_URL", required=True, metavar="URL", help="URL of the hub, with a token."
)


def of_a_hub(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator that adds the options for the hub. The command receives an `Ask` for it.

    If the URL has no token, one is made from the key for each path. A plain token does not tell the hub what it is for,
    so that of a subscription is sent as the narrowed one that does.
    """

    @with_options(_URL, data_dir, cafile)
    @wraps(command)
    @click.pass_obj
    def described(given: Given, /, url: str, data_dir: Path, cafile: Path | None, **others: Any) -> None:
        from ..client.address import Address
        from ..routers.hub_url import HubUrl

        address = Address.parse(url, _telling(url))
        hub = HubUrl(address, key_for(given, data_dir, address))
        command(Ask(hub.at, cafile), **others)

    return described


def _telling(url: str) -> str | None:
    """The narrowed token that opens what the plain one in the URL of a subscription does; None for any other URL."""
    from ..access.narrowed_tokens import NarrowedToken

    parts = split_url(url)
    path = unquote(parts.path)
    with suppress(ValueError):
        if split_path(path)[0] == "subscribe":
            return str(NarrowedToken.of(unquote(parts.username or ""), path))
    return None
