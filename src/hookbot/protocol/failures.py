"""Failures: messages that were given up, published with the reason: by the hub, or as dead letters by a client."""

from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote, unquote

from ..terminal import one_line
from .message import Headers, Message, check_id
from .topics import UNSAFE, is_unsafe

FAILED = "hookbot/failed/"
_HEADERS = "hookbot-failed-"
# RFC 8187, section 3.2.1.
_CHARSET = "UTF-8''"


@dataclass(frozen=True, slots=True)
class Failure:
    """Failure of a router at a message that it has given up, whose own `id` and `topic` these are."""

    router: str
    """Its name; of a dead letter, that of the forwarder, as in its hops."""
    id: str
    topic: str
    error: str

    @classmethod
    def of(cls, message: Message) -> "Failure | None":
        """The failure that a message tells of; None if it is not on a topic of failed messages, which is the hub's."""
        router = failed_in(message.topic)
        return None if router is None else cls(router, _told(message, "id"), _topic(message), _told(message, "error"))

    @classmethod
    def claimed_by(cls, message: Message) -> "Failure | None":
        """The failure that a message on any other topic tells of, as the dead letter of a client; None if it does not.

        Nobody vouches for it but whoever has published it, and on an unsafe topic that may be anybody: None.
        """
        failure = cls(_told(message, "router"), _told(message, "id"), _topic(message), _told(message, "error"))
        with suppress(ValueError):
            if check_id(failure.id) and not is_unsafe(message.topic) and failed_in(message.topic) is None:
                return failure
        return None

    def is_of(self, message: Message) -> bool:
        """True if the message is the one that failed, with this id on this topic."""
        # Without `Hookbot-Failed-Topic*`, as in older ones, the topic is only what a plain header can tell of it.
        return self.id == message.id and self.topic in (message.topic, _header_text(message.topic))

    @property
    def failed_topic(self) -> str:
        """Topic to which the hub publishes it."""
        return f"{UNSAFE if is_unsafe(self.topic) else ''}{FAILED}{self.router}"

    @property
    def headers(self) -> Headers:
        """The headers that tell of it."""
        told = {"Router": self.router, "Id": self.id, "Topic": self.topic, "Error": self.error}
        if _header_text(self.topic) != self.topic:
            told["Topic*"] = _CHARSET + quote(self.topic, safe="")
        return tuple((f"Hookbot-Failed-{name}", _header_text(value)) for name, value in told.items())


def failed_in(topic: str) -> str | None:
    """Name of the router whose failed messages are on this topic; None for any other topic."""
    name = topic.removeprefix(UNSAFE)
    return name.removeprefix(FAILED) if name.startswith(FAILED) else None


def without_failure(headers: Headers) -> Headers:
    """The headers of a message as they were before it failed."""
    return tuple(pair for pair in headers if not pair[0].lower().startswith(_HEADERS))


def _told(message: Message, name: str) -> str:
    return message.header(f"{_HEADERS}{name}") or ""


def _topic(message: Message) -> str:
    """Topic where it failed: in a header of its own if a plain one cannot tell it."""
    encoded = _told(message, "topic*")
    return unquote(encoded.removeprefix(_CHARSET)) if encoded else _told(message, "topic")


def _header_text(value: str) -> str:
    """Text as a header that any client can send: in latin-1, with escapes for all other characters."""
    return one_line(value).encode("latin-1", "backslashreplace").decode("latin-1").strip()
