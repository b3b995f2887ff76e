"""Routers that wait for nothing: what they publish for a message is computed from it alone."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple, TypeGuard

from ..protocol.message import Headers, Message
from . import Publish, Router
from .large_messages import SMALL_BYTES, compute


class Publishing(NamedTuple):
    """A publish that was computed: arguments of a router's `Publish`."""

    topic: str
    what: bytes | Message
    headers: Headers = ()
    wrapped: bool = False


class ComputingRouter(ABC):
    """Base class of routers that wait for nothing: they compute what to publish, of a large message in a thread."""

    small_bytes: ClassVar = SMALL_BYTES
    """Size up to which a message is small."""

    @abstractmethod
    def publishes(self, message: Message) -> Sequence[Publishing]:
        """Messages to publish for a message. Neither blocks nor calls Trio."""

    async def route(self, message: Message, publish: Publish) -> None:
        """Publish what is computed from one message."""
        for one in await compute(self.publishes, message, small_bytes=self.small_bytes):
            await publish(one.topic, one.what, headers=one.headers, wrapped=one.wrapped)


def computes_at_once(router: Router, message: Message) -> TypeGuard[ComputingRouter]:
    """True if `publishes` can be called for a message instead of `route`: it is small."""
    if not isinstance(router, ComputingRouter) or message.size > router.small_bytes:
        return False
    # A subclass may have a `route` of its own.
    return getattr(router.route, "__func__", None) is ComputingRouter.route
