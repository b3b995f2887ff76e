"""Refusals: which requests were refused lately, and why."""

from collections.abc import Mapping
from itertools import islice
from typing import Any, NotRequired, TypedDict

from ...access.masking import masked
from ...access.refusals import MAX_REFUSALS, Refusal
from ...access.scope import Scope
from ...protocol.message import format_time
from ...protocol.paths import REFUSALS
from ...protocol.topics import EVERYTHING, TopicFilter
from ..services import Services
from .filters import TOPIC_SCHEMA
from .operations import Api, Asked, Parameter

_MAX_NUMBER = 1 << 62
_PARAMETERS = (
    Parameter("topic", "Only those of a topic or, if it ends in a slash, of everything beneath it", TOPIC_SCHEMA),
    Parameter("provider", "Only those of topics whose source has this provider, such as github"),
    Parameter("text", "Only those with this text in their path, reason, address, provider or delivery, in any case"),
    Parameter("before", "Only those with a lower number", {"type": "integer", "minimum": 1, "maximum": _MAX_NUMBER}),
    Parameter("limit", "At most so many; 50 if absent", {"type": "integer", "minimum": 1, "maximum": MAX_REFUSALS}),
)


class RefusalShown(TypedDict):
    """A refused request, and how often it was repeated by its network with the same path, status and reason."""

    number: int
    first: int
    time: str
    last: str
    count: int
    status: int
    reason: str
    method: str
    path: str
    topic: NotRequired[str]
    client: str
    provider: NotRequired[str]
    delivery: NotRequired[str]


class RefusalsShown(TypedDict):
    """Refusals, newest first; `before` is the number to go on with, null at the end."""

    refusals: list[RefusalShown]
    before: int | None


def add_refusals(api: Api, services: Services) -> None:
    """Add the operation that lists refusals."""

    async def list_(asked: Asked) -> Mapping[str, Any]:
        """They are kept in memory only, and repeated ones together: `number` is that of the newest, `first` stays.

        Those that name no topic are only shown to those who see everything.
        """
        limit = asked.number("limit", 50, most=MAX_REFUSALS)
        before = asked.number("before", _MAX_NUMBER, most=_MAX_NUMBER)
        topic, text, provider = asked.get("topic"), asked.get("text") or "", asked.get("provider") or ""
        wanted = TopicFilter.parse(topic) if topic else None
        found = (
            refusal
            for refusal in services.access.refusals.newest(before)
            if sees(asked.scope, refusal) and matches(refusal, wanted, provider, text)
        )
        shown = list(islice(found, limit))
        more = next(found, None) is not None
        return {"refusals": list(map(to_json, shown)), "before": shown[-1].number if more else None}

    api.add("GET", REFUSALS, list_, "List refused requests", parameters=_PARAMETERS, answer=RefusalsShown)


def sees(scope: Scope, refusal: Refusal) -> bool:
    """True if a scope sees the topic of a refusal; without a topic, if it sees everything."""
    return scope.wanted == EVERYTHING if refusal.topic is None else scope.sees(refusal.topic)


def to_json(refusal: Refusal) -> Mapping[str, Any]:
    """A refusal as it is shown."""
    optional = {"provider": refusal.provider, "delivery": refusal.delivery}
    return {
        "number": refusal.number,
        "first": refusal.first,
        "time": format_time(refusal.time_us),
        "last": format_time(refusal.last_us),
        "count": refusal.count,
        "status": refusal.status,
        "reason": refusal.reason,
        "method": refusal.method,
        "path": refusal.path,
        **({} if refusal.topic is None else {"topic": masked(refusal.topic)}),
        "client": refusal.client,
        **{name: value for name, value in optional.items() if value},
    }


def matches(refusal: Refusal, wanted: TopicFilter | None, provider: str, text: str) -> bool:
    """True if a refusal is of one of these topics (None: of any or none), of a provider, and has a text, in any case.

    An empty provider is any.
    """
    searched = refusal.path, refusal.reason, refusal.client, refusal.provider, refusal.delivery
    return (
        (wanted is None or (refusal.topic is not None and wanted.matches(refusal.topic)))
        and provider in ("", refusal.provider)
        and text.lower() in "\n".join(searched).lower()
    )
