"""Hypercorn and Quart-Trio, hardened for the open internet: no client can end, spin, hang or fill the process.

`HookbotApp` is a Quart-Trio app, and `Server` serves one over Hypercorn's protocols. Their subclasses here fix what the
libraries, at the versions that the hub pins, get wrong with untrusted clients. Each says what goes wrong without it,
and which internals it relies on; nothing outside this package touches those.
"""

from .connection import PrefixedStream, Transport
from .quart import HookbotApp, discard_incoming, plain_request
from .server import Server

__all__ = ["HookbotApp", "PrefixedStream", "Server", "Transport", "discard_incoming", "plain_request"]
