"""Terminals: what is written to one, and how it is left. tests/end_to_end/test_live_view.py has a real one."""

import os
import pty
import signal
import sys
import termios
from collections.abc import Iterator

import click
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hookbot.cli.live.terminal import Terminal, is_drawable, open_terminal
from support.pseudo_terminal import Screen, pseudo_terminal


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    with pseudo_terminal(monkeypatch) as screen:
        yield screen


@pytest.fixture
def terminal(screen: Screen) -> Iterator[Terminal]:
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
    written = await screen.until("3;1H\x1b[K3")
    assert (written.count("2;1H\x1b[K2"), "one" in written) == (1, False)

    terminal.redraw()
    await terminal.draw(["one", "2", "3"])
    assert "\x1b[2J\x1b[1;1H\x1b[Kone" in await screen.until("3;1H\x1b[K3")


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
    # As after a suspension.
    await terminal.draw(["z"])
    os.close(descriptor)


async def test_a_terminal_that_another_job_has_is_left_alone(
    terminal: Terminal, screen: Screen, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    asked = trio.Event()

    def other_job(descriptor: int) -> int:
        asked.set()
        return -1

    put, keys = trio.open_memory_channel[str](10)
    nursery.start_soon(terminal.read_keys, put.send_nowait)
    await terminal.draw(["one"])
    await screen.until("one")
    with monkeypatch.context() as patch:
        patch.setattr(os, "tcgetpgrp", other_job)
        # A key of the other job, which is not read.
        screen.press(b"a")
        await asked.wait()
        await terminal.draw(["two"])
        terminal.leave()
        assert screen.is_raw

    await terminal.draw(["three"])
    assert "two" not in await screen.until("three")
    screen.press(b"b")
    assert [await keys.receive() for _ in range(2)] == ["a", "b"]


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


# Streams that a fixture replaces are not those of the test, where pytest replaces them again.


@pytest.mark.parametrize("term", ["dumb", ""])
def test_some_terminals_cannot_be_drawn_on(monkeypatch: pytest.MonkeyPatch, term: str) -> None:
    with pseudo_terminal(monkeypatch), monkeypatch.context() as patch:
        assert is_drawable()
        patch.setenv("TERM", term)
        assert not is_drawable()
        with pytest.raises(click.UsageError, match="needs a terminal"), open_terminal():
            pass


@pytest.mark.parametrize("name", ["stdin", "stdout"])
def test_what_is_no_terminal_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with (
        pseudo_terminal(monkeypatch),
        monkeypatch.context() as patch,
        open(os.devnull, "r+b", buffering=0) as file,
    ):
        patch.setattr(sys, name, file)
        with pytest.raises(click.UsageError, match="needs a terminal"), open_terminal():
            pass


def test_a_terminal_that_cannot_be_opened_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pseudo_terminal(monkeypatch):
        monkeypatch.delattr(os, "ttyname")
        with pytest.raises(click.UsageError, match="cannot open"), open_terminal():
            pass
