"""Keys: what a cursor or a group is remembered under."""

from dataclasses import dataclass
from typing import Literal

from ..protocol.paths import path_of, wanted_at
from ..protocol.subscribe import SubscribeRequest
from ..protocol.topics import TopicFilter

ConsumerKind = Literal["cursor", "group"]


@dataclass(frozen=True, slots=True, order=True)
class ConsumerId:
    """A name beneath the path of a subscription; `/foo` and `/sub/foo` are the same path, the longer one."""

    kind: ConsumerKind
    path: str
    name: str

    @classmethod
    def of(cls, request: SubscribeRequest) -> "ConsumerId":
        """The key of the cursor or the group that a subscription asks for."""
        path = path_of(request.wanted)
        return cls("group", path, request.group) if request.group else cls("cursor", path, request.cursor)

    @classmethod
    def parse(cls, text: str) -> "ConsumerId":
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
