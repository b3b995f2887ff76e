"""Paths for operators: health checks without a token; ``/metrics`` and ``/hookbot/v1/...`` with one.

As everywhere, a token opens the path that it was made for, and everything beneath it if the path ends in a slash.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any

import trio
from quart import Blueprint, Response, request

from ..broker.broker import Broker
from ..broker.claims import ConsumerKind
from ..broker.consumers import ConsumerInfo
from ..broker.hubs import describe_hubs
from ..errors import Damaged, HeldElsewhere, HookbotError, NotFound, Refused
from ..log.duties import Family
from ..protocol.envelope import encode_envelope, encode_json
from ..protocol.message import format_id, format_time, parse_id
from ..protocol.paths import CURSORS, HUBS, MESSAGES, ROUTERS
from ..protocol.since import parse_since
from ..protocol.topics import UNSAFE, TopicFilter
from ..threads import hub_threads
from .asgi import abort_of, pieces, plain_request
from .held_bytes import Cut, HeldBytes
from .prometheus import CONTENT_TYPE, render
from .relay import is_relayed, relay_request
from .services import Services

_CURSOR_PARAMETERS = {
    "GET": ("path",),
    "POST": ("kind", "path", "name", "since"),
    "DELETE": ("kind", "path", "name"),
}
EVERYTHING = TopicFilter(("", UNSAFE))

logger = logging.getLogger(__package__)


def create_health(check: Callable[[], Awaitable[None]]) -> Blueprint:
    """Health routes: ``/healthz`` and ``/status`` always succeed, ``/readyz`` if `check` does."""
    health = Blueprint("health", __name__)

    @health.get("/status")
    async def status() -> Response:
        return _text("OK\n")

    @health.get("/healthz")
    async def healthz() -> Response:
        return _text("ok\n")

    @health.get("/readyz")
    async def readyz() -> Response:
        await check()
        return _text("ok\n")

    return health


def create_api(services: Services) -> Blueprint:
    """Routes for operators; each needs a token."""
    api = Blueprint("api", __name__)

    @api.before_request
    async def authorize() -> None:
        plain = plain_request(request)
        services.access.admit_operator(plain)
        known = _CURSOR_PARAMETERS.get(request.method, ()) if request.path == CURSORS else ()
        plain.check_names({"token", *known})

    _add_states(api, services)

    @api.get(f"{MESSAGES}<id>")
    async def message(id: str) -> Response:
        envelope = await _find_message(services.broker, id)
        body = _slowly(services.streams.held, envelope, request.path, abort_of(request))
        return Response(body, content_type="application/json")

    @api.get(CURSORS)
    async def cursors() -> Response:
        await services.consumers.refresh()
        return _json({"cursors": [_to_json(info) for info in services.consumers.list(request.args.get("path"))]})

    @api.post(CURSORS)
    async def move_cursor() -> Response:
        since = _need("since")
        start = None if since == "now" else parse_since(since, now_us=int(services.access.now_s * 1e6))

        async def move(takeover: bool) -> Response:
            named = _kind(), _need("path"), _need("name")
            return _json(_to_json(await services.consumers.move(*named, start, takeover=takeover)))

        return await _where_served(services, move)

    @api.delete(CURSORS)
    async def delete_cursor() -> Response:
        async def delete(takeover: bool) -> Response:
            await services.consumers.delete(_kind(), _need("path"), _need("name"), takeover=takeover)
            return _json({})

        return await _where_served(services, delete)

    return api


def _add_states(api: Blueprint, services: Services) -> None:
    """Add the routes that only tell how the hub, its routers and other hubs are."""

    @api.get("/metrics")
    async def metrics() -> Response:
        return Response(render(services.metrics), content_type=CONTENT_TYPE)

    @api.get(ROUTERS)
    async def routers() -> Response:
        head = format_id(services.broker.log.epoch, services.broker.head)
        return _json({"head": head, "routers": services.routers()})

    @api.get(HUBS)
    async def hubs() -> Response:
        log = services.broker.log
        family = Family(log.epoch, services.broker.head, await log.duties.hubs())
        return _json({"head": format_id(family.epoch, family.head), "hubs": describe_hubs(family)})


async def _where_served(services: Services, act: Callable[[bool], Awaitable[Response]]) -> Response:
    """Response to a change of a cursor or a group, made by the hub that serves it, which tells its clients.

    If that hub cannot be reached, this one takes the cursor or group over.
    """
    try:
        return await act(False)
    except HeldElsewhere as held:
        if is_relayed(plain_request(request)):
            raise
        elsewhere = held
    try:
        answer = await relay_request(services, elsewhere)
    except HookbotError as error:
        logger.warning("the %s is taken over from another hub: %s", elsewhere.what, error)
        return await act(True)
    return Response(answer.body, answer.status, dict(answer.headers))


async def _find_message(broker: Broker, id: str) -> bytes:
    try:
        epoch, position = parse_id(id)
    except ValueError as error:
        raise Refused(str(error)) from None
    # Read when others have been encoded, so that those who wait hold no messages.
    async with broker.frames.encoding:
        page = await broker.log.read(EVERYTHING, after=position - 1, limit=1, max_bytes=1)
        if page.hole:
            raise Damaged(f"the message {id} cannot be read: the log has a hole there ({page.hole})")
        if epoch != broker.log.epoch or not page.messages or page.messages[0].id != id:
            raise NotFound(f"the log has no message {id}")
        return await trio.to_thread.run_sync(encode_envelope, page.messages[0], limiter=hub_threads())


async def _slowly(held: HeldBytes, envelope: bytes, what: str, abort: Cut) -> AsyncIterator[bytes]:
    """The response with an envelope, which is counted while the client reads it."""
    holder = object()
    try:
        held.hold(holder, envelope, len(envelope), what=what, cut=abort)
        for piece in pieces(envelope):
            yield piece
        yield b"\n"
    finally:
        held.release(holder)


def _to_json(info: ConsumerInfo) -> dict[str, Any]:
    fields = asdict(info)
    return {**fields, "used": format_time(fields.pop("used_us"))}


def _kind() -> ConsumerKind:
    kinds: dict[str, ConsumerKind] = {"cursor": "cursor", "group": "group"}
    asked = request.args.get("kind", "cursor")
    if asked not in kinds:
        raise Refused(f"kind has to be cursor or group, not {asked[:40]!r}")
    return kinds[asked]


def _need(name: str) -> str:
    value = request.args.get(name)
    if not value:
        raise Refused(f"the query parameter {name} is missing; add ?{name}=...")
    return value


def _json(value: Mapping[str, Any]) -> Response:
    return Response(encode_json(value) + "\n", content_type="application/json")


def _text(text: str) -> Response:
    return Response(text, content_type="text/plain; charset=utf-8")
