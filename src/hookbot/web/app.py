"""The app: every route of the hub. It serves what the fast path hands over; without one, everything.

One catch-all route takes every path to a topic, because `hookbot.protocol.topics.decode_path` decodes them, more
strictly than werkzeug.
"""

from functools import partial
from http import HTTPStatus

import quart
from quart import current_app, request, websocket
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from ..access.control import AccessControl
from ..errors import BodyTooLarge, HookbotError
from ..protocol.paths import find_route
from ..protocol.response import UNFRAMED, Response, error_response
from ..protocol.topics import decode_path
from .api import create_api
from .asgi import HookbotApp, abort_of, note_authentication, plain_request
from .console import create_console, is_visit
from .health import create_health, create_metrics
from .publish import publish
from .replies import Question
from .services import Services
from .streams import STREAM_HEADERS
from .subscribe import serve_websocket, stream_body
from .upstream import Answered

ALL_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
MEDIA_TYPES = {"sse": "text/event-stream", "jsonl": "application/x-ndjson"}


def create_app(services: Services) -> HookbotApp:
    """The Quart-Trio app with all routes of a hub; any ASGI server on Trio that sets ``raw_path`` can run it."""
    app = HookbotApp("hookbot", max_body_bytes=services.access.max_body_bytes)
    app.register_error_handler(HookbotError, partial(_refuse, services))
    app.register_error_handler(Answered, _answer)
    app.register_error_handler(HTTPException, partial(_refuse_http_error, services))
    app.register_blueprint(create_health(services.readiness.check))
    app.register_blueprint(create_metrics(services))
    app.register_blueprint(create_api(services))
    if services.console:
        app.register_blueprint(create_console(services))
    _add_checks(app, services)
    _add_topics(app, services)
    return app


def _add_checks(app: HookbotApp, services: Services) -> None:
    """Add what is done before and after each request."""
    access = services.access

    @app.before_request
    async def read_request() -> None:
        plain = access.clients.resolve(plain_request(request))
        # Before any route: werkzeug decodes leniently, and ``%ff`` would become a replacement character.
        decode_path(plain.raw_path)
        # For a method that is in `ALL_METHODS`, the catch-all route says what to use in its place.
        if isinstance(request.routing_exception, MethodNotAllowed):
            find_route(plain.method, plain.raw_path)

    @app.before_websocket
    async def read_handshake() -> None:
        access.clients.resolve(plain_request(websocket))

    @app.after_request
    async def finish(response: quart.Response) -> quart.Response:
        services.broker.counts.count_response(response.status_code)
        note_authentication(request)
        return _allow_origin(access, response)


def _add_topics(app: HookbotApp, services: Services) -> None:
    """Add the routes that take every path to a topic."""
    access = services.access

    @app.route("/", defaults={"path": ""}, methods=ALL_METHODS, provide_automatic_options=False)
    @app.route("/<path:path>", methods=ALL_METHODS, provide_automatic_options=False)
    async def serve(path: str) -> quart.Response:
        return await _serve(services)

    @app.websocket("/", defaults={"path": ""})
    @app.websocket("/<path:path>")
    async def subscribe(path: str) -> None:
        admitted = access.admit_subscription(plain_request(websocket), websocket=True)
        note_authentication(websocket)
        await serve_websocket(services, admitted)


async def _serve(services: Services) -> quart.Response:
    """Response to a request for a topic."""
    access = services.access
    if services.console and is_visit(plain_request(request)):
        return quart.Response(b"", HTTPStatus.SEE_OTHER, {"Location": "hookbot/"})
    asks = request.method in ("GET", "HEAD", "OPTIONS")
    if asks and (response := access.respond_to_challenge(plain_request(request))):
        return _response(response)
    if request.method == "GET" and not access.replies.is_asked_by_get(plain_request(request)):
        return await _stream(services)
    if request.method == "OPTIONS" and request.headers.get("origin", "").lower() in access.tokens.origins:
        return quart.Response(b"", HTTPStatus.NO_CONTENT)
    return await _publish(services)


async def _publish(services: Services) -> quart.Response:
    admitted = services.access.admit_publish(plain_request(request))
    note_authentication(request)
    with services.open_body(admitted) as body:
        response = await publish(services, admitted, await body.receive(request.body))
    return _response(await services.replies.wait(response) if isinstance(response, Question) else response)


async def _stream(services: Services) -> quart.Response:
    admitted = services.access.admit_subscription(plain_request(request), websocket=False)
    start = await services.find_start(admitted)
    content_type = MEDIA_TYPES[admitted.request.format]
    response = quart.Response(stream_body(services, admitted, start, abort_of(request)), content_type=content_type)
    response.headers.update(STREAM_HEADERS)
    return response


async def report(error: HookbotError) -> quart.Response:
    """The response to the present request that reports an error."""
    return _response(error_response(error, plain_request(request or websocket)))


async def _refuse(services: Services, error: HookbotError, status: int | None = None) -> quart.Response:
    """As `report`, for a request that is then noted as refused."""
    return _response(services.refuse(error, plain_request(request or websocket), status))


async def _answer(answered: Answered) -> quart.Response:
    return _response(answered.response)


async def _refuse_http_error(services: Services, error: HTTPException) -> quart.Response:
    if error.code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return await _refuse(services, BodyTooLarge.than(current_app.config["MAX_CONTENT_LENGTH"]))
    status = error.code or 500
    return await _refuse(services, HookbotError(HTTPStatus(status).phrase), status)


def _allow_origin(access: AccessControl, response: quart.Response) -> quart.Response:
    """Allow web pages of a `--cors-origin` to read the response, and return it (Fetch Standard, CORS protocol)."""
    origin = request.headers.get("origin", "")
    if origin.lower() in access.tokens.origins:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Methods"] = "GET"
        response.headers["Access-Control-Allow-Headers"] = "Authorization, Last-Event-ID"
        response.headers["Vary"] = "Origin"
    return response


def _response(response: Response) -> quart.Response:
    quart_response = quart.Response(response.body, response.status)
    del quart_response.headers["Content-Type"]
    if response.status in UNFRAMED:
        del quart_response.headers["Content-Length"]
    for name, value in response.headers:
        quart_response.headers.add(name, value)
    return quart_response
