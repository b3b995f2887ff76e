"""The client of a hub: `listen` to a topic, `publish` to one. Runs on Trio; `hookbot.blocking` needs no async.

`listen` opens a `Session`, which keeps one subscription active over many connections (`websocket`) and records in
`Progress` which messages were received and acknowledged, and in `Replies` what was replied to them. A `Publisher` posts
over HTTP. Both parse the URL into an `Address` and connect directly or through a proxy (`connect`); `errors` sorts
failures into passing and final ones.
"""

from ..backoff import Backoff
from ..errors import Lost
from ..protocol.message import Gap
from ..protocol.replies import Reply
from .listener import Messages, listen
from .publisher import Publisher, open_publisher, publish
from .session import Connected, Disconnected, Event, Waiting
from .timing import Timing

__all__ = [
    "Backoff",
    "Connected",
    "Disconnected",
    "Event",
    "Gap",
    "Lost",
    "Messages",
    "Publisher",
    "Reply",
    "Timing",
    "Waiting",
    "listen",
    "open_publisher",
    "publish",
]
