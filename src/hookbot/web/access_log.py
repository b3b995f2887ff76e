"""Access log: a line for each request that is answered, if ``--access-log`` asks for it."""

import logging
from collections.abc import Iterable
from time import monotonic

from ..access.request_fields import request_fields
from ..protocol.request import Request
from ..protocol.response import Response

MESSAGE_ID = "hookbot-message-id"

logger = logging.getLogger("hookbot.access_log")
# A level of its own, so that none that is set for hookbot turns it on.
logger.setLevel(logging.WARNING)


def began() -> float | None:
    """The time at which a request that is to be logged begins, for `log_request`; None if none is."""
    return monotonic() if logger.isEnabledFor(logging.INFO) else None


def log_response(request: Request, response: Response, began_s: float | None) -> None:
    """Log a request with its response, as `log_request`."""
    log_request(request, response.status, len(response.body), began_s, message_id_of(response.headers))


def log_request(
    request: Request, status: int | None, size: int, began_s: float | None, message_id: str | None = None
) -> None:
    """Log a request, with the status (None if it was cut) and the size of the body that it was answered with.

    A websocket is logged when it is accepted.
    """
    if logger.isEnabledFor(logging.INFO):
        took_ms = None if began_s is None else round((monotonic() - began_s) * 1000, 3)
        answer = {"status": status, "bytes": size, "duration_ms": took_ms, "message_id": message_id}
        logger.info("answered", extra={**request_fields(request), **answer})


def message_id_of(headers: Iterable[tuple[str, str]]) -> str | None:
    """Id of the message that a response is about, by its headers; None if it is about none."""
    return next((value for name, value in headers if name.lower() == MESSAGE_ID), None)
