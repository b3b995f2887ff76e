"""The scope of a request in ASGI, read as the hub's own `Request`."""

from typing import Any

from ...protocol.request import Request
from ..listening import peer_address

_REQUEST = "hookbot.request"


def request_of(scope: Any) -> Request:
    """The request as it was sent: target undecoded, headers in their order and case. Made once and kept in the scope.

    Relies on ``scope["raw_path"]``, which Hypercorn, uvicorn and Quart's test client keep as sent. ``scope["path"]``
    is decoded too loosely: an invalid ``%ff`` becomes a replacement character.
    """
    if _REQUEST not in scope:
        query = scope["query_string"]
        scope[_REQUEST] = Request(
            scope.get("method", "GET"),
            scope["raw_path"] + (b"?" + query if query else b""),
            tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]),
            client=peer_address(scope.get("client")),
            secure=scope["scheme"] in ("https", "wss"),
            certificate=scope.get("state", {}).get("certificate"),
        )
    request: Request = scope[_REQUEST]
    return request
