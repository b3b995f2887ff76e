"""The interface of routers: plugins that read some topics and publish to others.

It is stable: within one `API_VERSION`, names and parameters are only added, and existing ones keep their meaning.
Authors of routers import all of it from `hookbot`.
"""

from collections.abc import Sequence
from typing import Protocol

from ..protocol.message import Headers, Message

API_VERSION = 1


class Secret(str):
    """A secret option of a router: a string whose `repr` does not show it.

    For a parameter with this annotation, the configuration may say ``env:NAME`` or ``file:PATH``.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('...')"


class Publish(Protocol):
    """Publishes messages that a router makes from one message.

    All of them are stored in one commit after `route` has returned; none is stored if it raises.
    """

    async def __call__(
        self, topic: str, what: bytes | Message, /, *, headers: Headers = (), wrapped: bool = False, name: str = ""
    ) -> None:
        """Publish a new body with `headers`, or pass on a message with its body, query and headers, adding `headers`.

        `wrapped`: raw frames of the message carry the ancestor's ``extra-metadata=github`` object.
        `name` identifies this publish among those for the same message (default: its number). A router outside the hub
        may repeat a publish after a crash; by its name, the hub recognises the repeat and stores it once.
        Raises `InvalidTopic`, and `Refused` for too many publishes.
        """


class Router(Protocol):
    """A plugin that reads some topics and publishes to others.

    Made with the options of its section in the configuration, in the hub or in a process of its own, and recreated
    after a crash. A router that is an asynchronous context manager is entered before its first message and exited
    after its last.
    """

    # Properties, so that type checkers accept a class attribute of a narrower type, such as a tuple.
    @property
    def name(self) -> str:
        """Name of the router, unless the configuration gives it another one."""

    @property
    def topics(self) -> Sequence[str]:
        """Topics that it reads, and subtrees, which end in ``/``. The constructor may set it."""

    async def route(self, message: Message, publish: Publish) -> None:
        """Route one message. Called in the order of ids, for one message at a time.

        After an exception it is called again, up to three times; then the message is published to
        ``hookbot/failed/<router>``. Blocking calls block the whole hub: use `trio.to_thread.run_sync` for them.
        """
