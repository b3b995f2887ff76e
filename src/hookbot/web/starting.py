"""The app of a hub whose log cannot be opened yet: it is alive, but not ready, and can do nothing else."""

from typing import NoReturn

import quart
from quart import request, websocket
from werkzeug.exceptions import HTTPException

from ..errors import HookbotError, Unavailable
from .app import report
from .asgi import HookbotApp
from .health import create_health

# Not why, which names the machines of the operator: that is in the hub's own log.
WAITING = "the hub cannot open its log yet; try again"


def create_starting_app() -> HookbotApp:
    """The app with the health checks of a hub, of which ``/readyz`` fails; everything else is answered 503 as well."""
    app = HookbotApp("hookbot", max_body_bytes=0)
    app.register_blueprint(create_health(_check))
    for kind in (HookbotError, HTTPException):
        app.register_error_handler(kind, _refuse)
    return app


async def _check() -> NoReturn:
    raise Unavailable(WAITING)


async def _refuse(error: Exception) -> quart.Response:
    response = await report(Unavailable(WAITING))
    # The next request on another connection: the hub may be open by then. HTTP/2 has no such header.
    if (request or websocket).http_version in ("1.0", "1.1"):
        response.headers["Connection"] = "close"
    return response
