"""Permission to deliver: a sender of CloudEvents asks for it by OPTIONS before its first delivery.

CloudEvents, "HTTP 1.1 Web Hooks for Event Delivery" 1.0.2, section 4 (abuse protection).
"""

import re

from ..protocol.response import Response
from .request import SignedRequest

REQUEST_ORIGIN = "WebHook-Request-Origin"
# A DNS name, which the response repeats (section 4.1.1).
_ORIGIN = re.compile(r"[A-Za-z0-9.-]{1,253}", re.ASCII)


def permission(request: SignedRequest) -> Response | None:
    """The permission that a sender asks for, at any rate; None if the request does not ask.

    It is not authenticated here: the caller must know that the sender may publish.
    """
    origin = request.first(REQUEST_ORIGIN) if request.method == "OPTIONS" else None
    if origin is None or not _ORIGIN.fullmatch(origin):
        return None
    headers = (("Allow", "POST"), ("WebHook-Allowed-Origin", origin), ("WebHook-Allowed-Rate", "*"))
    return Response(status=200, headers=headers)
