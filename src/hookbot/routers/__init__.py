"""What a router is: a plugin that reads some topics and publishes to others.

This module is what authors of routers write against. It is stable: within `API_VERSION`, names and parameters are
only added, and what is there keeps its meaning. `hookbot` exports all of it.
"""

from collections.abc import Sequence
from typing import Protocol

from ..protocol.message import Headers, Message

API_VERSION = 1


class Secret(str):
    """A secret that a router is given: annotate a parameter with it, and the configuration may say ``env:NAME``
    or ``file:PATH``. It is text like any other, but its `repr` does not show it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('...')"


class Publish(Protocol):
    """Publishes what a router makes of one message.

    Everything published for a message is stored together when `route` returns, or not at all when it raises.
    """

    async def __call__(
        self, topic: str, what: bytes | Message, /, *, headers: Headers = (), wrapped: bool = False, name: str = ""
    ) -> None:
        """Publish new bytes, with `headers`, or pass a message on whole: body, headers, and what its frames look like.

        `wrapped`: raw frames of the message passed on carry the ancestor's ``extra-metadata=github`` object.
        `name` tells this publish from the others for the same message, when a router outside the hub repeats one
        after a crash (default: its number). Raises `InvalidTopic`, and `Refused` for too many of them.
        """


class Router(Protocol):
    """A plugin that reads some topics and publishes to others.

    Made once, in the hub or in a process of its own, with the options of its section in the configuration. Where
    it also is an asynchronous context manager, it is entered before its first message and left after its last.
    """

    name: str
    """What it is called, unless the configuration gives it another name."""

    topics: Sequence[str]
    """What it reads: topics, and whatever is beneath one that ends in ``/``. May be set by the constructor."""

    async def route(self, message: Message, publish: Publish) -> None:
        """Deal with one message. Called in the order of ids, for one message at a time.

        An exception has it called again, a few times; then the message goes to ``hookbot/failed/<router>``.
        Whatever waits has to be asynchronous: blocking here blocks the hub (`trio.to_thread.run_sync` helps).
        """
