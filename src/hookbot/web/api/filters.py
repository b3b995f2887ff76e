"""Filters: which messages a list, a live view or a redelivery is about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

from ...access.scope import Scope
from ...errors import BodyTooLarge, ConfigError, Forbidden, Refused
from ...protocol.bodies import Ceiling
from ...protocol.event_type import event_type
from ...protocol.expressions import Expression, TooManySteps, document
from ...protocol.message import Message
from ...protocol.topics import TopicFilter
from .operations import Asked, Parameter
from .summaries import Verdict, verdict_on

SEARCHED_BYTES = 1 << 20
"""Size of a body up to which it is searched; of a larger one, an expression reads nothing, and a text only so much."""
_CEILING = Ceiling(json_bytes=SEARCHED_BYTES, form_bytes=SEARCHED_BYTES, values=100_000, fields=1_000)

# Some milliseconds at most; in proportion to a large body, which takes as long to be parsed.
_STEPS = 10_000
_BYTES_OF_STEP = 8

MAX_EXPRESSION = 500
MAX_TEXT = 200

_TEXT = {"type": "string", "maxLength": MAX_TEXT}
_WHERE = {"type": "string", "format": "jmespath", "maxLength": MAX_EXPRESSION}

TOPIC_SCHEMA: Mapping[str, Any] = {"type": "string", "format": "topic"}
FILTERS: Sequence[Parameter] = (
    Parameter("topic", "A topic, or everything beneath one that ends in a slash", TOPIC_SCHEMA),
    Parameter("provider", "Name of the provider whose signature was verified, such as github", _TEXT),
    Parameter("event", "Event type, such as push", _TEXT),
    Parameter("verdict", "What is known of the sender", {"enum": list(get_args(Verdict))}),
    Parameter("text", "Text in the topic, the headers or the first MiB of the body, in any case", _TEXT),
    Parameter("where", "JMESPath expression that has to be true, as in the filter router", _WHERE),
)


@dataclass(frozen=True)
class Filters:
    """A condition on messages that a request may see."""

    scope: Scope
    wanted: TopicFilter
    """Topics whose messages are read; those that the scope does not see do not match."""
    topic: TopicFilter | None = None
    """Topics that the request asks for; all if None."""
    provider: str = ""
    event: str = ""
    verdict: str = ""
    text: str = ""
    where: Expression | None = None
    related_to: str = ""
    """Id of the message that those are to have been routed from, or to be a replay or a duplicate of."""

    @classmethod
    def read(cls, asked: Asked) -> "Filters":
        """The filters in the query of a request. Raises `Refused`."""
        asked_for, where = asked.get("topic"), short(asked, "where", MAX_EXPRESSION)
        topic = TopicFilter.parse(asked_for) if asked_for else None
        wanted = narrowed(asked.scope.reads, topic) if topic else asked.scope.reads
        try:
            expression = Expression(where) if where else None
        except ConfigError as error:
            raise Refused(f"where is {error}") from None
        verdict = asked.one_of("verdict", get_args(Verdict), "") if asked.get("verdict") else ""
        provider, event, text = (short(asked, name, MAX_TEXT) for name in ("provider", "event", "text"))
        return cls(asked.scope, wanted, topic, provider, event, verdict, text, expression)

    @property
    def takes_all(self) -> bool:
        """True if every message of the topics matches that the scope sees."""
        return not (self.provider or self.event or self.verdict or self.text or self.where or self.related_to)

    def matches(self, message: Message) -> bool:
        """True if a message matches; CPU-bound if there is a text or an expression.

        Raises `TooManySteps` if that cannot be told in some milliseconds.
        """
        if not self.scope.sees_message(message):
            return False
        if self.related_to and self.related_to not in (message.routed_from, message.replay_of, message.duplicate_of):
            return False
        if self.provider and not (message.verified and message.verified.provider == self.provider):
            return False
        if self.verdict and verdict_on(message) != self.verdict:
            return False
        if self.event and event_type(message) != self.event:
            return False
        return (not self.text or self._has_text(message)) and (not self.where or _holds(self.where, message))

    @cached_property
    def _folded(self) -> str:
        return self.text.casefold()

    def _has_text(self, message: Message) -> bool:
        if self._folded in message.topic.casefold():
            return True
        if any(self._folded in f"{name}: {value}".casefold() for name, value in message.headers):
            return True
        body = message.body[:SEARCHED_BYTES]
        # In a fifth of the time.
        if self._folded.isascii():
            return self._folded.encode() in body.lower()
        return self._folded in body.decode("utf-8", "replace").casefold()


def _holds(where: Expression, message: Message) -> bool:
    steps = _STEPS + len(message.body) // _BYTES_OF_STEP
    try:
        return where.holds(document(message, where.fields, ceiling=_CEILING), steps=steps)
    except TooManySteps:
        raise
    except (ValueError, BodyTooLarge):
        return False


def short(asked: Asked, name: str, most: int) -> str:
    """A parameter of at most so many characters, empty if it is not given. Raises `Refused` for a longer one."""
    value = asked.get(name) or ""
    if len(value) > most:
        raise Refused(f"{name} has at most {most} characters, and this has {len(value)}")
    return value


def narrowed(wanted: TopicFilter, asked: TopicFilter) -> TopicFilter:
    """The topics that both select. Raises `Forbidden` if there are none: the request names what it may not see."""
    both = dict.fromkeys(pattern for pattern in asked.patterns if wanted.matches(pattern))
    both.update(dict.fromkeys(pattern for pattern in wanted.patterns if asked.matches(pattern)))
    if not both:
        raise Forbidden(f"no token of this request shows {str(asked)[:100]!r}; it takes one for its /sub/ path")
    return TopicFilter(tuple(both))
