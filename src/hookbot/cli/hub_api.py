"""The options of commands that ask the HTTP API of a hub, and their requests."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing, suppress
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import click

from ..protocol.paths import split_path
from ..protocol.urls import split_url
from .credentials import key_for
from .parameters import Given, cafile, data_dir, with_options
from .topics import complete_topic, find_profile, for_topic, profile

if TYPE_CHECKING:
    from ..client.address import Address


class Ask:
    """Requests to paths beneath ``/hookbot/v1/`` of a hub; the query is given by name."""

    def __init__(self, at: Callable[..., Address], ca_file: Path | None) -> None:
        """`at` makes the address of a path, as `HubUrl.at`."""
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
            asked = ask_lines(self._at(path), method, key, query=query, ca_file=self._ca_file)
            # Also if `take` raises.
            async with aclosing(asked) as lines:
                async for line in lines:
                    take(line)

        trio.run(take_all)


_URL = click.option(
    "--url",
    "-u",
    envvar="HOOKBOT_URL",
    metavar="URL",
    shell_complete=complete_topic,
    help="URL of the hub, with a token. Default: the hub of the profile.",
)


def of_a_hub(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator that adds the options for the hub. The command receives an `Ask` for it.

    If the URL has no token, one is made from the key for each path. A plain token does not tell the hub what it is for,
    so that of a subscription is sent as the narrowed one that does. In place of a URL, it may be a topic: then it is
    asked with a token for that alone.
    """

    @with_options(_URL, profile, data_dir, cafile)
    @wraps(command)
    @click.pass_obj
    def described(given: Given, /, url: str | None, data_dir: Path, cafile: Path | None, **others: Any) -> None:
        command(ask_at(given, url, data_dir, cafile), **others)

    return described


def ask_at(given: Given, url: str | None, data_dir: Path, ca_file: Path | None) -> Ask:
    """The `Ask` for the hub of a URL or, for a topic or None, of the profile."""
    from ..client.address import Address
    from ..routers.hub_url import HubUrl

    if url and "://" in url:
        address = Address.parse(url, _telling(url))
        return Ask(HubUrl(address, key_for(given, data_dir, address)).at, ca_file)
    found = find_profile(data_dir=data_dir)
    token = for_topic(found, url) if url else found.token
    return Ask(lambda path, opening=None: found.at(path, token), ca_file)


def _telling(url: str) -> str | None:
    """The narrowed token that opens what the plain one in the URL of a subscription does; None for any other URL."""
    from ..access.narrowed_tokens import NarrowedToken

    parts = split_url(url)
    path = unquote(parts.path)
    with suppress(ValueError):
        if split_path(path)[0] == "subscribe":
            return str(NarrowedToken.of(unquote(parts.username or ""), path))
    return None
