"""Keys: what a cursor or a group is remembered under."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from ..protocol.paths import find
from ..protocol.subscribe import Listening
from ..protocol.topics import RECURSIVE, UNSAFE, TopicFilter

Kind = Literal["cursor", "group"]


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """A name beneath the path of a subscription; `/foo` and `/sub/foo` are the same path, the longer one."""

    kind: Kind
    path: str
    name: str

    @classmethod
    def of(cls, listening: Listening) -> "Key":
        """The key of the cursor or the group that a subscription asks for."""
        path = path_of(listening.wanted)
        return cls("group", path, listening.group) if listening.group else cls("cursor", path, listening.cursor)

    @classmethod
    def parse(cls, text: str) -> "Key":
        """The key that `str` made this text of; neither a kind nor a name has a space in it."""
        kind, _, rest = text.partition(" ")
        path, _, name = rest.rpartition(" ")
        return cls("group" if kind == "group" else "cursor", path, name)

    def __str__(self) -> str:
        return f"{self.kind} {self.path} {self.name}"

    @property
    def wanted(self) -> TopicFilter:
        """What its subscription hears."""
        return wanted_at(self.path)


def path_of(wanted: TopicFilter) -> str:
    """The path that subscribes to `wanted`."""
    topic = wanted.patterns[0] + (RECURSIVE if len(wanted.patterns) > 1 else "")
    return f"{UNSAFE}sub/{topic.removeprefix(UNSAFE)}" if wanted.unsafe else f"/sub/{topic}"


def wanted_at(path: str) -> TopicFilter:
    """What a subscription to `path`, percent-decoded, hears; raises `Refused` if there is none."""
    return TopicFilter.parse(find("GET", quote(path).encode()).topic)
