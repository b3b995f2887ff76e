"""Terminals: keys read one by one, lines drawn over the whole screen, and all as it was before when that ends."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from math import inf
from typing import Any

import click
import trio

from .keys import Keys

# The other screen, without a cursor, and lines that do not continue below; and back.
_ENTER = b"\x1b[?1049h\x1b[?25l\x1b[?7l"
_LEAVE = b"\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
_CLEAR = "\x1b[2J"
# Terminals that know these show what is between them at once.
_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"
# The other bytes of a key follow the escape character within this time; otherwise it was the escape key.
_ESCAPE_S = 0.05
# A terminal that takes nothing for this long is left as it is.
_STUCK_S = 0.2
_FALLBACK_SIZE = (80, 24)


class Terminal:
    """The terminal of this process, of which `open_terminal` has a descriptor that neither reads nor writes wait for.

    It is taken by the first `draw`, and given back by `leave`. While the process is in the background, nothing is drawn
    and no key is read: the system would stop it.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._before: list[Any] | None = None
        """Its attributes before it was taken."""
        self._taken = trio.Event()
        self._drawn: list[str] | None = None
        """Lines that are shown; None if it has to be cleared first."""

    def size(self) -> tuple[int, int]:
        """Columns and lines that it has now."""
        try:
            columns, lines = os.get_terminal_size(self._descriptor)
        except OSError:
            return _FALLBACK_SIZE
        # Some that are no windows say that they have none.
        return columns or _FALLBACK_SIZE[0], lines or _FALLBACK_SIZE[1]

    async def read_keys(self, press: Callable[[str], object]) -> None:
        """Call `press` with each key that is pressed, until the terminal is gone."""
        keys = Keys()
        while True:
            await self._taken.wait()
            data = None
            with trio.move_on_after(_ESCAPE_S if keys.is_unfinished else inf):
                await trio.lowlevel.wait_readable(self._descriptor)
                if not self._is_ours():
                    self._have_taken_again()
                    continue
                data = self._read()
            if data == b"":
                return
            for key in keys.finish() if data is None else keys.feed(data):
                press(key)

    async def draw(self, lines: Sequence[str]) -> None:
        """Show these lines from the top; what is shown already is not sent again. Cancelling may show only some."""
        if not self._is_ours() or not (self._taken.is_set() or self._take()):
            return
        old, begin = (self._drawn, _BEGIN) if self._drawn is not None else ([], _BEGIN + _CLEAR)
        # Before anything is written, as `redraw` may be called meanwhile.
        self._drawn = list(lines)
        changed = [(row, line) for row, line in enumerate(lines, 1) if old[row - 1 : row] != [line]]
        if changed:
            # Erased before and not behind, where the last character of a full line would be erased.
            text = "".join(f"\x1b[{row};1H\x1b[K{line}" for row, line in changed)
            await self._write(f"{begin}{text}{_END}".encode("utf-8", "replace"))

    def redraw(self) -> None:
        """Have the next `draw` draw everything."""
        self._drawn = None

    def leave(self) -> None:
        """Give the terminal back as it was, if it was taken and no other job has it now."""
        import termios

        self._have_taken_again()
        if self._before is not None and self._is_ours():
            with suppress(OSError):
                if select.select((), (self._descriptor,), (), _STUCK_S)[1]:
                    os.write(self._descriptor, _LEAVE)
            # At once: what was written may never be read.
            with suppress(termios.error):
                termios.tcsetattr(self._descriptor, termios.TCSANOW, self._before)
            self._before = None

    async def heed_signals(self, changed: Callable[[], object]) -> None:
        """Give the terminal back before the process is suspended; call `changed` when it has to be drawn again."""
        watched = (signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH, signal.SIGQUIT)
        # A parent that ignores one has no way to make a suspended process go on, for example.
        with trio.open_signal_receiver(
            *(each for each in watched if signal.getsignal(each) != signal.SIG_IGN)
        ) as signals:
            async for number in signals:
                if number == signal.SIGTSTP:
                    self.leave()
                    os.kill(os.getpid(), signal.SIGSTOP)
                elif number == signal.SIGQUIT:
                    self.leave()
                    signal.signal(number, signal.SIG_DFL)
                    os.kill(os.getpid(), number)
                elif number == signal.SIGCONT:
                    # A shell may have changed it meanwhile.
                    self._have_taken_again()
                self.redraw()
                changed()

    def _is_ours(self) -> bool:
        """False while another job of the shell has the terminal."""
        try:
            return os.tcgetpgrp(self._descriptor) == os.getpgrp()
        # Without job control, nobody else has it.
        except OSError:
            return True

    def _have_taken_again(self) -> None:
        # Not another event in place of one that the keys wait for.
        if self._taken.is_set():
            self._taken = trio.Event()

    def _take(self) -> bool:
        """Take the terminal; False if it is gone."""
        import termios
        import tty

        try:
            attributes, as_it_is = (termios.tcgetattr(self._descriptor) for _ in range(2))
        except termios.error:
            return False
        self._before = self._before or as_it_is
        # Ctrl-C and Ctrl-Z stay signals. Ctrl-S must not stop the output, as nothing would show that it did.
        attributes[tty.IFLAG] &= ~(termios.IXON | termios.ICRNL)
        attributes[tty.LFLAG] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)
        attributes[tty.CC][termios.VMIN], attributes[tty.CC][termios.VTIME] = 1, 0
        termios.tcsetattr(self._descriptor, termios.TCSANOW, attributes)
        with suppress(BlockingIOError):
            os.write(self._descriptor, _ENTER)
        self.redraw()
        self._taken.set()
        return True

    def _read(self) -> bytes | None:
        """Bytes that it has sent; None if somebody else has read it, and nothing if it is gone."""
        try:
            return os.read(self._descriptor, 1024)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    async def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        # Not after it was given back.
        while rest and self._taken.is_set():
            await trio.lowlevel.wait_writable(self._descriptor)
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                continue
            # It is gone, as SIGHUP tells, too.
            except OSError:
                return


def is_drawable() -> bool:
    """True if standard input and output are a terminal that can be drawn on."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


@contextmanager
def open_terminal() -> Iterator[Terminal]:
    """Terminal of standard input and output for the block; raises `UsageError` if they are none that can be drawn on.

    It is opened anew: what makes its reads and writes not wait would otherwise concern every process that has it open.
    """
    if not is_drawable():
        raise click.UsageError("--live needs a terminal to draw on, for standard input and output.")
    try:
        descriptor = os.open(os.ttyname(sys.stdout.fileno()), os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY)
    # Windows has other terminals.
    except (AttributeError, OSError):
        raise click.UsageError("--live cannot open the terminal.") from None
    terminal = Terminal(descriptor)
    try:
        yield terminal
    finally:
        terminal.leave()
        os.close(descriptor)
