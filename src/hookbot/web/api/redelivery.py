"""Redelivery: messages that are published once more, one of them or all that filters select."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, Generic, Literal, TypedDict, TypeVar

from quart import Response

from ...errors import HookbotError, InvalidTopic
from ...log.deduplication import Outcome
from ...protocol.envelope import encode_line
from ...protocol.failures import Failure, without_failure
from ...protocol.message import Draft, Message, Once
from ...protocol.paths import MESSAGES, REDELIVER
from ...protocol.publish import MAX_KEY, idempotency_key
from ...protocol.topics import check_owner, check_topic
from ..fair_turns import FairTurns
from ..services import Services
from ..streams import STREAM_HEADERS
from .bulk import RANGE, check_compared, range_of, selection, step_of
from .filters import FILTERS, Filters
from .messages import ID, open_message
from .operations import JSON_LINES, Api, Asked, Parameter
from .search import Bounds, Search, id_at

MAX_MESSAGES = 10_000
"""Number of messages that one request publishes again."""

# As many are counted as are published.
_COUNTED = Bounds(messages=50_000, size=256 << 20, turns_s=2.0)

# Of a page, so that each commit is small.
_AT_ONCE = 100

T = TypeVar("T")
Made = TypeVar("Made")

COUNT = Parameter("count", "only counts the messages, and publishes none", {"enum": ["only"]})
_KEY = Parameter(
    "Idempotency-Key", "Makes repeating this harmless", {"type": "string", "maxLength": MAX_KEY}, place="header"
)


class Redelivered(TypedDict):
    """The message that another one was published as."""

    id: str


class MessageCount(TypedDict):
    """Number of messages that match, at least; all of them if the count is complete. `until` is where it ended."""

    number: int
    complete: bool
    until: str


class RedeliveryProgress(TypedDict, total=False):
    """Number of the messages that have been published again, and of all, if that is known."""

    type: Literal["progress", "done", "error"]
    done: int
    of: int | None
    next: str | None
    detail: str


def add_redelivery(api: Api, services: Services) -> None:
    """Add the operations that publish messages again."""
    broker, publishing = services.broker, FairTurns()

    async def one(asked: Asked, id: str) -> Mapping[str, Any]:
        """It is a new message, with the same body, headers and verdict, and `replay_of` the other.

        One that a router has failed at goes back to the topic where it was. With an `Idempotency-Key`, a repeated
        request publishes nothing twice.
        """
        async with publishing.of(asked.scope.holder):
            async with open_message(services, asked, id) as message:
                draft = redelivery_of(message, idempotency_key(asked.plain))
                del message
            asked.scope.check_publishes(draft.topic)
            services.access.count_publish(asked.plain)
            published = await broker.publish(draft)
            asked.audit("a message was published again", topic=draft.topic, message_id=published.id, replay_of=id)
            return {"id": published.id}

    async def all_(asked: Asked) -> Mapping[str, Any] | Response:
        """The oldest first, at most 10,000, and nothing that is stored meanwhile.

        The answer is the progress, as lines of JSON. It ends when the client leaves; with the same `Idempotency-Key`,
        another request `until` the same one goes on and publishes nothing twice. If more match, `next` is the id to
        go on `from`. With `count=only`, the answer is only the number, and `until` where.
        """
        return await Redelivery(services, asked, publishing, await range_of(services, asked)).answer()

    api.add(
        "POST", f"{MESSAGES}/<id>/redeliver", one, "Publish a message again", parameters=[ID, _KEY], answer=Redelivered
    )
    several = [*FILTERS, *RANGE, COUNT, _KEY]
    again = "Publish messages again"
    api.add("POST", REDELIVER, all_, again, parameters=several, answer=MessageCount, lines=RedeliveryProgress)


class Republication(ABC, Generic[T]):
    """A request that publishes again what it finds in a part of the log, at a pace that others hardly notice.

    What it finds in a message is a draft, or what leads to one.
    """

    act: ClassVar[str]
    """Words for it in the audit log."""

    def __init__(
        self, services: Services, asked: Asked, publishing: FairTurns, filters: Filters, part: tuple[int, int]
    ) -> None:
        """Raises `Refused` if the request is malformed. What is published has been read in one of the turns."""
        self.services = services
        self.asked = asked
        self._publishing = publishing
        self._broker = services.broker
        self._filters = filters
        self._counts_only = asked.one_of("count", ("only", ""), "") == "only"
        self._after, self._last = part
        self.check_publishes = cache(asked.scope.check_publishes)
        self.done = 0

    async def answer(self) -> MessageCount | Response:
        """The answer to the request. Raises `Refused` if it may not publish one of the messages."""
        counted = await self._count()
        if self._counts_only:
            return counted
        return Response(self._lines(counted), content_type=JSON_LINES, headers=STREAM_HEADERS)

    async def _count(self) -> MessageCount:
        search = self._search(lambda message: self._found(message) is not None)
        found = await search.run(MAX_MESSAGES, _COUNTED)
        check_compared(search)
        return {"number": sum(found), "complete": search.ended, "until": id_at(self._broker, self._last)}

    async def _lines(self, counted: MessageCount) -> AsyncIterator[bytes]:
        """Lines of the response: publishes, and tells the progress."""
        of = counted["number"] if counted["complete"] else None
        search = self._search(self._found)
        try:
            while not search.ended and self.done < MAX_MESSAGES:
                # In one turn: the drafts of others wait in the log, where they need no memory.
                async with self._publishing.of(self._filters.scope.holder):
                    page = (await search.page(min(_AT_ONCE, MAX_MESSAGES - self.done))).found
                    check_compared(search)
                    await self.publish([one for one in page if one is not None])
                    del page
                yield encode_line({"type": "progress", **self.progress(), "of": of})
        except HookbotError as error:
            yield encode_line({"type": "error", **self.progress(), "detail": str(error)})
        else:
            following = None if search.ended else id_at(self._broker, search.position + 1)
            yield encode_line({"type": "done", **self.progress(), "next": following})
        finally:
            # Also if the client has left.
            if self.done:
                self.asked.audit(self.act, number=self.done, **selection(self.asked))

    @abstractmethod
    def find(self, message: Message) -> T | None:
        """Result of a message. Raises `InvalidTopic` if no client could publish that."""

    @abstractmethod
    async def publish(self, found: Sequence[T]) -> None:
        """Publish what was found."""

    def progress(self) -> Mapping[str, int]:
        """Numbers that each line tells."""
        return {"done": self.done}

    async def commit(self, drafts: Sequence[Draft]) -> Sequence[Outcome]:
        """Store drafts, and count them as done. Raises `Unauthorized` if the token is no longer valid."""
        outcomes: Sequence[Outcome] = ()
        async with step_of(self.services, self._filters.scope):
            if drafts:
                outcomes = await self._broker.commit(drafts)
            # At once: if the client has left, this ends as it rests.
            self.done += len(drafts)
        return outcomes

    def _search(self, make: Callable[[Message], Made]) -> Search[Made]:
        turns = self.services.streams.reading
        return Search(self._broker, turns, self._filters, make, after=self._after, last=self._last)

    def _found(self, message: Message) -> T | None:
        """Result of a message that it may publish; None if no client could."""
        try:
            found = self.find(message)
        except InvalidTopic:
            return None
        if isinstance(found, Draft):
            self.check_publishes(found.topic)
        return found


class Redelivery(Republication[Draft]):
    """The redelivery of what filters select."""

    act = "messages were published again"

    def __init__(self, services: Services, asked: Asked, publishing: FairTurns, part: tuple[int, int]) -> None:
        """Raises `Refused` if the request is malformed."""
        super().__init__(services, asked, publishing, Filters.read(asked), part)
        self._key = idempotency_key(asked.plain)

    def find(self, message: Message) -> Draft:
        """Draft of a message."""
        return redelivery_of(message, self._key)

    async def publish(self, found: Sequence[Draft]) -> None:
        """Store the drafts."""
        await self.commit(found)


def redelivery_of(message: Message, key: str = "") -> Draft:
    """Draft of a message that is published again; of a failed one, to the topic where it was, without the failure.

    Raises `InvalidTopic` if that is no topic that clients publish to. With a `key`, it is only stored once.
    """
    failure = Failure.of(message)
    topic = failure.topic if failure else message.topic
    if failure and not topic:
        raise InvalidTopic(f"the message {message.id} does not say on which topic it failed")
    check_owner(check_topic(topic))
    headers = without_failure(message.headers) if failure else message.headers
    # Of a kind of its own, in effect: no publisher has an id of this log in its keys by accident.
    once = (Once("idempotency", topic, f"redeliver {message.id} {key}"),) if key else ()
    fields = topic, message.body, headers, message.query, message.verified, message.hops
    return Draft(*fields, once, replay_of=message.id)
