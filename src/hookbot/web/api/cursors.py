"""Cursors and groups: listed, moved and deleted."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any, TypedDict, get_args

from quart import Response

from ...broker.claims import ConsumerKind
from ...broker.consumers import ConsumerInfo
from ...errors import HeldElsewhere, HookbotError, Refused
from ...protocol.message import format_time
from ...protocol.paths import CURSORS, wanted_at
from ...protocol.since import Since, parse_since
from ..relay import is_relayed, relay_request
from ..services import Services
from .operations import ID_OF_MESSAGE, PATH_OF_SUBSCRIPTION, Api, Asked, Parameter

_PATH = Parameter("path", "Path of its subscription, such as /sub/deploy", PATH_OF_SUBSCRIPTION)
_ONE = (
    Parameter("kind", "Whether it is a cursor (the default) or a group", {"enum": list(get_args(ConsumerKind))}),
    Parameter("path", _PATH.description, {**PATH_OF_SUBSCRIPTION, "minLength": 1}, required=True),
    Parameter("name", "Its name", {"type": "string", "minLength": 1}, required=True),
)
_TO = (
    Parameter(
        "since", "Where to move it: an id, a duration, a time, all, or now", {"type": "string", "format": "since"}
    ),
    Parameter("from", "In place of since: the id of the message that it gets again, with all after it", ID_OF_MESSAGE),
)

logger = logging.getLogger(__package__)


class CursorShown(TypedDict):
    """A cursor or a group."""

    kind: ConsumerKind
    path: str
    name: str
    position: str
    lag: int
    behind: int | None
    behind_more: bool
    behind_s: float | None
    unacked: int | None
    connected: bool
    used: str
    used_us: int


class CursorsShown(TypedDict):
    """Cursors and groups, by path and name."""

    cursors: list[CursorShown]


def add_cursors(api: Api, services: Services) -> None:
    """Add the operations on cursors and groups."""

    async def list_(asked: Asked) -> Mapping[str, Any]:
        await services.consumers.refresh()
        listed = await services.consumers.list(asked.get("path"), shows=asked.scope.sees_all)
        return {"cursors": [_to_json(info) for info in listed]}

    async def move(asked: Asked) -> Mapping[str, Any] | Response:
        """Connected clients continue from the new position."""
        kind, path, name = _named(asked)
        start = await _read_start(services, asked, path)

        async def act(takeover: bool) -> Mapping[str, Any]:
            moved = await services.consumers.move(kind, path, name, start, takeover=takeover)
            asked.audit(f"a {kind} was moved", path=path, **{kind: name}, position=moved.position)
            return _to_json(moved)

        return await _where_served(services, asked, act)

    async def delete(asked: Asked) -> Mapping[str, Any] | Response:
        """Connected clients are disconnected for good."""
        kind, path, name = _named(asked)

        async def act(takeover: bool) -> Mapping[str, Any]:
            await services.consumers.delete(kind, path, name, takeover=takeover)
            asked.audit(f"a {kind} was deleted", path=path, **{kind: name})
            return {}

        return await _where_served(services, asked, act)

    api.add("GET", CURSORS, list_, "List cursors and groups", parameters=[_PATH], answer=CursorsShown)
    api.add("POST", CURSORS, move, "Move a cursor or a group", parameters=[*_ONE, *_TO], answer=CursorShown)
    api.add("DELETE", CURSORS, delete, "Delete a cursor or a group", parameters=_ONE, answer=dict[str, Any])


def _named(asked: Asked) -> tuple[ConsumerKind, str, str]:
    """The kind, the path and the name of the cursor or the group that a request may change. Raises `Refused`."""
    kind = asked.one_of("kind", get_args(ConsumerKind), "cursor")
    path, name = asked.need("path"), asked.need("name")
    asked.scope.check_manages(wanted_at(path))
    return kind, path, name  # type: ignore[return-value]


async def _read_start(services: Services, asked: Asked, path: str) -> Since | None:
    """New place of a cursor: at the time or the id of `since`, or so that it begins with the message `from`."""
    if first := asked.get("from"):
        if asked.get("since"):
            raise Refused("the query parameters since and from exclude each other; say one of them")
        return await services.consumers.starting_with(path, first)
    since = asked.need("since")
    return None if since == "now" else parse_since(since, now_us=int(services.access.now_s * 1e6))


async def _where_served(
    services: Services, asked: Asked, act: Callable[[bool], Awaitable[Mapping[str, Any]]]
) -> Mapping[str, Any] | Response:
    """Answer to a change of a cursor or a group, made by the hub that serves it, which tells its clients.

    If that hub cannot be reached, this one takes the cursor or group over.
    """
    try:
        return await act(False)
    except HeldElsewhere as held:
        if is_relayed(asked.plain):
            raise
        elsewhere = held
    try:
        answer = await relay_request(services, elsewhere)
    except HookbotError as error:
        logger.warning("the %s is taken over from another hub: %s", elsewhere.what, error)
        return await act(True)
    return Response(answer.body, answer.status, dict(answer.headers))


def _to_json(info: ConsumerInfo) -> Mapping[str, Any]:
    return {**asdict(info), "used": format_time(info.used_us)}
