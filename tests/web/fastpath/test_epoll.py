"""The epoll loop, on socket pairs."""

from collections.abc import Callable
from socket import socketpair
from typing import Any

import pytest
import trio

from hookbot.broker.time_slices import Line
from hookbot.web.fastpath.epoll import READ, WRITE, EpollLoop
from support.fast_path import running_epoll, settled


class Watched:
    """Owner of a socket that records its calls, and then runs a function."""

    def __init__(self, epoll: EpollLoop, do: Callable[..., Any] = lambda: None) -> None:
        self.ours, self.theirs = socketpair()
        self.ours.setblocking(False)
        self.told: list[int] = []
        self.do = do
        epoll.add(self.ours.fileno(), self)

    def ready(self, events: int) -> None:
        self.told.append(events)
        self.ours.recv(100)
        self.do()

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


class EmptyLine(Line):
    """Line that records for how long each caller would let others pass."""

    def __init__(self) -> None:
        super().__init__()
        self.passed: list[float] = []

    async def let_pass(self, taken_s: float) -> None:
        self.passed.append(taken_s)


async def test_whoever_has_a_socket_that_is_ready_is_told() -> None:
    async with running_epoll() as epoll:
        one, other = Watched(epoll), Watched(epoll)
        one.theirs.send(b"x")
        await settled(lambda: one.told)

        assert (one.told, other.told) == ([READ], [])
        one.close()
        other.close()


async def test_only_what_is_watched_for_is_told() -> None:
    async with running_epoll() as epoll:
        one = Watched(epoll)
        epoll.change(one.ours.fileno(), 0)
        other = Watched(epoll)
        one.theirs.send(b"x")
        other.theirs.send(b"x")
        await settled(lambda: other.told)
        assert one.told == []

        one.do = lambda: epoll.remove(one.ours.fileno())
        epoll.change(one.ours.fileno(), READ | WRITE)
        await settled(lambda: one.told)

        assert one.told == [READ | WRITE]
        one.close()
        other.close()


async def test_who_was_removed_by_another_in_the_same_round_is_not_told() -> None:
    async with running_epoll() as epoll:
        pair = [Watched(epoll), Watched(epoll)]
        for one, other in (pair, pair[::-1]):
            one.do = lambda other=other: epoll.remove(other.ours.fileno())
            one.theirs.send(b"x")
        third = Watched(epoll)
        third.theirs.send(b"x")
        await settled(lambda: third.told)

        assert sorted(len(one.told) for one in pair) == [0, 1]
        for one in (*pair, third):
            one.close()


async def test_a_round_is_bounded_and_nobody_starves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookbot.web.fastpath.epoll.EVENTS_PER_ROUND", 3)
    async with running_epoll() as own:
        everybody = [Watched(own) for _ in range(20)]
        for one in everybody:
            one.theirs.send(b"x")
        await settled(lambda: all(one.told for one in everybody))

        assert [one.told for one in everybody] == [[READ]] * 20
        for one in everybody:
            one.close()


async def test_other_tasks_run_within_a_round_that_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookbot.web.fastpath.epoll.ROUND_S", 0)
    async with running_epoll() as epoll:
        turns: list[str] = []
        busy = [Watched(epoll, lambda: turns.append("socket")) for _ in range(3)]
        for one in busy:
            one.theirs.send(b"x")
        while turns.count("socket") < 3:
            turns.append("other")
            await trio.lowlevel.checkpoint()

        first, last = turns.index("socket"), len(turns) - turns[::-1].index("socket")
        assert "other" in turns[first:last]
        for one in busy:
            one.close()


@pytest.mark.parametrize("round_s", [0, 100])
async def test_those_in_line_have_their_turn_after_each_of_the_loop(
    monkeypatch: pytest.MonkeyPatch, round_s: float
) -> None:
    monkeypatch.setattr("hookbot.web.fastpath.epoll.ROUND_S", round_s)
    line = EmptyLine()
    async with running_epoll(line=line) as epoll:
        one = Watched(epoll)
        one.theirs.send(b"x")
        await settled(lambda: line.passed)

        assert one.told == [READ]
        assert all(taken_s > 0 for taken_s in line.passed)
        one.close()


async def test_what_becomes_ready_within_a_turn_is_handled_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookbot.web.fastpath.epoll.ROUND_S", 100)
    async with running_epoll() as epoll:
        turns: list[str] = []
        last = Watched(epoll, lambda: turns.append("last"))

        def wake_last() -> None:
            turns.append("first")
            last.theirs.send(b"x")

        first = Watched(epoll, wake_last)
        first.theirs.send(b"x")
        while "last" not in turns:
            turns.append("other")
            await trio.lowlevel.checkpoint()

        assert turns[-2:] == ["first", "last"]
        first.close()
        last.close()


@pytest.mark.parametrize(
    ("round_s", "expected"),
    [(100, "before socket socket after"), (0, "before after before socket after before socket after")],
)
async def test_what_is_done_around_a_turn_is_done_around_all_of_it_without_other_tasks(
    monkeypatch: pytest.MonkeyPatch, round_s: float, expected: str
) -> None:
    monkeypatch.setattr("hookbot.web.fastpath.epoll.ROUND_S", round_s)
    seen: list[str] = []
    async with running_epoll(gather=lambda: seen.append("before"), flush=lambda: seen.append("after")) as epoll:
        both = [Watched(epoll, lambda: seen.append("socket")) for _ in range(2)]
        for one in both:
            one.theirs.send(b"x")
        await settled(lambda: seen.count("socket") == 2 and seen[-1] == "after")

        assert seen == expected.split()
        for one in both:
            one.close()


async def test_what_arrives_meanwhile_is_done_before_what_is_done_after() -> None:
    seen: list[str] = []
    async with running_epoll(flush=lambda: seen.append("after")) as epoll:

        def send_to_other() -> None:
            seen.append("one")
            other.theirs.send(b"x")

        one, other = Watched(epoll, send_to_other), Watched(epoll, lambda: seen.append("other"))
        one.theirs.send(b"x")
        await settled(lambda: seen[-1:] == ["after"])

        assert seen == ["one", "other", "after"]
        one.close()
        other.close()


async def test_a_hang_up_is_told_even_to_who_watches_for_nothing() -> None:
    async with running_epoll() as epoll:
        one = Watched(epoll, do=lambda: epoll.remove(one.ours.fileno()))
        epoll.change(one.ours.fileno(), 0)
        one.theirs.close()
        await settled(lambda: one.told)
        one.close()
