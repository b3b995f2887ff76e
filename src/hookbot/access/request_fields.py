"""Fields of a request as it is shown and logged: bounded, and without what may be a secret."""

from contextlib import suppress

from ..errors import InvalidTopic
from ..protocol.paths import split_path
from ..protocol.request import Request
from ..protocol.topics import MAX_TOPIC_BYTES, RECURSIVE, RESERVED, decode_path
from ..protocol.trace_context import trace_id
from .masking import masked

MAX_METHOD = 16
MAX_PATH = 200


def request_fields(request: Request) -> dict[str, str]:
    """The fields of a request in a line of the log; those that it does not have are empty."""
    path, topic = read_path(request.raw_path)
    return {
        "method": request.method[:MAX_METHOD],
        "path": path,
        "topic": masked(topic or ""),
        "client": request.client,
        "trace_id": trace_id(request.header("traceparent")),
    }


def read_path(raw_path: bytes) -> tuple[str, str | None]:
    """A path as it is shown, decoded if it is well-formed, and the topic that it names, if any."""
    # No longer one names a topic, and to decode it takes some time.
    if len(raw_path) <= 4 * MAX_TOPIC_BYTES:
        with suppress(InvalidTopic):
            path = decode_path(raw_path)
            action, topic = split_path(path)
            is_topic = action or (topic and topic.partition("/")[0] not in RESERVED)
            return shown(path, MAX_PATH), topic.removesuffix(RECURSIVE) if is_topic else None
    return shown(raw_path[: 2 * MAX_PATH].decode("ascii", "backslashreplace"), MAX_PATH), None


def shown(text: str, length: int) -> str:
    """A text of at most so many characters, `masked`."""
    # Masked first: the part of a token might not look like one.
    text = masked(text[: 2 * length])
    return text if len(text) <= length else f"{text[: length - 1]}…"
