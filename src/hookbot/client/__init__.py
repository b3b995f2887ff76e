"""A hub from outside: `listen` to it, `publish` to it. Runs on Trio; `hookbot.blocking` is the same without."""

from ..errors import Lost
from ..protocol.message import Gap
from .events import Connected, Disconnected, Event, Waiting
from .listener import Messages, listen
from .publisher import Publisher, open_publisher, publish

__all__ = [
    "Connected",
    "Disconnected",
    "Event",
    "Gap",
    "Lost",
    "Messages",
    "Publisher",
    "Waiting",
    "listen",
    "open_publisher",
    "publish",
]
