"""Unauthenticated connections: how many there may be, and which goes for another."""

from dataclasses import dataclass, field
from random import Random

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from hookbot.access.senders import Standing
from hookbot.protocol.request import Request
from hookbot.web.unauthenticated import HURRIED_S, SEARCH_PAUSE_S, WELCOME_S, UnauthenticatedConnections, refusal

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
    unauthenticated: UnauthenticatedConnections,
    peer: str = PEER,
    *,
    size: int = 1,
    age_s: float = 0,
    busy: bool = False,
) -> Connection:
    connection = Connection(age_s, busy)
    unauthenticated.add(connection, peer, size)
    return connection


# --- by address


async def test_one_address_may_have_so_many_and_others_as_many() -> None:
    noted = []
    unauthenticated = UnauthenticatedConnections(2, note=lambda request, *told: noted.append((request.client, *told)))
    for _ in range(2):
        assert unauthenticated.admits(PEER)
        connect(unauthenticated)

    assert not unauthenticated.admits(PEER)
    assert unauthenticated.admits("192.0.2.2")
    assert unauthenticated.refused == 1
    assert noted == [(PEER, "too many connections from you have shown no token", 429)]


async def test_an_ipv6_address_counts_with_its_network() -> None:
    unauthenticated = UnauthenticatedConnections(1)
    connect(unauthenticated, "2001:db8::1")
    assert not unauthenticated.admits("2001:db8::2")
    assert unauthenticated.admits("2001:db8:0:1::1")


async def test_who_has_ended_or_shown_a_token_counts_no_longer() -> None:
    unauthenticated = UnauthenticatedConnections(1)
    connection = connect(unauthenticated)
    unauthenticated.remove(connection)
    unauthenticated.remove(connection)
    assert unauthenticated.admits(PEER)
    assert unauthenticated.count == 0


@pytest.mark.parametrize("peer", [PEER, ""])
async def test_proxies_and_unix_sockets_have_no_limit(peer: str) -> None:
    unauthenticated = UnauthenticatedConnections(1, is_proxy=lambda peer: True)
    connect(unauthenticated, peer)
    connect(unauthenticated, peer)
    assert unauthenticated.admits(peer)


async def test_an_idle_connection_of_the_same_address_goes_for_a_new_one() -> None:
    unauthenticated = UnauthenticatedConnections(2)
    elsewhere = connect(unauthenticated, "192.0.2.2", age_s=60)
    old, older = connect(unauthenticated, age_s=5), connect(unauthenticated, age_s=9)

    assert unauthenticated.admits(PEER)

    assert older.ended
    assert not old.ended
    assert not elsewhere.ended
    assert unauthenticated.evicted == 1
    assert unauthenticated.refused == 0


# --- in all


async def test_without_files_there_is_room_once_an_idle_connection_has_ended(mock_clock: MockClock) -> None:
    unauthenticated = UnauthenticatedConnections(max_files=2)
    assert unauthenticated.has_room()
    first, second = connect(unauthenticated), connect(unauthenticated, "192.0.2.2")
    assert not unauthenticated.has_room()

    mock_clock.jump(WELCOME_S)
    second.progressed_at = trio.current_time()

    assert unauthenticated.has_room()
    assert first.ended
    assert not second.ended
    assert unauthenticated.count == 1


async def test_who_waits_for_the_hub_does_not_go() -> None:
    unauthenticated = UnauthenticatedConnections()
    busy, idle = connect(unauthenticated, age_s=60, busy=True), connect(unauthenticated, age_s=5)
    assert unauthenticated.make_room()
    assert idle.ended
    assert not busy.ended


async def test_many_go_at_once_the_longest_idle_first(caplog: pytest.LogCaptureFixture) -> None:
    unauthenticated = UnauthenticatedConnections()
    crowd = [connect(unauthenticated, age_s=10 + number) for number in range(160)]
    assert unauthenticated.make_room()
    assert [one for one in crowd if one.ended] == crowd[149:]
    assert caplog.messages == ["ended idle connections that have shown no token, to make room for others: 11"]


async def test_a_search_in_vain_is_not_repeated_at_once(mock_clock: MockClock) -> None:
    unauthenticated = UnauthenticatedConnections()
    connection = connect(unauthenticated, age_s=HURRIED_S - SEARCH_PAUSE_S / 4)
    assert not unauthenticated.make_room()
    mock_clock.jump(SEARCH_PAUSE_S / 2)
    assert not unauthenticated.make_room()
    mock_clock.jump(SEARCH_PAUSE_S)
    assert unauthenticated.make_room()
    assert connection.ended


async def test_few_files_suffice_for_a_flood_of_connections(mock_clock: MockClock) -> None:
    unauthenticated = UnauthenticatedConnections(max_files=32)
    accepted = 0
    for _ in range(1000):
        mock_clock.jump(0.002)
        if unauthenticated.has_room():
            connect(unauthenticated)
            accepted += 1

    assert accepted > 900


@pytest.mark.parametrize("proxy", [False, True])
async def test_a_flood_from_one_address_displaces_no_other(proxy: bool, mock_clock: MockClock) -> None:
    unauthenticated = UnauthenticatedConnections(max_files=32, is_proxy=lambda peer: proxy and peer == "192.0.2.3")
    slow = [connect(unauthenticated, "192.0.2.2"), connect(unauthenticated, "192.0.2.3")]
    for _ in range(400):
        mock_clock.jump(0.001)
        if unauthenticated.has_room():
            connect(unauthenticated)

    assert trio.current_time() - slow[0].progressed_at < WELCOME_S
    assert not any(one.ended for one in slow)


async def test_in_a_flood_from_many_addresses_a_slow_client_succeeds_at_one_of_its_attempts(
    mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hookbot.web.unauthenticated.sample", Random(1).sample)
    unauthenticated = UnauthenticatedConnections(max_files=128)
    ended = []
    for attempt in range(20):
        slow = connect(unauthenticated, "192.0.2.2")
        for number in range(150):
            mock_clock.jump(0.001)
            if unauthenticated.has_room():
                connect(unauthenticated, f"198.51.{attempt}.{number}")
        ended.append(bool(slow.ended))
        unauthenticated.remove(slow)

    assert not all(ended)


async def test_who_had_the_time_to_show_a_token_goes_before_the_others_of_a_crowded_address() -> None:
    unauthenticated = UnauthenticatedConnections()
    crowd = [connect(unauthenticated, age_s=WELCOME_S / 2) for _ in range(5)]
    idle = connect(unauthenticated, "192.0.2.2", age_s=WELCOME_S)
    assert unauthenticated.make_room()
    assert idle.ended
    assert not any(one.ended for one in crowd)


# --- memory


async def test_without_memory_there_is_room_once_an_idle_connection_has_ended() -> None:
    unauthenticated = UnauthenticatedConnections(max_bytes=100)
    connect(unauthenticated, size=99)
    assert unauthenticated.has_room()
    idle = connect(unauthenticated, size=1, age_s=5)
    assert unauthenticated.has_room()
    assert idle.ended


async def test_who_needs_more_memory_than_there_is_has_to_go() -> None:
    unauthenticated = UnauthenticatedConnections(max_bytes=100)
    idle = connect(unauthenticated, size=40, age_s=5)
    grows = connect(unauthenticated, size=40)
    unauthenticated.resize(grows, 60)
    assert not idle.ended

    unauthenticated.resize(grows, 61)
    assert idle.ended
    unauthenticated.resize(grows, 100)
    assert not grows.ended
    connect(unauthenticated, size=1)
    unauthenticated.resize(grows, 99)
    assert not grows.ended
    unauthenticated.resize(grows, 101)
    assert grows.ended


async def test_who_has_shown_a_token_may_grow() -> None:
    unauthenticated = UnauthenticatedConnections(max_bytes=100)
    connection = connect(unauthenticated)
    unauthenticated.remove(connection)
    unauthenticated.resize(connection, 1000)
    assert not connection.ended
    assert unauthenticated.has_room()


@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "resize", "remove", "admits", "room"]), st.integers(0, 9), st.integers(0, 9))
    )
)
def test_whatever_happens_the_sums_are_right(steps: list[tuple[str, int, int]]) -> None:
    async def play() -> None:
        unauthenticated = UnauthenticatedConnections(3, max_files=8, max_bytes=20)
        known: list[Connection] = []
        for what, number, size in steps:
            peer = f"192.0.2.{number % 3}"
            if what == "add" and unauthenticated.admits(peer):
                known.append(connect(unauthenticated, peer, size=size, age_s=number, busy=number % 2 == 0))
            elif what == "room":
                unauthenticated.has_room()
            elif known and what == "resize":
                unauthenticated.resize(known[number % len(known)], size)
            elif known and what == "remove":
                unauthenticated.remove(known.pop(number % len(known)))
            assert all(len(some) <= 3 for some in unauthenticated._by_address.values())
            assert unauthenticated._bytes == sum(held.size for held in unauthenticated._held.values())
        for one in known:
            unauthenticated.remove(one)
        assert (unauthenticated.count, unauthenticated._bytes, unauthenticated._by_address) == (0, 0, {})

    trio.run(play)


# --- turns


def standing_of(request: Request) -> Standing:
    """The standing that is the path of a request."""
    return Standing[request.raw_path.decode().removeprefix("/")]


async def test_requests_of_unknown_senders_begin_after_those_of_known_ones() -> None:
    unauthenticated = UnauthenticatedConnections(9, standing_of=standing_of)
    begun: list[str] = []

    async def begin(name: str, standing: str) -> None:
        await unauthenticated.wait_to_begin(connect(unauthenticated), Request("POST", f"/{standing}".encode(), ()))
        begun.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(begin, "first", "UNKNOWN")
        await trio.lowlevel.checkpoint()
        for standing in ("UNKNOWN", "VERIFIED"):
            nursery.start_soon(begin, standing, standing)
        await trio.lowlevel.checkpoint()
        await begin("TOKEN", "TOKEN")

    assert begun == ["TOKEN", "first", "VERIFIED", "UNKNOWN"]


async def test_who_waits_for_the_turn_of_a_request_goes_for_another_connection() -> None:
    unauthenticated = UnauthenticatedConnections(9)
    waiting = connect(unauthenticated, age_s=5, busy=True)

    async with trio.open_nursery() as nursery:
        for one in (*(connect(unauthenticated) for _ in range(5)), waiting):
            nursery.start_soon(unauthenticated.wait_to_begin, one, Request("POST", b"/", ()))
        for _ in range(2):
            await trio.lowlevel.checkpoint()
        assert unauthenticated.make_room()

    assert waiting.ended


async def test_whose_request_has_begun_does_not_go() -> None:
    unauthenticated = UnauthenticatedConnections(9)
    begun = connect(unauthenticated, age_s=5, busy=True)
    await unauthenticated.wait_to_begin(begun, Request("POST", b"/", ()))
    assert not unauthenticated.make_room()


async def test_what_is_received_from_the_first_request_on_is_handled_in_turn() -> None:
    unauthenticated = UnauthenticatedConnections(9)
    connection = connect(unauthenticated)
    with trio.testing.assert_no_checkpoints():
        await unauthenticated.wait_to_handle(connection)

    await unauthenticated.wait_to_begin(connection, Request("POST", b"/", ()))
    with trio.testing.assert_checkpoints():
        await unauthenticated.wait_to_handle(connection)


async def test_a_connection_that_is_not_counted_does_not_wait() -> None:
    unauthenticated = UnauthenticatedConnections(9)
    with trio.testing.assert_no_checkpoints():
        await unauthenticated.wait_to_begin(Connection(), Request("POST", b"/", ()))
        await unauthenticated.wait_to_handle(Connection())


def test_a_refusal_is_a_whole_response() -> None:
    assert refusal().startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert b"\r\nRetry-After: 10\r\n" in refusal()
    assert b"\r\nConnection: close\r\n" in refusal()


# --- at the shutdown


async def test_the_more_there_are_the_sooner_they_are_ended_at_the_shutdown() -> None:
    unauthenticated = UnauthenticatedConnections(max_files=4)
    first = connect(unauthenticated)
    few = unauthenticated.grace_s(first, 8)
    for _ in range(4):
        connect(unauthenticated)

    assert (few, unauthenticated.grace_s(first, 8), unauthenticated.grace_s(Connection(), 8)) == (3, 0, 8)
