"""Tokens, narrowed from those of a request."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TypedDict
from urllib.parse import quote

from ...access.narrowed_tokens import CAVEATS, NarrowedToken
from ...access.scope import Credential
from ...access.session import signed_in_with
from ...errors import Forbidden, Refused, as_refusal
from ...protocol.paths import METHODS, TOKENS, find_route, split_path
from ...protocol.since import DURATION, parse_duration
from ..services import Services
from .operations import Api, Asked, Parameter
from .public_url import public_url

_PATH = {"type": "string", "format": "token-path", "minLength": 1}
_TIME = {"type": "string", "pattern": f"^{DURATION.pattern}$"}
_NAME = {"type": "string", "pattern": f"^{CAVEATS['name'].pattern}$"}
_PARAMETERS = (
    Parameter(
        "path",
        "The only path, or everything beneath one that ends in a slash, such as /sub/acme/",
        _PATH,
        required=True,
    ),
    Parameter("expires", "Duration after which it ends, such as 24h; by default, when that of the request does", _TIME),
    Parameter("name", "Name by which it can be revoked", _NAME),
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
        path = asked.need("path")
        action, _ = split_path(path)
        if action is None:
            raise Refused(f"a token is made for a path such as /pub/acme or /sub/acme/, not {path[:100]!r}")
        find_route(METHODS[action], quote(path).encode())
        held = asked.scope.find(action, path)
        if held is None:
            raise Forbidden(f"no token of this request opens {path[:100]!r}, and none can be made wider")
        with as_refusal():
            narrowed = _root(held, in_session=asked.in_session).narrow("path", path)
            if name := asked.get("name"):
                narrowed = narrowed.narrow("name", name)
            if text := asked.get("expires"):
                narrowed = narrowed.narrow("expires", str(int(services.access.now_s + parse_duration(text))))
            token = narrowed.text()
        scheme, _, host = public_url(services.access, asked.plain).partition("://")
        if action == "subscribe":
            scheme = {"https": "wss", "http": "ws"}.get(scheme, scheme)
        grant = services.access.tokens.authorizer.grant(token, path, action, now_s=services.access.now_s)
        if grant is None:
            raise Refused("the token would have ended already; give a duration such as 24h")
        asked.audit("a token was made", path=path, token_name=name, expires=grant.expires)
        return {"token": token, "url": f"{scheme}://{token}@{host}{quote(path)}", "expires": grant.expires}

    api.add("POST", TOKENS, make, "Make a token that opens less", parameters=_PARAMETERS, answer=Token)


def _root(held: Credential, *, in_session: bool) -> NarrowedToken:
    """The token of a request, or the one that somebody signed in with: what is made of it may outlast the session."""
    if in_session:
        with suppress(ValueError):
            return signed_in_with(held.token, held.grant.key)
    return NarrowedToken.read(held.token, held.grant.path)
