"""The filter router: routing without code, by a condition, a template for the topic, and optionally a new body."""

from collections.abc import Sequence

from ..errors import ConfigError, InvalidTopic
from ..protocol.expressions import Expression, Template, document
from ..protocol.json_text import write_json
from ..protocol.message import Headers, Message
from .computing import ComputingRouter, Publishing
from .outbox import check_publishable

_TEXT = (("Content-Type", "text/plain; charset=utf-8"),)
_JSON = (("Content-Type", "application/json"),)


class FilterRouter(ComputingRouter):
    """Publishes messages that meet a condition to another topic, as they are or with a new body.

    Expressions are JMESPath over the message (see `hookbot.protocol.expressions`).
    """

    name = "filter"

    def __init__(self, reads: Sequence[str], topic: str, where: str = "", body: str = "") -> None:
        """`reads`: topics, and subtrees, which end in ``/``. `topic`: template of the topic to publish to.

        `where`: condition; messages that do not meet it are dropped. `body`: expression for a new body, which is
        published instead of the message, without its headers and query; a string is the body as it is, any other value
        becomes JSON. Raises `ConfigError` for a malformed expression or template, and for one that makes no topics.
        """
        self.topics = tuple(reads)
        self._where = Expression(where) if where else None
        self._topic = Template(topic)
        try:
            check_publishable(self._topic.example)
        except InvalidTopic as error:
            raise ConfigError(f"the topic {topic!r} is none to publish to: {error}") from None
        self._body = Expression(body) if body else None
        self._fields = frozenset[str]().union(*(one.fields for one in (self._where, self._topic, self._body) if one))

    def publishes(self, message: Message) -> Sequence[Publishing]:
        """The message under its new topic, if it meets the condition.

        Raises `BodyTooLarge` if the filter reads the body, and that is beyond the ceiling.
        """
        seen = document(message, self._fields)
        if self._where and not self._where.holds(seen):
            return []
        topic = self._topic.fill(seen)
        return [Publishing(topic, *_encode(self._body.value(seen))) if self._body else Publishing(topic, message)]


def _encode(value: object) -> tuple[bytes, Headers]:
    if isinstance(value, str):
        return value.encode(), _TEXT
    return write_json(value).encode("ascii"), _JSON
