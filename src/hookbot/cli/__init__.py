"""The command line: a module for each command, or for a few of one kind.

`main` imports the module of a command only when that command is called, or listed by ``--help``: a listener needs no
server code. Commands share types of values, options and the lookup of secrets (`parameters`), and the display for
people (`display`). ``listen``, ``latest``, ``record``, ``forward``, ``exec`` and ``replay`` take `SubscribeOptions`;
the last three and ``play`` take `RetryOptions`, and run a `Worker` of `delivery`. ``replay`` and ``play`` share
`Destination`.
"""

from .main import main

__all__ = ["main"]
