"""The tokens that a request shows, in whichever way."""

from binascii import a2b_base64
from collections.abc import Sequence
from contextlib import suppress

from ..protocol.request import Request
from ..protocol.subscribe import offered

TOKEN_PROTOCOL = "hookbot.token."  # noqa: S105 - a prefix, not a token


def tokens_of(request: Request) -> Sequence[str]:
    """All tokens that a request shows: Basic user name, Bearer, a websocket's subprotocol, ``?token=`` of a GET."""
    scheme, _, credentials = request.header("authorization").partition(" ")
    tokens = []
    if scheme.lower() == "bearer":
        tokens.append(credentials.strip())
    elif scheme.lower() == "basic":
        with suppress(ValueError):
            tokens.append(a2b_base64(credentials.strip(), strict_mode=True).decode("latin-1").partition(":")[0])
    for protocol in offered(request):
        if protocol.startswith(TOKEN_PROTOCOL):
            tokens.append(protocol.removeprefix(TOKEN_PROTOCOL))
    if request.method == "GET" and "token=" in request.query:
        tokens.append(request.parameters.get("token", ""))
    return tokens
