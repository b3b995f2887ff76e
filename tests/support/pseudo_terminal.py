"""A pseudo-terminal: standard input and output of this process, and its other end."""

import os
import pty
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio

from support import GUARD_S


class Screen:
    """The other end of a terminal."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    async def until(self, end: str) -> str:
        """What was written since the last call, up to a text that will be."""
        written = ""
        os.set_blocking(self.descriptor, False)
        with trio.fail_after(GUARD_S):
            while end not in written:
                await trio.lowlevel.wait_readable(self.descriptor)
                written += os.read(self.descriptor, 1 << 16).decode()
        return written

    def press(self, keys: bytes) -> None:
        os.write(self.descriptor, keys)

    @property
    def is_raw(self) -> bool:
        flags = termios.tcgetattr(self.descriptor)[3]
        return not flags & (termios.ICANON | termios.ECHO)


@contextmanager
def pseudo_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    """The other end of standard input and output, which are a terminal within the block."""
    ours, theirs = pty.openpty()
    try:
        with open(theirs, "r+b", buffering=0, closefd=False) as file, monkeypatch.context() as patch:
            patch.setenv("TERM", "xterm-256color")
            patch.setattr(sys, "stdin", file)
            patch.setattr(sys, "stdout", file)
            yield Screen(ours)
    finally:
        os.close(ours)
        os.close(theirs)
