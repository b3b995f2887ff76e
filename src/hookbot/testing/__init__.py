"""Tools for testing routers. Their API is stable, like that of `hookbot.routers`.

`route` and `routed` (`routing`) run a router for one message, without a hub; `make_message` makes the message.
`open_test_hub` (`hub`) runs routers in a hub. `signed_delivery` (`deliveries`) makes a request as a sender signs it.
"""

from .deliveries import Delivery, signed_delivery
from .hub import KEY as KEY
from .hub import TestHub, open_test_hub
from .routing import make_message, route, routed

__all__ = ["Delivery", "TestHub", "make_message", "open_test_hub", "route", "routed", "signed_delivery"]
