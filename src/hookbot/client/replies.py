"""Replies of a listener: which messages wait for one, and the frames that give them."""

from collections import OrderedDict

from ..protocol.frames import Hello
from ..protocol.message import Message, wall_clock_us
from ..protocol.replies import Reply, asks_reply

# A hub waits no longer, whatever its configuration says.
MAX_WAIT_US = 10_000_000
# Of at most 128 KiB each.
MAX_KEPT = 100


class Replies:
    """The newest replies of a listener, at most `MAX_KEPT`. Each is sent once, and again if its message comes again.

    A hub that crashes before it has stored a reply, sends the message again to a cursor or a group. The listener does
    not receive it a second time, but the hub gets the reply.
    """

    def __init__(self) -> None:
        self._frames: OrderedDict[str, str] = OrderedDict()
        self._unsent: dict[str, None] = {}
        self._hub_is_ahead_us = 0

    def subscribed(self, hello: Hello) -> None:
        """Send nothing that waited when the last connection was lost, unless its message comes again."""
        self._unsent.clear()
        self._hub_is_ahead_us = 0 if hello.time_us is None else hello.time_us - wall_clock_us()

    def awaited_by(self, message: Message) -> bool:
        """True if the sender of a message asked for a reply, and not so long ago that it certainly has one."""
        # Nobody waits for what an operator publishes again, or a router.
        if message.replay_of or message.routed_from or not asks_reply(message.query):
            return False
        return wall_clock_us() + self._hub_is_ahead_us - message.time_us < MAX_WAIT_US

    def give(self, message: Message, reply: Reply) -> None:
        """Queue a reply; of several to one message, the hub takes the first that it gets."""
        self._frames[message.id] = reply.to_frame(message.id)
        self._unsent[message.id] = None
        if len(self._frames) > MAX_KEPT:
            oldest, _ = self._frames.popitem(last=False)
            self._unsent.pop(oldest, None)

    def came_again(self, id: str) -> None:
        """Queue the reply to a message once more, if there is one."""
        if id in self._frames:
            self._unsent[id] = None

    def take(self) -> str | None:
        """The next frame to send, or None."""
        if not self._unsent:
            return None
        id = next(iter(self._unsent))
        del self._unsent[id]
        return self._frames[id]
