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

    A parameter with this annotation may be configured as ``env:NAME`` or ``file:PATH``, and then gets that secret.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('...')"


class Publish(Protocol):
    """Publishes messages that a router makes from one message.

    They are stored after `route` has returned: in the hub in one commit, outside it one by one. None is stored if it
    raises.
    """

    async def __call__(
        self, topic: str, what: bytes | Message, /, *, headers: Headers = (), wrapped: bool = False, name: str = ""
    ) -> None:
        """Publish a new body with `headers`, or pass on a message with its body, query and headers, adding `headers`.

        `wrapped`: raw frames of the message carry the ancestor's ``extra-metadata=github`` object.
        `name` identifies this publish among those for the same message (default: its number). A router outside the hub
        may repeat a publish after a crash; by its name, the hub recognises the repeat and stores it once.

        A publish to a malformed topic or to one beneath ``hookbot/``, or with a header that is not latin-1, is left out
        with a warning, so that the name of a branch, for instance, does not cost the others. If no other is left, the
        attempt fails with `InvalidTopic` or `UnicodeEncodeError` when `route` returns.

        Raises `Refused` for too many publishes, bytes or hops, `ValueError` for a repeated name, `TypeError` for
        wrong arguments, and `RuntimeError` after `route` has ended.
        """


class Router(Protocol):
    """A plugin that reads some topics and publishes to others.

    Made with the options of its section in the configuration. A router that is an asynchronous context manager is
    entered before its first message and exited after its last. After a crash, a new one is made. It is imported and
    made in a thread.
    """

    # Properties, so that type checkers accept a class attribute of a narrower type, such as a tuple.
    @property
    def name(self) -> str:
        """Name of the router, unless the configuration gives it another one."""

    @property
    def topics(self) -> Sequence[str]:
        """Topics that it reads, and subtrees, which end in ``/``: a tuple or list. The constructor may set it."""

    async def route(self, message: Message, publish: Publish) -> None:
        """Route one message. Called for one message at a time, in the order of ids (outside the hub: of each topic).

        After an exception it is called again, up to three times. It is cancelled when all attempts together have taken
        `time_limit` seconds (default: 30). Then the message is published to ``hookbot/failed/<router>``, outside the
        hub to ``failed/<router>``. Blocking calls block the whole hub: use `trio.to_thread.run_sync` for them.
        """
