"""Replies: senders that wait for what a listener answers, and listeners that give it.

The message is stored first, and so is the answer, which the log tells to whichever hub its sender waits at. So it makes
no difference who has answered where, and a repeat of the publish finds the same answer.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from ..access.admitted import AdmittedPublish, AdmittedSubscription
from ..access.reply_rules import ReplyRules
from ..broker.broker import Broker
from ..broker.channels import Entry
from ..errors import Refused, Unavailable, as_refusal
from ..log.histogram import SECONDS, Histogram
from ..protocol.message import Duplicate, Message, parse_id
from ..protocol.replies import REPLIES, Answer, Reply, awaits_reply, first_answer
from ..protocol.response import Response, stored_response
from ..protocol.topics import EVERYTHING, UNSAFE, TopicFilter, patterns_of

# Each costs a task and a connection, some tens of kilobytes.
MAX_WAITING = 1000
# Part of these for senders of which nobody knows who they are.
UNKNOWN_SHARE = 1 / 2

RETRY_S = 1.0

_ANSWERS = TopicFilter((REPLIES, UNSAFE + REPLIES))

logger = logging.getLogger(__package__)


@dataclass(frozen=True, slots=True)
class Question:
    """A publish that is stored, and whose sender waits for a reply, without the message, which may be large."""

    id: str
    topic: str
    duplicate: bool
    known: bool
    """True if the sender has shown a token or a signature."""
    default: Reply

    def response(self, reply: Reply | None) -> Response:
        """The response to the sender; None if nobody has replied."""
        return (reply or self.default).response(*_headers(self.id, duplicate=self.duplicate))


class _Wait:
    """A message whose senders wait here: the first one, or those who repeat it."""

    def __init__(self) -> None:
        self.senders = 0
        self.reply: Reply | None = None
        self.over = trio.Event()


class Replies:
    """The replies of a hub: who waits for one, and who gives some."""

    def __init__(self, broker: Broker, rules: Callable[[], ReplyRules]) -> None:
        self.waits: Counter[str] = Counter(answered=0, nobody=0, late=0, full=0, failed=0, left=0)
        """Number of senders that have waited, by what has ended it."""
        self.given: Counter[str] = Counter(first=0, repeated=0, refused=0)
        """Number of replies that listeners have given, by what became of them."""
        self.times = Histogram(SECONDS)
        """Seconds that senders have waited for a reply that came."""
        self.waiting = 0
        """Number of senders that wait now."""
        self._broker = broker
        self._rules = rules
        # Not behind those who catch up: a sender waits for seconds at most.
        self._reading = trio.Lock()
        self._waiting: dict[str, _Wait] = {}
        self._listening: Counter[str] = Counter()
        self._closing = False

    def respond(self, admitted: AdmittedPublish, outcome: Message | Duplicate) -> Response | Question:
        """The response to a publish that is stored, or the question to `wait` for."""
        http, source, duplicate = admitted.request.http, admitted.source, isinstance(outcome, Duplicate)
        answer = source and source.answer
        if admitted.asks_reply:
            known, default = admitted.has_token or source is not None, answer or self._rules().default
            return Question(outcome.id, admitted.request.topic, duplicate, known, default)
        if answer:
            return answer.response(*_headers(outcome.id, duplicate=duplicate))
        return stored_response(outcome, json=http.accepts_json)

    async def wait(self, question: Question) -> Response:
        """The response to a question: with the reply, or the default where none is there in time, or can be read."""
        ended, reply, began = "left", None, trio.current_time()
        try:
            ended, reply = await self._find_reply(question)
        except Unavailable as error:
            # What was published is stored all the same, and an error would say that it is not.
            logger.warning("the answer to %s cannot be read: %s", question.id, error)
            ended = "failed"
        finally:
            self.waits[ended] += 1
        if reply:
            self.times.add(trio.current_time() - began)
        return question.response(reply)

    async def give(self, id: str, reply: Reply, by: AdmittedSubscription) -> bool:
        """Store a reply to the message with an id; False if there was one already, which stays.

        Not cancellable. Raises `Refused` if the listener may not reply to it, and `Unavailable`.
        """
        with trio.CancelScope(shield=True):
            try:
                topic = await self._topic_of(id, by)
            except Refused:
                self.given["refused"] += 1
                raise
            outcome = await self._broker.publish(Answer(id, topic, reply).draft)
        is_first = isinstance(outcome, Message)
        self.given["first" if is_first else "repeated"] += 1
        return is_first

    @contextmanager
    def listening(self, wanted: TopicFilter) -> Iterator[None]:
        """Count somebody who replies to the messages of some topics, until the block ends."""
        before = len(self._listening)
        self._listening.update(wanted.patterns)
        self._tell(before)
        try:
            yield
        finally:
            before = len(self._listening)
            self._listening -= Counter(wanted.patterns)
            self._tell(before)

    async def run(self) -> None:
        """Pass on answers to those who wait for them, until cancelled."""
        with self._broker.subscribe(_ANSWERS) as subscription:
            while True:
                try:
                    taken = await subscription.take()
                except Unavailable as error:
                    logger.warning("answers cannot be read, and are waited for in vain: %s", error)
                    await trio.sleep(RETRY_S)
                    continue
                for item in taken:
                    if isinstance(item, Entry):
                        self._pass_on(item.message)

    def close(self) -> None:
        """Give all who wait, from now on, the default, because the hub is shutting down."""
        self._closing = True
        for wait in self._waiting.values():
            wait.over.set()

    async def _find_reply(self, question: Question) -> tuple[str, Reply | None]:
        """Outcome of the wait, and the reply."""
        if self.waiting >= (MAX_WAITING if question.known else MAX_WAITING * UNKNOWN_SHARE):
            return "full", None
        # From now on, no answer is missed. There may be one already, not only for a repeat: a commit that the database
        # has finished, and whose end is known only once the connection to it is there again.
        with self._wait(question) as wait:
            if answered := await self._broker.log.find(first_answer(question.id)):
                return "answered", await self._load(answered)
            if not self._is_anybody_there(question.topic):
                return "nobody", None
            with trio.move_on_after(self._rules().wait_s):
                await wait.over.wait()
            return ("answered" if wait.reply else "late"), wait.reply

    @contextmanager
    def _wait(self, question: Question) -> Iterator[_Wait]:
        wait = self._waiting.setdefault(question.id, _Wait())
        self.waiting += 1
        wait.senders += 1
        if self._closing:
            wait.over.set()
        try:
            yield wait
        finally:
            self.waiting -= 1
            wait.senders -= 1
            if not wait.senders:
                del self._waiting[question.id]

    def _pass_on(self, message: Message) -> None:
        wait = self._waiting.get(message.routed_from or "")
        answer = Answer.of(message) if wait else None
        if wait and answer:
            wait.reply = answer.reply
            wait.over.set()

    def _is_anybody_there(self, topic: str) -> bool:
        elsewhere = self._broker.log.duties.replying
        return any(pattern in self._listening or pattern in elsewhere for pattern in patterns_of(topic))

    def _tell(self, before: int) -> None:
        """Tell the other hubs to which topics listeners reply here, if that has changed."""
        if len(self._listening) != before:
            self._broker.log.duties.tell_replying(self._listening.keys())

    async def _load(self, id: str) -> Reply | None:
        """The reply in the answer with an id; None if that was deleted."""
        message = await self._read(id, EVERYTHING)
        answer = message and Answer.of(message)
        return answer.reply if answer else None

    async def _topic_of(self, id: str, by: AdmittedSubscription) -> str:
        """Topic of a message to which a listener may reply. Raises `Refused` for any other, and `Unavailable`."""
        # Always from the log: of a message that was deleted meanwhile, nothing is stored any more.
        message = await self._read(id, by.request.wanted)
        now_us, since_us = self._broker.clock(), by.grant.since_us
        if by.grant.live_only:
            # Of what is new, also before the listener has connected again, the sender may still wait.
            since_us = max(since_us, now_us - int(self._rules().wait_s * 1e6))
        if message is None or message.time_us < since_us:
            raise Refused(f"no message {id} was sent here")
        if not awaits_reply(message):
            raise Refused(f"the sender of the message {id} waits for no reply")
        # From then on, another one would not be recognised.
        if message.time_us < self._broker.retention.keys_before_us(now_us):
            raise Refused(f"the message {id} is too old for a reply")
        return message.topic

    async def _read(self, id: str, wanted: TopicFilter) -> Message | None:
        """The message with an id, if a filter selects it. Raises `Refused` if it is no id, and `Unavailable`."""
        log = self._broker.log
        with as_refusal():
            _, position = parse_id(id)
        # Another hub may have stored it.
        if position > log.head:
            await log.refresh()
        async with self._reading:
            page = await log.read(wanted, after=position - 1, limit=1, max_bytes=1)
        return page.messages[0] if page.messages and page.messages[0].id == id else None


def _headers(id: str, *, duplicate: bool) -> tuple[tuple[str, str], ...]:
    told = ("Hookbot-Message-Id", id)
    return (told, ("Hookbot-Duplicate", "true")) if duplicate else (told,)
