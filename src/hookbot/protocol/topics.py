"""Topics, and the filters by which subscriptions select them.

A topic is slash-separated text, ``github.com/repo/acme/app``. Topics of senders
without a token begin with ``/unsafe/``; all others do not begin with a slash, so
neither kind can be mistaken for the other. The hub's own topics lie beneath ``hookbot/``.

A subscription names one topic (``foo``), everything beneath one (``foo/``; not
``foo`` itself) or, in the ancestor's spelling, both (``foo?recursive``).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from ..errors import InvalidTopic

MAX_TOPIC_BYTES = 1024
UNSAFE = "/unsafe/"
OWN = "hookbot/"
RECURSIVE = "?recursive"
RESERVED = frozenset({"status", "healthz", "readyz", "metrics", "hookbot", "pub", "sub", "unsafe"})

_NOT_IN_A_PATH = re.compile(rb"%(?:2f|00)", re.IGNORECASE)
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def decode_path(raw: bytes) -> str:
    """Percent-decode the path of a request target once, strictly; raises `InvalidTopic` for what cannot be a path.

    Refused, so that no two spellings mean one place and no spelling means two: ``%2F``, ``%00``, broken
    escapes, invalid UTF-8, control characters, empty, ``.`` and ``..`` segments. One trailing slash is fine.
    """
    shown = raw[:100].decode("ascii", "backslashreplace")
    if _NOT_IN_A_PATH.search(raw) or _BROKEN_ESCAPE.search(raw):
        raise InvalidTopic(f"not a path, it has %2F, %00 or a broken escape: {shown!r}")
    try:
        path = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidTopic(f"not a path, it is not UTF-8: {shown!r}") from None
    if not path.startswith("/"):
        raise InvalidTopic(f"not a path, it does not begin with '/': {shown!r}")
    _check_segments(path[1:], shown)
    return path


def check_topic(topic: str) -> str:
    """Return `topic` if a message may be published to it; raises `InvalidTopic` otherwise."""
    shown = topic[:100]
    _check_segments(topic.removeprefix(UNSAFE), shown)
    try:
        size = len(topic.encode())
    except UnicodeEncodeError:  # what a router found in JSON may have half a surrogate pair
        raise InvalidTopic(f"not a topic, it cannot be UTF-8: {shown!r}") from None
    if size > MAX_TOPIC_BYTES:
        raise InvalidTopic(f"a topic has at most {MAX_TOPIC_BYTES} bytes, not {size}: {shown!r}...")
    if topic.endswith(RECURSIVE):
        raise InvalidTopic(f"only a subscription may end in {RECURSIVE}: {shown!r}")
    return topic


def is_own(topic: str) -> bool:
    """Whether the topic is the hub's own, where only the hub itself may publish."""
    return topic.removeprefix(UNSAFE).startswith(OWN)


def is_unsafe(topic: str) -> bool:
    """Whether anybody may publish to this topic without a token."""
    return topic.startswith(UNSAFE)


def _check_segments(path: str, shown: str) -> None:
    if _CONTROL.search(path):
        raise InvalidTopic(f"a topic has no control characters: {shown!r}")
    segments = path.split("/")
    if segments[-1] == "":
        segments.pop()
    for segment in segments:
        if segment in ("", ".", ".."):
            raise InvalidTopic(f"a topic has no empty, '.' or '..' segments: {shown!r}")


@dataclass(frozen=True, slots=True)
class TopicFilter:
    """The topics of a subscription: single ones, and subtrees where a pattern ends in ``/`` (``""``: all safe ones)."""

    patterns: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "TopicFilter":
        """Read what stands after ``/sub/`` (or ``/unsafe/`` and it); raises `InvalidTopic`."""
        if text.endswith(RECURSIVE):
            name = text.removesuffix(RECURSIVE)
            check_topic(name)
            return cls((name, f"{name}/") if name and not name.endswith("/") else (name,))
        return cls((check_topic(text),))

    @property
    def subtree(self) -> bool:
        """Whether more than one topic can match, so that a raw frame has to say which one it is of."""
        return len(self.patterns) > 1 or is_subtree(self.patterns[0])

    @property
    def unsafe(self) -> bool:
        """Whether every topic that can match is an unsafe one."""
        return all(is_unsafe(pattern) for pattern in self.patterns)

    def matches(self, topic: str) -> bool:
        """Whether a message of this topic belongs to the subscription."""
        return any(pattern in self.patterns for pattern in patterns_of(topic))


def is_subtree(pattern: str) -> bool:
    """Whether a pattern stands for everything beneath it."""
    return pattern == "" or pattern.endswith("/")


def patterns_of(topic: str) -> Iterator[str]:
    """Every pattern that hears the topic: itself, each prefix that ends in ``/``, and ``""`` for a safe topic."""
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
