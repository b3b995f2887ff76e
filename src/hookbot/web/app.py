"""The app: every route of the hub, for whatever the door does not answer, and for all of TLS and HTTP/2.

Paths are decoded by ourselves (`hookbot.protocol.topics.decode_path`), so one route takes them all; the gate decides.
"""

from dataclasses import dataclass
from http import HTTPStatus

from quart import Response, current_app, request, websocket
from werkzeug.exceptions import HTTPException

from ..access.control import AccessControl
from ..access.verification import verify
from ..broker.broker import Broker
from ..errors import BodyTooLarge, HookbotError
from ..protocol.message import Draft
from ..protocol.response import Answer, failed, greeted, stored
from ..protocol.topics import decode_path
from .asgi import HookbotApp, plain_request
from .body import BodyBudget
from .health import Readiness, create_health
from .operations import Office, create_api
from .subscribe import Subscriptions

ALL_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""No cache keeps a stream, and no nginx collects it before it passes it on."""
MEDIA_TYPES = {"sse": "text/event-stream", "jsonl": "application/x-ndjson"}


@dataclass(frozen=True, slots=True)
class Hub:
    """What the app serves."""

    broker: Broker
    access: AccessControl
    bodies: BodyBudget
    subscriptions: Subscriptions
    office: Office
    readiness: Readiness


def create_app(hub: Hub) -> HookbotApp:
    """A Quart-Trio app that is a whole hub by itself, to be run by any ASGI server on Trio."""
    app = HookbotApp("hookbot", max_body_bytes=hub.access.max_body_bytes)
    app.register_error_handler(HookbotError, _answer_error)
    app.register_error_handler(HTTPException, _answer_http_error)
    app.register_blueprint(create_health(hub.readiness))
    app.register_blueprint(create_api(hub.office))

    @app.before_request
    async def check_path() -> None:
        decode_path(plain_request(request).raw_path)  # werkzeug's own decoding is lenient

    @app.after_request
    async def finish(response: Response) -> Response:
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            hub.broker.counts.refused[str(response.status_code)] += 1
        return _allow_origin(hub.access, response)

    @app.route("/", defaults={"path": ""}, methods=ALL_METHODS, provide_automatic_options=False)
    @app.route("/<path:path>", methods=ALL_METHODS, provide_automatic_options=False)
    async def serve(path: str) -> Response:
        if request.method == "GET":
            reply = hub.access.handshake(plain_request(request))
            return _response(greeted(reply)) if reply else await _stream(hub)
        if request.method == "OPTIONS" and request.headers.get("origin", "").lower() in hub.access.origins:
            return Response(b"", HTTPStatus.NO_CONTENT)
        return await _publish(hub)

    @app.websocket("/", defaults={"path": ""})
    @app.websocket("/<path:path>")
    async def subscribe(path: str) -> None:
        await hub.subscriptions.serve(hub.access.listening(plain_request(websocket), websocket=True))

    return app


async def _publish(hub: Hub) -> Response:
    plain = plain_request(request)
    publishing = hub.access.publishing(plain)
    with hub.bodies.open(publishing.max_body_bytes) as body:
        async for chunk in request.body:
            body.write(chunk)
        whole = body.close()
    accepted = await verify(hub.access, publishing, whole)
    if not isinstance(accepted, Draft):
        return _response(greeted(accepted))
    return _response(stored(await hub.broker.publish(accepted), plain))


async def _stream(hub: Hub) -> Response:
    listening = hub.access.listening(plain_request(request), websocket=False)
    start = await hub.subscriptions.start(listening)
    response = Response(hub.subscriptions.chunks(listening, start), content_type=MEDIA_TYPES[listening.format])
    response.headers.update(STREAM_HEADERS)
    return response


async def _answer_error(error: HookbotError) -> Response:
    return _response(failed(error, plain_request(request or websocket)))


async def _answer_http_error(error: HTTPException) -> Response:
    plain = plain_request(request or websocket)
    if error.code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return _response(
            failed(BodyTooLarge(f"a body has at most {current_app.config['MAX_CONTENT_LENGTH']} bytes"), plain)
        )
    answer = failed(HookbotError(HTTPStatus(error.code or 500).phrase), plain)
    return _response(Answer(error.code or 500, answer.headers, answer.body))


def _allow_origin(access: AccessControl, response: Response) -> Response:
    """Let the pages of `--cors-origin` read (Fetch Standard, section 3.2)."""
    origin = request.headers.get("origin", "")
    if origin.lower() in access.origins:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Methods"] = "GET"
        response.headers["Access-Control-Allow-Headers"] = "Authorization, Last-Event-ID"
        response.headers["Vary"] = "Origin"
    return response


def _response(answer: Answer) -> Response:
    response = Response(answer.body, answer.status)
    del response.headers["Content-Type"]
    for name, value in answer.headers:
        response.headers.add(name, value)
    return response
