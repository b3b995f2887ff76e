"""Messages that a router could not deal with: kept whole, on a topic of the hub's own, with the reason."""

from ..protocol.message import Draft, Message
from ..protocol.topics import UNSAFE, is_unsafe

FAILED = "hookbot/failed/"
_PREFIX = "hookbot-failed-"


def failed_in(topic: str) -> str | None:
    """The router in which a message of this topic failed; None for any other topic."""
    name = topic.removeprefix(UNSAFE)
    return name.removeprefix(FAILED) if name.startswith(FAILED) else None


def failed_draft(router: str, message: Message, error: BaseException) -> Draft:
    """The message as it was, with headers that say which router failed, with what, and on which message and topic.

    Its hops are the message's: published again where it came from, it reaches the router again.
    """
    reasons = {"Router": router, "Id": message.id, "Topic": message.topic, "Error": describe(error)}
    headers = (pair for pair in message.headers if not pair[0].lower().startswith(_PREFIX))
    return Draft(
        f"{UNSAFE if is_unsafe(message.topic) else ''}{FAILED}{router}",
        message.body,
        (*headers, *((f"Hookbot-Failed-{name}", _header_text(value)) for name, value in reasons.items())),
        message.query,
        message.verified,
        message.hops,
    )


def describe(error: BaseException) -> str:
    """An exception in one line."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    text = " ".join(str(error).split())[:500]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _header_text(value: str) -> str:
    return value.encode("latin-1", "backslashreplace").decode("latin-1")
