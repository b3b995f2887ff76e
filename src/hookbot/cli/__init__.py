"""The command line: parse, call one function, print. A file for each command, or for a few of one kind.

`main` imports the file of a command only when that command is called, because a listener needs no server code. Commands
share types of values, options and the lookup of secrets (`parameters`), and the display for people (`display`). Those
that listen take `SubscribeOptions`; those that handle messages also take `RetryOptions`, and run a `Worker` of
`delivery`.
"""

from .main import main

__all__ = ["main"]
