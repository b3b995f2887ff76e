"""Relayed requests: how a hub tells another one of its family the client whose subscription it passes on.

It does so in a header that is signed with the key of both. From anybody else, the header has no effect on who the
client is. The signature is made for one target and a minute: a captured one is of no use elsewhere or later.
"""

import hmac
import re
from collections.abc import Sequence

from ..protocol.request import Request

HEADER = "hookbot-relayed"
"""Name of the header. Its value: the time in seconds since 1970, the client's address, and the signature."""

# For the way between two hubs, and for their clocks. With clocks further apart, the hub counts as the client.
WINDOW_S = 60

# No path begins like this, and a token is the HMAC of a path.
_PURPOSE = "hookbot relayed subscription"
_VALUE = re.compile(r"([0-9]{1,12}) ([^ ]{0,100}) ([0-9a-f]{64})")


def sign(request: Request, key: str, *, now_s: float) -> str:
    """Value of the header for a request of this client."""
    time = str(int(now_s))
    return f"{time} {request.client} {_signature(key, request, time, request.client)}"


def read_client(request: Request, keys: Sequence[str], *, now_s: float) -> str | None:
    """Address of the client that a hub with one of the keys has relayed, or None if none has."""
    match = _VALUE.fullmatch(request.header(HEADER))
    if request.method != "GET" or match is None or abs(now_s - int(match[1])) > WINDOW_S:
        return None
    time, client, signature = match.groups()
    made = (_signature(key, request, time, client) for key in keys)
    return client if any(hmac.compare_digest(signature, one) for one in made) else None


def _signature(key: str, request: Request, time: str, client: str) -> str:
    signed = f"{_PURPOSE}\n{request.relative_target}\n{time}\n{client}"
    return hmac.digest(key.encode("utf-8", "surrogateescape"), signed.encode("latin-1", "replace"), "sha256").hex()
