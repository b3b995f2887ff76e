"""Topics, and the filters by which subscriptions select them.

A topic is a slash-separated name, such as ``github.com/repo/acme/app``. Unsafe topics, to which senders publish without
a token, begin with ``/unsafe/``; all others do not begin with a slash, so that neither kind can be mistaken for the
other. Topics beneath ``hookbot/`` are reserved for the hub.

A subscription names one topic (``foo``), everything beneath one (``foo/``, without ``foo`` itself) or, in the
ancestor's notation, both (``foo?recursive``).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from ..errors import InvalidTopic

# Long enough for any repository or address, and short enough to cache and log thousands.
MAX_TOPIC_BYTES = 1024
UNSAFE = "/unsafe/"
OWN = "hookbot/"
RECURSIVE = "?recursive"
RESERVED = frozenset({"status", "healthz", "readyz", "metrics", "hookbot", "pub", "sub", "unsafe"})

_NOT_IN_A_PATH = re.compile(rb"%(?:2f|00)", re.IGNORECASE)
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def decode_path(raw: bytes) -> str:
    """Path of a request target, percent-decoded once; raises `InvalidTopic` if it is malformed or ambiguous.

    Rejected are ``%2F``, ``%00``, broken escapes, invalid UTF-8, control characters, and segments that are empty, ``.``
    or ``..``; also a path that does not begin with a slash. One trailing slash is accepted.
    """
    shown = raw[:100].decode("ascii", "backslashreplace")
    if _NOT_IN_A_PATH.search(raw) or _BROKEN_ESCAPE.search(raw):
        raise InvalidTopic(f"invalid path {shown!r}: it has %2F, %00 or a broken escape")
    try:
        path = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidTopic(f"invalid path {shown!r}: it is not UTF-8") from None
    if not path.startswith("/"):
        raise InvalidTopic(f"invalid path {shown!r}: it does not begin with '/'")
    _check_segments(path[1:], shown)
    return path


# A router publishes to the same topics again and again.
@lru_cache(maxsize=1024)
def check_topic(topic: str) -> str:
    """The topic unchanged, if it is well-formed; raises `InvalidTopic` otherwise. Reserved topics are accepted."""
    shown = topic[:100]
    try:
        size = len(topic.encode())
    except UnicodeEncodeError:
        # Routers make topics from JSON, which can contain half a surrogate pair.
        raise InvalidTopic(f"invalid topic {shown!r}: it cannot be encoded as UTF-8") from None
    if size > MAX_TOPIC_BYTES:
        raise InvalidTopic(f"invalid topic {shown!r}...: it is longer than {MAX_TOPIC_BYTES} bytes")
    # Routers make topics of megabytes, too, which take seconds to divide.
    _check_segments(topic.removeprefix(UNSAFE), shown)
    if topic.endswith(RECURSIVE):
        raise InvalidTopic(f"invalid topic {shown!r}: only a subscription can end in {RECURSIVE}")
    return topic


def is_own(topic: str) -> bool:
    """True if the topic, safe or unsafe, is beneath ``hookbot/``, where only the hub publishes."""
    return topic.removeprefix(UNSAFE).startswith(OWN)


def is_unsafe(topic: str) -> bool:
    """True if senders may publish to this topic without a token."""
    return topic.startswith(UNSAFE)


def _check_segments(path: str, shown: str) -> None:
    if _CONTROL.search(path):
        raise InvalidTopic(f"invalid topic {shown!r}: it has a control character")
    segments = path.split("/")
    if segments[-1] == "":
        segments.pop()
    for segment in segments:
        if segment in ("", ".", ".."):
            raise InvalidTopic(f"invalid topic {shown!r}: it has an empty, '.' or '..' segment")


@dataclass(frozen=True, slots=True)
class TopicFilter:
    """The topics of a subscription. A pattern is a topic, a subtree if it ends in ``/``, or ``""``: all safe topics."""

    patterns: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "TopicFilter":
        """The filter for a topic as `find_route` returns it, possibly with ``?recursive``; raises `InvalidTopic`."""
        if text.endswith(RECURSIVE):
            name = text.removesuffix(RECURSIVE)
            check_topic(name)
            return cls((name, f"{name}/") if name and not name.endswith("/") else (name,))
        return cls((check_topic(text),))

    def __str__(self) -> str:
        return ", ".join(pattern or "all topics" for pattern in self.patterns)

    @property
    def subtree(self) -> bool:
        """True if more than one topic can match, so that raw frames must name theirs."""
        return len(self.patterns) > 1 or is_subtree(self.patterns[0])

    @property
    def unsafe(self) -> bool:
        """True if only unsafe topics can match."""
        return all(is_unsafe(pattern) for pattern in self.patterns)

    def matches(self, topic: str) -> bool:
        """True if the subscription receives messages of this topic."""
        return any(pattern in self.patterns for pattern in patterns_of(topic))

    def overlaps(self, other: "TopicFilter") -> bool:
        """True if a topic can match both."""
        return any(map(self.matches, other.patterns)) or any(map(other.matches, self.patterns))


EVERYTHING = TopicFilter(("", UNSAFE))
"""All topics, the unsafe ones too."""


def is_subtree(pattern: str) -> bool:
    """True if a pattern matches everything beneath it."""
    return pattern == "" or pattern.endswith("/")


def patterns_of(topic: str) -> Iterator[str]:
    """Every pattern that matches the topic: itself, each prefix that ends in ``/``, and ``""`` if the topic is safe."""
    yield topic
    if not topic.startswith("/"):
        if topic:
            yield ""
        start = 0
    else:
        start = len(UNSAFE) - 1
    end = topic.find("/", start)
    while 0 <= end < len(topic) - 1:
        yield topic[: end + 1]
        end = topic.find("/", end + 1)


def check_owner(topic: str) -> None:
    """Raise `InvalidTopic` if only the hub itself may publish to the topic."""
    if is_own(topic):
        raise InvalidTopic(f"topics beneath hookbot/ are the hub's own: {topic!r}")


def unsafe_filter(unsafe_prefixes: Sequence[str]) -> TopicFilter:
    """Filter for the unsafe topics that exist: each prefix, everything beneath it, and the hub's own topics.

    To its own, the hub publishes the unsafe messages that a router has failed at, whatever the prefixes are.
    """
    filters = [TopicFilter.parse(f"{UNSAFE}{prefix}{RECURSIVE}") for prefix in unsafe_prefixes]
    return TopicFilter((f"{UNSAFE}{OWN}", *(pattern for wanted in filters for pattern in wanted.patterns)))
