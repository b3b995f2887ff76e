"""hookbot: a webhook hub.

What routers and listeners are written with is here; everything else is the hub's own business.
"""

from .errors import BadSignature, ConfigError, HookbotError, InvalidTopic, Refused, Unavailable
from .message import Headers, Message, Verified
from .routers import API_VERSION, Publish, Router, Secret

__version__ = "1.0.0"

__all__ = [
    "API_VERSION",
    "BadSignature",
    "ConfigError",
    "Headers",
    "HookbotError",
    "InvalidTopic",
    "Message",
    "Publish",
    "Refused",
    "Router",
    "Secret",
    "Unavailable",
    "Verified",
]
