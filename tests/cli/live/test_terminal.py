"""Terminals: what is written to one, and how it is left. tests/cli/live/test_live_view.py has a real one."""

import os
import pty
import signal
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager

import click
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hookbot.cli.live.terminal import Terminal, open_terminal
from support import GUARD_S


class Screen:
    """The other end of a terminal."""

    def __init__(self, descriptor: int, name: str) -> None:
        self.descriptor = descriptor
        self.name = name

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
def _opened() -> Iterator[Screen]:
    ours, theirs = pty.openpty()
    try:
        yield Screen(ours, os.ttyname(theirs))
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.fixture
def screen() -> Iterator[Screen]:
    with _opened() as screen:
        yield screen


@pytest.fixture
def terminal(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm")
    with open(screen.name, "r+b", buffering=0) as file, monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", file)
        patch.setattr(sys, "stdout", file)
        with open_terminal() as terminal:
            yield terminal


async def test_it_is_taken_by_the_first_drawing_and_given_back(terminal: Terminal, screen: Screen) -> None:
    assert not screen.is_raw
    await terminal.draw(["one", "two"])
    assert screen.is_raw
    written = await screen.until("two")
    assert written.startswith("\x1b[?1049h")
    assert "one" in written

    terminal.leave()
    await screen.until("\x1b[?1049l")
    assert not screen.is_raw
    # Now it is no longer its own.
    terminal.leave()
    await terminal.draw(["again"])
    assert "\x1b[?1049l" not in await screen.until("again")


async def test_only_lines_that_have_changed_are_written(terminal: Terminal, screen: Screen) -> None:
    await terminal.draw(["one", "two", "three"])
    await screen.until("three")
    await terminal.draw(["one", "2", "three"])
    await terminal.draw(["one", "2", "three"])
    await terminal.draw(["one", "2", "3"])
    written = await screen.until("3;1H3")
    assert (written.count("2;1H2"), "one" in written) == (1, False)

    terminal.redraw()
    await terminal.draw(["one", "2", "3"])
    assert "\x1b[2J\x1b[1;1Hone" in await screen.until("3;1H3")


async def test_a_terminal_that_nobody_reads_holds_up_only_the_drawing(
    terminal: Terminal, screen: Screen, nursery: trio.Nursery
) -> None:
    drawn = trio.Event()

    async def draw() -> None:
        await terminal.draw(["x" * 1_000_000])
        drawn.set()

    nursery.start_soon(draw)
    await wait_all_tasks_blocked()
    assert not drawn.is_set()
    # That it is left does not wait for anybody either.
    terminal.leave()
    assert not screen.is_raw


async def test_keys_are_read_one_by_one(terminal: Terminal, screen: Screen, nursery: trio.Nursery) -> None:
    put, keys = trio.open_memory_channel[str](10)
    nursery.start_soon(terminal.read_keys, put.send_nowait)
    await terminal.draw([])
    screen.press(b"q\x1b[A")
    assert [await keys.receive() for _ in range(2)] == ["q", "up"]
    screen.press(b"\x1b")
    assert await keys.receive() == "escape"


async def test_a_terminal_that_is_gone_ends_the_keys(screen: Screen) -> None:
    ours, theirs = pty.openpty()
    descriptor = os.open(os.ttyname(theirs), os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY)
    os.close(theirs)
    terminal = Terminal(descriptor)
    await terminal.draw(["x"])
    os.close(ours)
    with trio.fail_after(5):
        await terminal.read_keys(lambda key: None)
        await terminal.draw(["y"])
    terminal.leave()
    os.close(descriptor)


async def test_its_size_is_that_of_the_window(terminal: Terminal, screen: Screen) -> None:
    # A new one has none.
    assert terminal.size() == (80, 24)
    termios.tcsetwinsize(screen.descriptor, (50, 132))
    assert terminal.size() == (132, 50)
    assert Terminal(-1).size() == (80, 24)


async def test_another_size_has_everything_drawn_again(
    terminal: Terminal, screen: Screen, nursery: trio.Nursery
) -> None:
    changed = trio.Event()
    nursery.start_soon(terminal.heed_signals, changed.set)
    await terminal.draw(["one"])
    await wait_all_tasks_blocked()
    await screen.until("one")

    signal.raise_signal(signal.SIGWINCH)
    await changed.wait()
    await terminal.draw(["one"])

    assert "\x1b[2J" in await screen.until("one")


@pytest.mark.parametrize("term", ["dumb", ""])
def test_some_terminals_cannot_be_drawn_on(screen: Screen, monkeypatch: pytest.MonkeyPatch, term: str) -> None:
    monkeypatch.setenv("TERM", term)
    with open(screen.name, "r+b", buffering=0) as file, monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", file)
        patch.setattr(sys, "stdout", file)
        with pytest.raises(click.UsageError, match="needs a terminal"), open_terminal():
            pass


def test_what_is_no_terminal_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with open(os.devnull, "r+b", buffering=0) as file, monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", file)
        with pytest.raises(click.UsageError, match="needs a terminal"), open_terminal():
            pass
