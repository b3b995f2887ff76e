"""Routing without code: a condition, a topic with places to fill in, and perhaps another body."""

from collections.abc import Sequence

from ..protocol.envelope import encode_json
from ..protocol.message import Headers, Message
from . import Publish
from .expressions import Expression, Template, document

_TEXT = (("Content-Type", "text/plain; charset=utf-8"),)
_JSON = (("Content-Type", "application/json"),)


class FilterRouter:
    """Publishes what it reads elsewhere, if a condition holds: whole, or with another body.

    Expressions are JMESPath over the message (see `hookbot.routers.expressions`).
    """

    name = "filter"

    def __init__(self, reads: Sequence[str], topic: str, where: str = "", body: str = "") -> None:
        """`reads`: topics, and subtrees, which end in ``/``. `topic`: where to publish, with expressions in braces.

        `where`: the condition; what does not meet it is dropped. `body`: what to publish in place of the whole
        message; text becomes the body as it is, anything else JSON.
        """
        self.topics = tuple(reads)
        self._where = Expression(where) if where else None
        self._topic = Template(topic)
        self._body = Expression(body) if body else None

    async def route(self, message: Message, publish: Publish) -> None:
        """Publish one message elsewhere, or do not."""
        seen = document(message)
        if self._where and not self._where.holds(seen):
            return
        topic = self._topic.fill(seen)
        if self._body is None:
            await publish(topic, message)
        else:
            body, headers = _encode(self._body.value(seen))
            await publish(topic, body, headers=headers)


def _encode(value: object) -> tuple[bytes, Headers]:
    if isinstance(value, str):
        return value.encode(), _TEXT
    return encode_json(value).encode("ascii"), _JSON
