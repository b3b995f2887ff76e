"""Tokens, narrowed from those of a request."""

from collections.abc import Mapping
from typing import Any, TypedDict
from urllib.parse import quote

from ...access.narrowed_tokens import MAX_LENGTH, NarrowedToken
from ...access.scope import Held
from ...errors import Forbidden, Refused
from ...protocol.message import format_time
from ...protocol.paths import TOKENS, split_path
from ...protocol.since import parse_duration
from ...protocol.topics import decode_path
from ..services import Services
from .operations import Api, Asked, Parameter
from .public_url import public_url

_PARAMETERS = (
    Parameter(
        "path", "The only path, or everything beneath one that ends in a slash, such as /sub/acme/", required=True
    ),
    Parameter("expires", "Duration after which it ends, such as 24h; by default, when that of the request does"),
    Parameter("name", "Name by which it can be revoked"),
)


class Token(TypedDict):
    """A token, and the URL with it."""

    token: str
    url: str
    expires: str | None


def add_tokens(api: Api, services: Services) -> None:
    """Add the operation that makes a token."""

    async def make(asked: Asked) -> Mapping[str, Any]:
        """A token only opens what one of the request opens: for /pub/ or /sub/ paths, not for operators."""
        path = decode_path(quote(asked.need("path")).encode())
        action, _ = split_path(path)
        if action is None:
            raise Refused(f"a token is made for a path such as /pub/acme or /sub/acme/, not {path[:100]!r}")
        held = asked.scope.find(action, path)
        if held is None:
            raise Forbidden(f"no token of this request opens {path[:100]!r}, and none can be made wider")
        narrowed = _narrowed(held, path)
        if name := asked.get("name"):
            narrowed = _narrow(narrowed, "name", name)
        expires_s = held.grant.expires_s
        if text := asked.get("expires"):
            expires_s = min(expires_s, services.access.now_s + _seconds(text))
            narrowed = _narrow(narrowed, "expires", str(int(expires_s)))
        token = str(narrowed)
        if len(token) > MAX_LENGTH:
            raise Refused(f"the token would be longer than {MAX_LENGTH} characters: it is narrowed too often")
        scheme, _, host = public_url(services.access, asked.plain).partition("://")
        if action == "subscribe":
            scheme = {"https": "wss", "http": "ws"}.get(scheme, scheme)
        return {
            "token": token,
            "url": f"{scheme}://{token}@{host}{quote(path)}",
            "expires": None if expires_s > 1e12 else format_time(int(expires_s) * 1_000_000),
        }

    api.add("POST", TOKENS, make, "Make a token that opens less", parameters=_PARAMETERS, answer=Token)


def _narrowed(held: Held, path: str) -> NarrowedToken:
    """The token, narrowed to a path."""
    try:
        narrowed = NarrowedToken.parse(held.token)
    except ValueError:
        narrowed = NarrowedToken.of(held.token, held.grant.path)
    return _narrow(narrowed, "path", path)


def _seconds(text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise Refused(str(error)) from None


def _narrow(narrowed: NarrowedToken, name: str, value: str) -> NarrowedToken:
    try:
        return narrowed.narrow(name, value)
    except ValueError as error:
        raise Refused(str(error)) from None
