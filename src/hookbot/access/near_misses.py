"""Near misses: publishes to topics that no source and no router has, but that are spelled nearly like one of theirs.

Such a publish is accepted or refused like any other. The operator is told, since nobody would hear of it otherwise.
"""

import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from unicodedata import normalize

from ..protocol.topics import UNSAFE, is_unsafe, patterns_of
from .rate_limits import Bucket, Rate

# About 2 MiB of memory at most, since a topic has 1 KiB at most.
MAX_TOPICS = 2000
# A comparison with a hundred topics takes less than a millisecond. Untrusted senders can vary topics without end.
COMPARISONS = Rate(10, 1)
# Shorter names differ by a letter on purpose. (By two, long ones do as well: `github.com` and `gitlab.com`.)
LONG = 4

_SEPARATORS = re.compile(r"[-_. ]+")
_NUMBER = re.compile(r"[0-9]+")
_ACTIONS = ("unsafe", "pub", "sub")

logger = logging.getLogger(__package__)


class NearMisses:
    """Log of publishes that nearly have the topic of a source or a router: one line for each topic."""

    def __init__(self, sources: Iterable[str] = ()) -> None:
        self._sources = tuple(sources)
        self.routers: Callable[[], Iterable[str]] = tuple
        """Function for the topics that routers read."""
        self._known: OrderedDict[str, None] = OrderedDict()
        self._comparisons = Bucket(COMPARISONS)

    def adopt(self, other: "NearMisses") -> None:
        """Take over the topics of sources from `other`, and tell of each near miss once more."""
        self._sources = other._sources
        self._known.clear()

    def __contains__(self, topic: str) -> bool:
        """True if the topic was compared with the others, and is remembered."""
        return topic in self._known

    def note(self, topic: str, client: str, *, now_s: float) -> None:
        """Log a publish to the topic if it is a near miss and the first of its topic.

        Beyond the rate of `COMPARISONS`, a topic is left for its next publish; beyond `MAX_TOPICS`, the first is
        forgotten.
        """
        if topic in self or self._comparisons.use(now_s=now_s):
            return
        self._known[topic] = None
        if len(self._known) > MAX_TOPICS:
            self._known.popitem(last=False)
        if meant := self._meant(topic):
            asked = {"topic": topic[:200], "client": client}
            logger.warning("no source or router has the topic of a publish: is %.200s meant?", meant, extra=asked)

    def _meant(self, topic: str) -> str | None:
        """The topic of a source or a router that is nearly this one; None if there is none, or one has this topic."""
        # What reads everything reads mistakes too.
        topics = {topic: None for topic in (*self._sources, *self.routers()) if topic not in ("", UNSAFE)}
        if any(pattern in topics for pattern in patterns_of(topic)):
            return None
        return next((other for other in topics if is_near(topic, other)), None)


def is_near(topic: str, pattern: str) -> bool:
    """True if a topic that a pattern does not match is spelled nearly like those that it matches.

    Upper and lower case, ``-``, ``_``, ``.`` and blanks, and the path's ``unsafe``, ``pub`` and ``sub`` are the same;
    names may differ by a letter, but not in numbers only. A topic may lack the last segment of the pattern.
    """
    (unsafe, topic_names), (wanted_unsafe, names) = _names(topic), _names(pattern)
    # The empty safe topic is one like any other; without a token, nobody publishes to all of /unsafe/ on purpose.
    if unsafe is not wanted_unsafe or not names or not (topic_names or unsafe):
        return False
    name, wanted = "/".join(topic_names[: len(names)]), "/".join(names)
    if name == wanted or topic_names == names[:-1] or _is_host(name, pattern):
        return True
    apart = len(wanted) >= LONG and abs(len(name) - len(wanted)) <= 1 and _is_letter_apart(name, wanted)
    return apart and _NUMBER.sub("0", name) != _NUMBER.sub("0", wanted)


# One topic is compared with many, again and again.
@lru_cache(maxsize=2 * MAX_TOPICS)
def _names(topic: str) -> tuple[bool, Sequence[str]]:
    """True if a topic is unsafe or meant to be, and its segments in a form in which those of one spelling are equal."""
    parts = normalize("NFKC", topic).casefold().split("/")
    names = [name for part in parts if (name := _SEPARATORS.sub("", part))]
    unsafe = is_unsafe(topic) or names[:1] == ["unsafe"]
    while names and names[0] in _ACTIONS:
        del names[0]
    return unsafe, names


def _is_host(name: str, pattern: str) -> bool:
    """True if a name is the first part of the host that is the only segment of a pattern: ``github`` for another."""
    return pattern.removeprefix(UNSAFE).rstrip("/").casefold().partition(".")[0] == name


def _is_letter_apart(one: str, other: str) -> bool:
    """True if a letter more, less or different, or two letters exchanged, make one text the other."""
    same = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    one, other = one[same:], other[same:]
    exchanged = one[:2] == other[1::-1] and one[2:] == other[2:]
    return one[1:] == other or one == other[1:] or one[1:] == other[1:] or exchanged
