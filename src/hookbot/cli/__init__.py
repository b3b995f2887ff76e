"""The command line: parse, call one function, print."""

from .main import main

__all__ = ["main"]
