"""Redelivery: messages that are published once more, one of them or all that filters select."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import cache
from typing import Any, Literal, TypedDict, TypeVar

from quart import Response

from ...errors import HookbotError, InvalidTopic
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

_COUNT = Parameter("count", "only counts the messages, and publishes none", {"enum": ["only"]})
_KEY = Parameter(
    "Idempotency-Key", "Makes repeating this harmless", {"type": "string", "maxLength": MAX_KEY}, place="header"
)


class Redelivered(TypedDict):
    """The message that another one was published as."""

    id: str


class Counted(TypedDict):
    """Number of messages that match, at least; all of them if the count is complete. `until` is where it ended."""

    number: int
    complete: bool
    until: str


class Progress(TypedDict, total=False):
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
        counts_only = asked.one_of("count", ("only", ""), "")
        redelivery = Redelivery(services, asked, publishing)
        counted = await redelivery.count()
        if counts_only:
            return counted
        return Response(redelivery.lines(counted), content_type=JSON_LINES, headers=STREAM_HEADERS)

    api.add(
        "POST", f"{MESSAGES}/<id>/redeliver", one, "Publish a message again", parameters=[ID, _KEY], answer=Redelivered
    )
    several = [*FILTERS, *RANGE, _COUNT, _KEY]
    api.add("POST", REDELIVER, all_, "Publish messages again", parameters=several, answer=Counted, lines=Progress)


class Redelivery:
    """The redelivery of what filters select in a part of the log, with the pace at which others hardly notice it."""

    def __init__(self, services: Services, asked: Asked, publishing: FairTurns) -> None:
        """Raises `Refused` if the request is malformed. What is published has been read in one of the turns."""
        self._services = services
        self._asked = asked
        self._publishing = publishing
        self._broker = services.broker
        self._filters = Filters.read(asked)
        self._key = idempotency_key(asked.plain)
        self._after, self._last = range_of(services.broker, asked)
        self._check_publishes = cache(asked.scope.check_publishes)
        self._done = 0

    async def count(self) -> Counted:
        """Number of the messages that it publishes. Raises `Refused` if it may not publish one of them."""
        search = self._search(lambda message: self._draft(message) is not None)
        found = await search.run(MAX_MESSAGES, _COUNTED)
        check_compared(search)
        return {"number": sum(found), "complete": search.ended, "until": id_at(self._broker, self._last)}

    async def lines(self, counted: Counted) -> AsyncIterator[bytes]:
        """The response: publishes, and tells the progress."""
        of = counted["number"] if counted["complete"] else None
        search = self._search(self._draft)
        try:
            while not search.ended and self._done < MAX_MESSAGES:
                # In one turn: the drafts of others wait in the log, where they need no memory.
                async with self._publishing.of(self._filters.scope.holder):
                    drafts = (await search.page(min(_AT_ONCE, MAX_MESSAGES - self._done))).found
                    check_compared(search)
                    await self._publish([draft for draft in drafts if draft])
                    del drafts
                yield _encoded({"type": "progress", "done": self._done, "of": of})
        except HookbotError as error:
            yield _encoded({"type": "error", "done": self._done, "detail": str(error)})
        else:
            following = None if search.ended else id_at(self._broker, search.position + 1)
            yield _encoded({"type": "done", "done": self._done, "next": following})
        finally:
            # Also if the client has left.
            if self._done:
                self._asked.audit("messages were published again", number=self._done, **selection(self._asked))

    async def _publish(self, drafts: Sequence[Draft]) -> None:
        async with step_of(self._services, self._filters.scope):
            if drafts:
                await self._broker.commit(drafts)
            # At once: if the client has left, this ends as it rests.
            self._done += len(drafts)

    def _search(self, make: Callable[[Message], T]) -> Search[T]:
        turns = self._services.streams.reading
        return Search(self._broker, turns, self._filters, make, after=self._after, last=self._last)

    def _draft(self, message: Message) -> Draft | None:
        """Draft of a message that is published again; None if no client could publish it."""
        try:
            draft = redelivery_of(message, self._key)
        except InvalidTopic:
            return None
        self._check_publishes(draft.topic)
        return draft


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


def _encoded(progress: Progress) -> bytes:
    return encode_line(progress)
