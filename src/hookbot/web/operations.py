"""The hub's own paths, for those who look after it: ``/hookbot/v1/...`` and ``/metrics``.

Each opens with a token for its path, or for a prefix of it, as every other path does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from quart import Blueprint, Response, request

from ..access.control import AccessControl
from ..broker.broker import Broker
from ..broker.consumer_id import ConsumerKind
from ..broker.consumers import ConsumerInfo, Consumers
from ..errors import NotFound, Refused
from ..protocol.envelope import encode_json, to_envelope
from ..protocol.message import format_id, format_time, parse_id
from ..protocol.since import parse_since
from ..protocol.topics import UNSAFE, TopicFilter
from .asgi import plain_request
from .metrics import CONTENT_TYPE, Metrics

EVERYTHING = TopicFilter(("", UNSAFE))


@dataclass(frozen=True, slots=True)
class Office:
    """What operators ask about."""

    broker: Broker
    access: AccessControl
    sessions: Consumers
    metrics: Metrics
    routers: Callable[[], Sequence[Mapping[str, Any]]]


def create_api(office: Office) -> Blueprint:
    """The routes."""
    api = Blueprint("api", __name__)

    @api.before_request
    async def authorize() -> None:
        office.access.operating(plain_request(request))

    @api.get("/metrics")
    async def metrics() -> Response:
        return Response(office.metrics.render(), content_type=CONTENT_TYPE)

    @api.get("/hookbot/v1/routers")
    async def routers() -> Response:
        head = format_id(office.broker.log.epoch, office.broker.head)
        return _json({"head": head, "routers": office.routers()})

    @api.get("/hookbot/v1/messages/<id>")
    async def message(id: str) -> Response:
        return _json(await _find_message(office.broker, id))

    @api.get("/hookbot/v1/cursors")
    async def cursors() -> Response:
        return _json({"cursors": [_listed(listed) for listed in office.sessions.list(request.args.get("path"))]})

    @api.post("/hookbot/v1/cursors")
    async def move_cursor() -> Response:
        since = _need("since")
        start = None if since == "now" else parse_since(since, now_us=int(office.access.now_s * 1e6))
        return _json(_listed(await office.sessions.move(_kind(), _need("path"), _need("name"), start)))

    @api.delete("/hookbot/v1/cursors")
    async def delete_cursor() -> Response:
        await office.sessions.delete(_kind(), _need("path"), _need("name"))
        return _json({})

    return api


async def _find_message(broker: Broker, id: str) -> dict[str, Any]:
    try:
        epoch, position = parse_id(id)
    except ValueError as error:
        raise Refused(str(error)) from None
    page = await broker.log.read(EVERYTHING, after=position - 1, limit=1, max_bytes=1)
    if epoch != broker.log.epoch or not page.messages or page.messages[0].id != id:
        raise NotFound(f"the log has no message {id}")
    return to_envelope(page.messages[0])


def _listed(listed: ConsumerInfo) -> dict[str, Any]:
    fields = asdict(listed)
    return {**fields, "used": format_time(fields.pop("used_us"))}


def _kind() -> ConsumerKind:
    kinds: dict[str, ConsumerKind] = {"cursor": "cursor", "group": "group"}
    asked = request.args.get("kind", "cursor")
    if asked not in kinds:
        raise Refused(f"a kind is cursor or group, not {asked[:40]!r}")
    return kinds[asked]


def _need(name: str) -> str:
    value = request.args.get(name)
    if not value:
        raise Refused(f"the query needs a {name}")
    return value


def _json(value: Mapping[str, Any]) -> Response:
    return Response(encode_json(value) + "\n", content_type="application/json")
