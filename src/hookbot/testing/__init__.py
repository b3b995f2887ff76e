"""Tools for testing routers, listeners and handlers of webhooks. Their API is stable, like that of `hookbot.routers`.

`route` and `routed` (`routing`) run a router for one message, without a hub; `make_message` makes the message.
`open_test_hub` (`hub`) is a hub on Trio, `threaded_hub` (`blocking`) one for tests that block. `signed_delivery`
(`deliveries`) makes a request as a sender signs it; `recorded` reads those that ``hookbot record`` has kept, and `play`
(`playing`) posts either to a server or an app (`apps`). `plugin` has fixtures for pytest.

Each name is imported when it is used: pytest loads the plugin of everybody who has hookbot installed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .apps import serving
    from .blocking import ThreadedHub, threaded_hub
    from .deliveries import Delivery, signed_delivery
    from .hub import KEY as KEY
    from .hub import TestHub, open_test_hub
    from .playing import Response, play, recorded
    from .routing import make_message, route, routed

__all__ = [
    "Delivery",
    "Response",
    "TestHub",
    "ThreadedHub",
    "make_message",
    "open_test_hub",
    "play",
    "recorded",
    "route",
    "routed",
    "serving",
    "signed_delivery",
    "threaded_hub",
]

_MODULES = {
    "deliveries": ("Delivery", "signed_delivery"),
    "hub": ("KEY", "TestHub", "open_test_hub"),
    "playing": ("Response", "play", "recorded"),
    "routing": ("make_message", "route", "routed"),
    "apps": ("serving",),
    "blocking": ("ThreadedHub", "threaded_hub"),
}


def __getattr__(name: str) -> Any:
    """Import the module that has this name."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
