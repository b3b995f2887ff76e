"""Hypercorn and Quart-Trio for the open internet: no client ends, spins, hangs or fills the process.

`HookbotApp` is a Quart-Trio app, and `Server` serves one by Hypercorn's protocols. Both are mended where the
libraries, at the versions the hub pins, trust clients too much; nobody else in the hub touches what is theirs.
Each class says which of their internals it relies on; the traps are numbered as in the tests.
"""

from .connection import PrefixedStream, Transport
from .quart import HookbotApp, discard_incoming, plain_request
from .server import Server

__all__ = ["HookbotApp", "PrefixedStream", "Server", "Transport", "discard_incoming", "plain_request"]
