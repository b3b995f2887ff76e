"""hookbot: a webhook hub.

The public API for routers, listeners and publishers is this module and `hookbot.errors`, `hookbot.client`,
`hookbot.blocking` and `hookbot.testing`; for providers, `hookbot.signatures.Provider`,
`hookbot.signatures.load_provider`, `hookbot.signatures.scheme.Scheme` and `hookbot.signatures.owners`. Everything else
is internal.
"""

from typing import TYPE_CHECKING, Any

from .errors import BadSignature, ConfigError, HookbotError, InvalidTopic, Refused, Unavailable
from .protocol.message import Headers, Message, Verified
from .routers import API_VERSION, Publish, Router, Secret
from .version import __version__ as __version__

if TYPE_CHECKING:
    from .client import Gap, listen, publish

__all__ = [
    "API_VERSION",
    "BadSignature",
    "ConfigError",
    "Gap",
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
    "listen",
    "publish",
]


def __getattr__(name: str) -> Any:
    """Import the client on first use: the hub does not need it, and commands start faster."""
    if name in ("Gap", "listen", "publish"):
        from . import client  # noqa: PLC0415

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
