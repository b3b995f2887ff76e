"""Calls of an ASGI app that are in the access log, if there is one."""

from http import HTTPStatus
from typing import Any

from .. import access_log
from .scope import request_of


async def call_logged(app: Any, scope: Any, receive: Any, send: Any) -> None:
    """Call an app, and log the request once it is answered; a websocket, when it is accepted."""
    began_s = access_log.began()
    if began_s is None:
        await app(scope, receive, send)
        return
    status: int | None = None
    message_id: str | None = None
    size = 0

    def log() -> None:
        access_log.log_request(request_of(scope), status, size, began_s, message_id)

    async def send_counted(message: Any) -> None:
        nonlocal status, message_id, size
        if message["type"] == "websocket.accept":
            status = HTTPStatus.SWITCHING_PROTOCOLS
            log()
        elif "status" in message:
            status = message["status"]
            fields = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"])
            message_id = access_log.message_id_of(fields)
        size += len(message.get("body", b""))
        await send(message)

    try:
        await app(scope, receive, send_counted)
    except Exception:
        # The server answers, unless the app has begun to.
        status = status or HTTPStatus.INTERNAL_SERVER_ERROR
        raise
    finally:
        if status != HTTPStatus.SWITCHING_PROTOCOLS:
            log()
