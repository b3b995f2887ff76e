"""A request at the door, from its head to its answer."""

from dataclasses import dataclass

from ...access.admitted import AdmittedPublish
from ...errors import Refused
from ...protocol.http1 import Head
from ..body import IncomingBody


@dataclass(frozen=True, slots=True)
class CachedHead:
    """A head that was let in: who keeps a connection mostly sends the same one again."""

    data: bytes
    head: Head
    publishing: AdmittedPublish


class Exchange:
    """A request whose head is here, and what becomes of its body."""

    __slots__ = ("_coming", "body", "head", "publishing")

    def __init__(self, head: Head) -> None:
        self.head = head
        self.publishing: AdmittedPublish | None = None
        """Set, with `body`, when it is let in."""
        self.body: IncomingBody | None = None
        self._coming = head.body()

    def take(self, buffer: bytearray) -> bool:
        """Take what is here of the body; whether that was the rest of it. Raises `Refused` and `Unavailable`."""
        return self.body is not None and self._coming.take(buffer, self.body.write)

    def skip(self, buffer: bytearray) -> bool:
        """Throw away what is here of the body; whether that was the rest of it."""
        try:
            return self._coming.take(buffer, _throw_away)
        except Refused:
            return False

    def close(self) -> None:
        """The body is no longer received."""
        if self.body:
            self.body.close()


def _throw_away(data: bytes) -> None:
    """Where the body of a refused request goes."""
