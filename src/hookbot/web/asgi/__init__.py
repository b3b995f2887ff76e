"""Hypercorn and Quart-Trio, hardened for the open internet: no client can crash, block or exhaust the process.

`HookbotApp` is a Quart-Trio app, and `Server` serves one over Hypercorn's protocols. The subclasses here fix what the
libraries get wrong with untrusted clients. Each docstring names what would go wrong without it, and the internals that
it relies on; no code outside this package uses those.
"""

from .extensions import abort_of, pieces, send_message
from .quart import HookbotApp, note_authentication, plain_request
from .server import Server

__all__ = [
    "HookbotApp",
    "Server",
    "abort_of",
    "note_authentication",
    "pieces",
    "plain_request",
    "send_message",
]
