"""Testing of routers, for those who write them. Stable, like `hookbot.routers`.

`route` and `routed` (routing) run a router without a hub, `open_test_hub` (hub) runs it in one, and `signed_delivery`
(deliveries) makes what senders send.
"""

from .deliveries import Delivery, signed_delivery
from .hub import KEY as KEY
from .hub import TestHub, open_test_hub
from .routing import make_message, route, routed

__all__ = ["Delivery", "TestHub", "make_message", "open_test_hub", "route", "routed", "signed_delivery"]
