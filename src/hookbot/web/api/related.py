"""Relations between messages: what a message came from, and what came of it."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TypedDict

from ...errors import Damaged, NotFound
from ...protocol.paths import MESSAGES
from ...protocol.replies import first_answer
from ..services import Services
from .filters import Filters
from .messages import ID, open_message
from .operations import Api, Asked
from .search import Search, id_at
from .summaries import Summary, summarize

MAX_RELATED = 100


class Related(TypedDict):
    """Messages that belong to one: where it came from, its answer, and what else came of it up to `searched_to`."""

    origin: Summary | None
    duplicate_of: Summary | None
    answer: Summary | None
    routed: list[Summary]
    replays: list[Summary]
    duplicates: list[Summary]
    searched_to: str


def add_related(api: Api, services: Services) -> None:
    """Add the operation that shows the relations of a message."""
    broker = services.broker

    async def show(asked: Asked, id: str) -> Mapping[str, Any]:
        """Messages after it are searched as far as one request may; what the token does not show is left out."""
        async with open_message(services, asked, id) as message:
            position, origin = message.position, message.replay_of or message.routed_from
            duplicate_of = message.duplicate_of
            del message
        filters = Filters(asked.scope, asked.scope.reads, related_to=id)
        search = Search(broker, services.streams.reading, filters, summarize, after=position, last=broker.head)
        found = await search.run(MAX_RELATED)
        return {
            "origin": await summary_at(asked, origin),
            "duplicate_of": await summary_at(asked, duplicate_of),
            "answer": await summary_at(asked, await broker.log.find(first_answer(id))),
            "routed": [one for one in found if one.get("routed_from") == id and "reply" not in one],
            "replays": [one for one in found if one.get("replay_of") == id],
            "duplicates": [one for one in found if one.get("duplicate_of") == id],
            "searched_to": id_at(broker, search.position),
        }

    async def summary_at(asked: Asked, id: str | None) -> Summary | None:
        """Summary of a message, None if there is none that the request may see or that can be read."""
        if id:
            with suppress(NotFound, Damaged):
                async with open_message(services, asked, id) as message:
                    return summarize(message)
        return None

    api.add(
        "GET",
        f"{MESSAGES}/<id>/related",
        show,
        "Show what a message came from, and what came of it",
        parameters=[ID],
        answer=Related,
    )
