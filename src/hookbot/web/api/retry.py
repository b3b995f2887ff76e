"""Retry: what has failed goes back to where it failed, each message once, however often that is asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict

from quart import Response

from ...errors import NotFound, Refused
from ...protocol.failures import FAILED, Failure, failed_in
from ...protocol.message import Draft, Duplicate, Message, Once
from ...protocol.paths import MESSAGES, RETRY
from ...protocol.topics import UNSAFE, TopicFilter
from ..fair_turns import FairTurns
from ..services import Services
from .bulk import RANGE, range_of
from .filters import FILTERS, MAX_TEXT, TOPIC_SCHEMA, Filters, narrowed, short
from .messages import ID, open_message
from .operations import Api, Asked, Parameter
from .redelivery import COUNT, MessageCount, RedeliveryProgress, Republication, redelivery_of

_TOPIC, *_CONDITIONS = FILTERS
_WHICH = (
    Parameter("topic", "Topic where they failed, or beneath which if it ends in a slash", TOPIC_SCHEMA),
    Parameter("router", "Name of the router that failed at them", {"type": "string", "maxLength": MAX_TEXT}),
    Parameter(
        "dead-letters", "Topic of the dead letters of a client, in place of what routers failed at", TOPIC_SCHEMA
    ),
    *_CONDITIONS,
)


class Retried(TypedDict):
    """The message that a failed one was published as, now or `before`."""

    id: str
    before: bool


class RetryProgress(RedeliveryProgress, total=False):
    """Of those that are done: how many had been retried `before`, and how many are `gone`."""

    before: int
    gone: int


def add_retry(api: Api, services: Services) -> None:
    """Add the operations that retry what has failed."""
    retrying = FairTurns()

    async def one(asked: Asked, id: str) -> Mapping[str, Any]:
        """A message that a router has failed at, or a dead letter, goes back to the topic where it failed.

        It goes back once: asked again, the answer is the same. Of a dead letter, it is the message that this names, as
        the hub has it.
        """
        async with retrying.of(asked.scope.holder):
            async with open_message(services, asked, id) as message:
                found = find_failed(message)
                del message
            if found is None:
                raise Refused(f"the message {id} is none that has failed; redeliver publishes any")
            draft = found if isinstance(found, Draft) else await _original(services, asked, found)
            asked.scope.check_publishes(draft.topic)
            services.access.count_publish(asked.plain)
            published = await services.broker.publish(draft)
            asked.audit("a failed message was retried", topic=draft.topic, message_id=published.id, failed=id)
            return {"id": published.id, "before": isinstance(published, Duplicate)}

    async def all_(asked: Asked) -> Mapping[str, Any] | Response:
        """Failures of routers or, with `dead-letters`, those of clients: the oldest first, at most 10,000.

        The answer is as that of publishing again; but each message goes back only once, also if this is repeated.
        """
        return await Retry(services, asked, retrying, await range_of(services, asked)).answer()

    api.add("POST", f"{MESSAGES}/<id>/retry", one, "Retry a message that has failed", parameters=[ID], answer=Retried)
    several = [*_WHICH, *RANGE, COUNT]
    api.add("POST", RETRY, all_, "Retry what has failed", parameters=several, answer=MessageCount, lines=RetryProgress)


class Retry(Republication[Draft | Failure]):
    """The redelivery of what has failed. Of a dead letter, the failure that it tells of is found."""

    act = "failed messages were retried"

    def __init__(self, services: Services, asked: Asked, retrying: FairTurns, part: tuple[int, int]) -> None:
        """Raises `Refused` if the request is malformed."""
        topic = asked.get("topic")
        self._topic = TopicFilter.parse(topic) if topic else None
        self._router = short(asked, "router", MAX_TEXT)
        self._before = self._gone = 0
        super().__init__(services, asked, retrying, _filters(asked, self._router), part)

    def find(self, message: Message) -> Draft | Failure | None:
        """Draft or failure of a message that is selected."""
        failure = Failure.of(message) or Failure.claimed_by(message)
        if not failure or (self._topic and not self._topic.matches(failure.topic)):
            return None
        return find_failed(message) if self._router in ("", failure.router) else None

    async def publish(self, found: Sequence[Draft | Failure]) -> None:
        """Store what has failed, one by one: the messages that dead letters name may have any size."""
        for one in found:
            try:
                draft = one if isinstance(one, Draft) else await _original(self.services, self.asked, one)
            except (NotFound, Refused):
                self._gone += 1
                self.done += 1
                continue
            self.check_publishes(draft.topic)
            self._before += sum(isinstance(outcome, Duplicate) for outcome in await self.commit([draft]))

    def progress(self) -> Mapping[str, int]:
        """Numbers that each line tells."""
        return {**super().progress(), "before": self._before, "gone": self._gone}


def find_failed(message: Message) -> Draft | Failure | None:
    """Draft of a message that a router has failed at; of a dead letter, the failure that it tells of; or else None.

    Raises `InvalidTopic` if no client could publish it.
    """
    failure = Failure.of(message) or Failure.claimed_by(message)
    if failure and failed_in(message.topic) is not None:
        return _once(redelivery_of(message), failure.id or message.id)
    return failure


async def _original(services: Services, asked: Asked, failure: Failure) -> Draft:
    """Draft of the message that a dead letter names. Raises `NotFound` if the hub no longer has it where it was.

    Not of the dead letter: who publishes those could otherwise publish to any topic, and with a verdict.
    """
    async with open_message(services, asked, failure.id) as message:
        if not failure.is_of(message):
            raise NotFound(f"the message {failure.id} was not on {failure.topic[:100]!r}")
        return _once(redelivery_of(message), message.id)


def _once(draft: Draft, failed: str) -> Draft:
    # By what has failed, not by the failure: several routers may have failed at it, and all read it again.
    return replace(draft, once=(Once("retry", draft.topic, failed),))


def _filters(asked: Asked, router: str) -> Filters:
    filters = Filters.read(asked)
    if dead_letters := asked.get("dead-letters"):
        return replace(filters, wanted=narrowed(asked.scope.reads, TopicFilter.parse(dead_letters)))
    return replace(filters, wanted=TopicFilter(tuple(f"{root}{FAILED}{router}" for root in ("", UNSAFE))))
