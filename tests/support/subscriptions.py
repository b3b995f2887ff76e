"""Active subscriptions without a connection."""

from collections.abc import Callable
from dataclasses import dataclass, field

from hookbot.access.authorizer import Grant
from hookbot.errors import Ended
from hookbot.protocol.subscribe import SubscribeRequest
from hookbot.protocol.topics import TopicFilter

_REQUEST = SubscribeRequest(TopicFilter(("topic",)), "/sub/topic", "topic", "raw")


@dataclass(eq=False)
class Unconnected:
    """Active subscription that notes why it was ended, and then calls `on_end`."""

    grant: Grant
    on_end: Callable[[], object] = lambda: None
    request: SubscribeRequest = _REQUEST
    client: str = "192.0.2.1"
    number: int = 0
    since_us: int = 0
    ended: list[Ended] = field(default_factory=list)

    def skip_unwanted(self) -> int:
        return 0

    def dismiss(self, reason: Ended) -> None:
        self.ended.append(reason)
        self.on_end()
