"""The command line: parse, call one function, print. A file for each command, or for few of one kind.

`main` imports the file of a command when it is called, since whoever listens needs no server. Commands share their
types, options and the finding of secrets (`parameters`), and what is shown to people (`display`). Those that listen
have `SubscribeOptions`; those that handle what they hear also have `RetryOptions`, and run a `Worker` of `delivery`.
"""

from .main import main

__all__ = ["main"]
