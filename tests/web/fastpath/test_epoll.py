"""The epoll loop, on socket pairs."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from socket import socketpair
from typing import Any

import pytest
import trio

from hookbot.web.fastpath import epoll
from hookbot.web.fastpath.epoll import AVAILABLE, READ, WRITE, EpollLoop


class Watched:
    """Counts what it is told, and does something then."""

    def __init__(self, epoll: EpollLoop, do: Callable[..., Any] = lambda: None) -> None:
        self.ours, self.theirs = socketpair()
        self.ours.setblocking(False)
        self.told = []
        self.do = do
        epoll.add(self.ours.fileno(), self)

    def ready(self, events: int) -> None:
        self.told.append(events)
        self.ours.recv(100)
        self.do()

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


@asynccontextmanager
async def running() -> AsyncIterator[EpollLoop]:
    if not AVAILABLE:
        pytest.skip("no epoll here: the hub runs on the app alone")
    async with trio.open_nursery() as nursery:
        epoll = EpollLoop()
        nursery.start_soon(epoll.run)
        yield epoll
        nursery.cancel_scope.cancel()


async def until(condition: Callable[..., Any]) -> None:
    while not condition():
        await trio.sleep(0.001)


async def test_whoever_has_a_socket_that_is_ready_is_told() -> None:
    async with running() as epoll:
        one, other = Watched(epoll), Watched(epoll)
        one.theirs.send(b"x")
        await until(lambda: one.told)

        assert (one.told, other.told) == ([READ], [])
        one.close()
        other.close()


async def test_only_what_is_watched_for_is_told() -> None:
    async with running() as epoll:
        one = Watched(epoll)
        epoll.change(one.ours.fileno(), 0)
        other = Watched(epoll)
        one.theirs.send(b"x")
        other.theirs.send(b"x")
        await until(lambda: other.told)
        assert one.told == []

        one.do = lambda: epoll.remove(one.ours.fileno())
        epoll.change(one.ours.fileno(), READ | WRITE)
        await until(lambda: one.told)

        assert one.told == [READ | WRITE]
        one.close()
        other.close()


async def test_who_was_removed_by_another_in_the_same_round_is_not_told() -> None:
    async with running() as epoll:
        pair = [Watched(epoll), Watched(epoll)]
        for one, other in (pair, pair[::-1]):
            one.do = lambda other=other: epoll.remove(other.ours.fileno())
            one.theirs.send(b"x")
        third = Watched(epoll)
        third.theirs.send(b"x")
        await until(lambda: third.told)

        assert sorted(len(one.told) for one in pair) == [0, 1]
        for one in (*pair, third):
            one.close()


async def test_a_round_is_bounded_and_nobody_starves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoll, "EVENTS_PER_ROUND", 3)
    async with running() as own:
        everybody = [Watched(own) for _ in range(20)]
        for one in everybody:
            one.theirs.send(b"x")
        await until(lambda: all(one.told for one in everybody))

        assert [one.told for one in everybody] == [[READ]] * 20
        for one in everybody:
            one.close()


async def test_a_hang_up_is_told_even_to_who_watches_for_nothing() -> None:
    async with running() as epoll:
        one = Watched(epoll, do=lambda: epoll.remove(one.ours.fileno()))
        epoll.change(one.ours.fileno(), 0)
        one.theirs.close()
        await until(lambda: one.told)
        one.close()
