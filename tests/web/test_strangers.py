"""Connections of strangers: how many there may be, and which goes for another."""

from dataclasses import dataclass, field

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from hookbot.web.strangers import WELCOME_S, Strangers, refusal

PEER = "192.0.2.1"


@dataclass(eq=False)
class Connection:
    """A connection that was accepted now, or some seconds ago."""

    age_s: float = 0
    busy: bool = False
    ended: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.progressed_at = trio.current_time() - self.age_s

    def end(self, reason: str) -> None:
        self.ended.append(reason)


def connect(
    strangers: Strangers, peer: str = PEER, *, size: int = 1, age_s: float = 0, busy: bool = False
) -> Connection:
    connection = Connection(age_s, busy)
    strangers.add(connection, peer, size)
    return connection


# --- by address


async def test_one_address_may_have_so_many_and_others_as_many(caplog: pytest.LogCaptureFixture) -> None:
    strangers = Strangers(2)
    for _ in range(2):
        assert strangers.admits(PEER)
        connect(strangers)

    assert not strangers.admits(PEER)
    assert strangers.admits("192.0.2.2")
    assert strangers.refused == 1
    assert caplog.messages == ["refused a connection from 192.0.2.1: it has 2 that have shown no token"]


async def test_an_ipv6_address_counts_with_its_network() -> None:
    strangers = Strangers(1)
    connect(strangers, "2001:db8::1")
    assert not strangers.admits("2001:db8::2")
    assert strangers.admits("2001:db8:0:1::1")


async def test_who_has_ended_or_shown_a_token_counts_no_longer() -> None:
    strangers = Strangers(1)
    connection = connect(strangers)
    strangers.remove(connection)
    strangers.remove(connection)
    assert strangers.admits(PEER)
    assert strangers.count == 0


@pytest.mark.parametrize("peer", [PEER, ""])
async def test_proxies_and_unix_sockets_have_no_limit(peer: str) -> None:
    strangers = Strangers(1, is_proxy=lambda peer: True)
    connect(strangers, peer)
    connect(strangers, peer)
    assert strangers.admits(peer)


async def test_an_idle_connection_of_the_same_address_goes_for_a_new_one() -> None:
    strangers = Strangers(2)
    elsewhere = connect(strangers, "192.0.2.2", age_s=60)
    old, older = connect(strangers, age_s=5), connect(strangers, age_s=9)

    assert strangers.admits(PEER)

    assert older.ended
    assert not old.ended
    assert not elsewhere.ended
    assert strangers.evicted == 1
    assert strangers.refused == 0


# --- in all


async def test_without_files_there_is_room_once_an_idle_connection_has_ended(mock_clock: MockClock) -> None:
    strangers = Strangers(max_files=2)
    assert strangers.has_room()
    first, second = connect(strangers), connect(strangers, "192.0.2.2")
    assert not strangers.has_room()

    mock_clock.jump(WELCOME_S)
    second.progressed_at = trio.current_time()

    assert strangers.has_room()
    assert first.ended
    assert not second.ended
    assert strangers.count == 1


async def test_who_waits_for_the_hub_does_not_go() -> None:
    strangers = Strangers()
    busy, idle = connect(strangers, age_s=60, busy=True), connect(strangers, age_s=5)
    assert strangers.make_room()
    assert idle.ended
    assert not busy.ended


async def test_many_go_at_once_the_longest_idle_first(caplog: pytest.LogCaptureFixture) -> None:
    strangers = Strangers()
    crowd = [connect(strangers, age_s=10 + number) for number in range(160)]
    assert strangers.make_room()
    assert [one for one in crowd if one.ended] == crowd[149:]
    assert caplog.messages == ["ended idle connections that have shown no token, to make room for others: 11"]


async def test_a_search_in_vain_is_not_repeated_at_once(mock_clock: MockClock) -> None:
    strangers = Strangers()
    connection = connect(strangers, age_s=WELCOME_S - 0.05)
    assert not strangers.make_room()
    mock_clock.jump(0.06)
    assert not strangers.make_room()
    mock_clock.jump(0.06)
    assert strangers.make_room()
    assert connection.ended


# --- memory


async def test_without_memory_there_is_room_once_an_idle_connection_has_ended() -> None:
    strangers = Strangers(max_bytes=100)
    connect(strangers, size=99)
    assert strangers.has_room()
    idle = connect(strangers, size=1, age_s=5)
    assert strangers.has_room()
    assert idle.ended


async def test_who_needs_more_memory_than_there_is_has_to_go() -> None:
    strangers = Strangers(max_bytes=100)
    idle = connect(strangers, size=40, age_s=5)
    grows = connect(strangers, size=40)
    strangers.resize(grows, 60)
    assert not idle.ended

    strangers.resize(grows, 61)
    assert idle.ended
    strangers.resize(grows, 100)
    assert not grows.ended
    connect(strangers, size=1)
    strangers.resize(grows, 99)
    assert not grows.ended
    strangers.resize(grows, 101)
    assert grows.ended


async def test_who_has_shown_a_token_may_grow() -> None:
    strangers = Strangers(max_bytes=100)
    connection = connect(strangers)
    strangers.remove(connection)
    strangers.resize(connection, 1000)
    assert not connection.ended
    assert strangers.has_room()


@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "resize", "remove", "admits", "room"]), st.integers(0, 9), st.integers(0, 9))
    )
)
def test_whatever_happens_the_sums_are_right(steps: list[tuple[str, int, int]]) -> None:
    async def play() -> None:
        strangers = Strangers(3, max_files=8, max_bytes=20)
        known: list[Connection] = []
        for what, number, size in steps:
            peer = f"192.0.2.{number % 3}"
            if what == "add" and strangers.admits(peer):
                known.append(connect(strangers, peer, size=size, age_s=number, busy=number % 2 == 0))
            elif what == "room":
                strangers.has_room()
            elif known and what == "resize":
                strangers.resize(known[number % len(known)], size)
            elif known and what == "remove":
                strangers.remove(known.pop(number % len(known)))
            assert all(len(some) <= 3 for some in strangers._by_address.values())
            assert strangers._bytes == sum(size for _, size in strangers._held.values())
        for one in known:
            strangers.remove(one)
        assert (strangers.count, strangers._bytes, strangers._by_address) == (0, 0, {})

    trio.run(play)


def test_a_refusal_is_a_whole_response() -> None:
    assert refusal().startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert b"\r\nRetry-After: 10\r\n" in refusal()
    assert b"\r\nConnection: close\r\n" in refusal()
