"""The session: what the tokens of a request open."""

from collections.abc import Mapping
from typing import Any, TypedDict

from ...protocol.message import format_id
from ...protocol.paths import SESSION
from ...protocol.topics import TopicFilter
from ...version import __version__
from ..services import Services
from .operations import Api, Asked
from .public_url import public_url


class SessionShown(TypedDict):
    """Scope of the tokens of a request, and the hub itself."""

    version: str
    epoch: str
    head: str
    url: str
    sees: list[str]
    publishes: list[str]
    unsafe: list[str]
    operator: bool
    expires: str | None
    names: list[str]


def add_session(api: Api, services: Services) -> None:
    """Add the operation that shows the session."""

    async def show(asked: Asked) -> Mapping[str, Any]:
        """Topics are patterns: a topic, everything beneath one that ends in a slash, or all of the safe ones ("").

        `unsafe` has those of the unsafe topics that the hub has, as far as they overlap with what the tokens see.
        """
        log, scope = services.broker.log, asked.scope
        return {
            "version": __version__,
            "epoch": log.epoch,
            "head": format_id(log.epoch, services.broker.head),
            "url": public_url(services.access, asked.plain),
            "sees": scope.wanted.patterns,
            "publishes": scope.publishing,
            "unsafe": [one for one in services.access.unsafe.patterns if TopicFilter((one,)).overlaps(scope.wanted)],
            "operator": scope.operator,
            "expires": scope.ends_first.expires,
            "names": sorted({name for held in scope.held for name in held.grant.names}),
        }

    api.add("GET", SESSION, show, "Show what the tokens of this request open", answer=SessionShown)
