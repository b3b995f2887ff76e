"""A hub from outside: `listen` to it, `publish` to it. Runs on Trio; `hookbot.blocking` is the same without.

`listen` opens a `Session`, which keeps one subscription active over many connections (websocket) and counts in
`Progress` what is received and acknowledged. A `Publisher` posts over http. Both find the hub by its `Address` and
connect directly or through a proxy (connect); errors say which failures are worth another attempt.
"""

from ..errors import Lost
from ..protocol.message import Gap
from .listener import Messages, listen
from .publisher import Publisher, open_publisher, publish
from .session import Connected, Disconnected, Event, Waiting

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
