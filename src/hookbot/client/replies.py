"""Replies of a listener: which messages wait for one, and the frames that give them."""

from collections import OrderedDict

from ..protocol.frames import Hello
from ..protocol.message import Message, wall_clock_us
from ..protocol.replies import MAX_WAIT_S, Reply, awaits_reply

# As many senders wait at one hub. A reply has at most 128 KiB, and mostly some hundred bytes.
MAX_KEPT = 1000


class Replies:
    """The newest replies of a listener, at most `MAX_KEPT`. Each is sent once, unless the hub may not have it.

    A hub stores the reply to a message before the acknowledgement. If it does not know of the one after a crash, it has
    perhaps lost both.
    """

    def __init__(self) -> None:
        self._frames: OrderedDict[str, str] = OrderedDict()
        self._unsent: dict[str, None] = {}
        self._hub_is_ahead_us = 0
        self._wait_s = MAX_WAIT_S

    def subscribed(self, hello: Hello) -> None:
        """Queue again what the hub may not have: nothing without a cursor or a group, where it does not tell that."""
        lost = [id for id in self._frames if hello.position is not None and id > hello.position]
        self._unsent = dict.fromkeys(lost)
        self._hub_is_ahead_us = 0 if hello.time_us is None else hello.time_us - wall_clock_us()
        self._wait_s = hello.reply_timeout_s

    def awaited_by(self, message: Message) -> bool:
        """True if the sender of a message asked for a reply, and not so long ago that it certainly has one."""
        age_us = wall_clock_us() + self._hub_is_ahead_us - message.time_us
        return awaits_reply(message) and age_us < self._wait_s * 1e6

    def give(self, message: Message, reply: Reply) -> None:
        """Queue a reply; of several to one message, the hub takes the first that it gets."""
        self._frames[message.id] = reply.to_frame(message.id)
        self._unsent[message.id] = None
        if len(self._frames) > MAX_KEPT:
            oldest, _ = self._frames.popitem(last=False)
            self._unsent.pop(oldest, None)

    def take(self) -> str | None:
        """The next frame to send, or None."""
        if not self._unsent:
            return None
        id = next(iter(self._unsent))
        del self._unsent[id]
        return self._frames[id]
