"""Deletion: messages are taken out of the log with what was made of them, one of them or all that filters select."""

from collections.abc import AsyncIterator, Mapping
from heapq import merge
from itertools import islice
from typing import Literal, TypedDict

import trio
from quart import Response

from ...access.scope import topic_of
from ...errors import HookbotError, Unavailable
from ...protocol.envelope import encode_line
from ...protocol.message import Message
from ...protocol.paths import MESSAGES
from ...protocol.topics import TopicFilter
from ..fair_turns import FairTurns
from ..services import Services
from ..streams import STREAM_HEADERS
from .bulk import RANGE, check_compared, range_of, selection, step_of
from .copies import Lineage
from .filters import FILTERS, Filters
from .messages import ID, open_message
from .operations import JSON_LINES, Api, Asked, Parameter
from .search import PAGE_MESSAGES, Search, id_at

# So that each commit is small.
_AT_ONCE = 200

_TOPIC, *_CONDITIONS = FILTERS
_OF_TOPIC = Parameter("topic", _TOPIC.description, {**_TOPIC.schema, "minLength": 1}, required=True)
_HOW = (
    Parameter("only-this", "Leaves the copies: true, or without a value", {"enum": ["true"]}),
    Parameter("count", "only counts the messages, and deletes none", {"enum": ["only"]}),
)


class DeletionProgress(TypedDict, total=False):
    """Number of the messages that were found, copies among them, and of those that are deleted.

    At the end: how many of those found are `copies`, how many others are `left`, on which `topics`, and where it ended
    as `until`; and why bytes are still to be erased from files, if they are.
    """

    type: Literal["progress", "done", "error"]
    found: int
    done: int
    copies: int
    left: int
    topics: list[str]
    until: str
    detail: str


def add_deletion(api: Api, services: Services) -> None:
    """Add the operations that delete messages."""
    deleting = FairTurns()

    async def one(asked: Asked, id: str) -> Response:
        """In the same way as all that filters select. It is not found a second time."""
        deletion = Deletion(services, asked, deleting)
        async with open_message(services, asked, id) as message:
            asked.scope.check_manages(TopicFilter((topic_of(message),)))
            position = message.position
            del message
        deletion.lineage.select([position])
        return deletion.response({"message_id": id}, position)

    async def all_(asked: Asked) -> Response:
        """Their copies go, too: what routers made of them, or failed at, replays and duplicates, on whatever topics.

        With `only-this`, copies are `left`; in any case those on topics that the token does not manage. Bodies and
        headers are gone for good, no id is used again, and whoever reads the topic is told of no gap. The answer is the
        progress, as lines of JSON. It ends when the client leaves; another request goes on.
        """
        asked.scope.check_manages(TopicFilter.parse(asked.need("topic")))
        after, last = await range_of(services, asked)
        filters, turns = Filters.read(asked), services.streams.reading
        search = Search(services.broker, turns, filters, _position_of, after=after, last=last)
        return Deletion(services, asked, deleting).response(selection(asked), last, search)

    api.add("DELETE", f"{MESSAGES}/<id>", one, "Delete a message", parameters=[ID, *_HOW], lines=DeletionProgress)
    several = [_OF_TOPIC, *_CONDITIONS, *RANGE, *_HOW]
    api.add("DELETE", MESSAGES, all_, "Delete messages", parameters=several, lines=DeletionProgress)


class Deletion:
    """The deletion of messages and their copies, with the pace at which others hardly notice it.

    A copy is deleted before what it was made of: after one that has ended early, the same request finds the rest.
    """

    def __init__(self, services: Services, asked: Asked, deleting: FairTurns) -> None:
        """Raises `Refused` if the request is malformed."""
        self._asked = asked
        self._only_counts = bool(asked.one_of("count", ("only", ""), ""))
        turns, keep_copies = services.streams.reading, asked.has("only-this")
        self.lineage = Lineage(services.broker.log, turns, asked.scope, keep_copies=keep_copies)
        self._services = services
        self._deleting = deleting
        self._done = 0

    def response(self, audited: Mapping[str, str], last: int, search: Search[int] | None = None) -> Response:
        """Response that deletes what was selected, or what a search finds up to the position `last`."""
        lines = self._lines(audited, id_at(self._services.broker, last), search)
        return Response(lines, content_type=JSON_LINES, headers=STREAM_HEADERS)

    async def _lines(self, audited: Mapping[str, str], until: str, search: Search[int] | None) -> AsyncIterator[bytes]:
        if not self._only_counts:
            # In case that the hub is killed before the end.
            self._asked.audit("a deletion was begun", **audited)
        try:
            async for _ in self._steps(search):
                yield encode_line(self._progress("progress"))
        except HookbotError as error:
            yield encode_line({**self._progress("error"), "detail": str(error)})
        else:
            yield encode_line({**self._summary(until), **await self._erase()})
        finally:
            # Also if the client has left.
            if self._done:
                self._asked.audit("messages were deleted", number=self._done, **audited)

    async def _steps(self, search: Search[int] | None) -> AsyncIterator[None]:
        """Select, look for copies, and delete: until nobody has made another copy meanwhile."""
        lineage, log = self.lineage, self._services.broker.log
        while search and not search.ended:
            lineage.select((await search.page(PAGE_MESSAGES)).found)
            check_compared(search)
            yield
        selected, copies = lineage.selected.newest_first(), 0
        while lineage.selected:
            # Another hub may have stored some.
            await log.refresh()
            head = log.head
            while lineage.searched_to < head:
                await lineage.look_on()
                yield
            doomed = merge(selected, lineage.copies.newest_first(without=copies), reverse=True)
            copies = len(lineage.copies)
            if self._only_counts or not (some := list(islice(doomed, _AT_ONCE))):
                return
            while some:
                await self._delete(some)
                yield
                some = list(islice(doomed, _AT_ONCE))

    async def _delete(self, positions: list[int]) -> None:
        scope = self._asked.scope
        async with self._deleting.of(scope.holder), step_of(self._services, scope):
            # Whole, so that all that is deleted is counted.
            with trio.CancelScope(shield=True):
                self._done += await self._services.broker.deletions.take_out(positions)

    async def _erase(self) -> DeletionProgress:
        """Leave no bytes of what is deleted; if that has to wait, why."""
        try:
            if self._done:
                await self._services.broker.deletions.erase()
        except Unavailable as error:
            return {"detail": str(error)}
        return {}

    def _progress(self, kind: Literal["progress", "done", "error"]) -> DeletionProgress:
        return {"type": kind, "found": len(self.lineage), "done": self._done}

    def _summary(self, until: str) -> DeletionProgress:
        lineage = self.lineage
        topics = [*lineage.left_on]
        numbers: DeletionProgress = {"copies": len(lineage.copies), "left": len(lineage.left), "topics": topics}
        return {**self._progress("done"), **numbers, "until": until}


def _position_of(message: Message) -> int:
    return message.position
