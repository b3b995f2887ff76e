"""Memory for bodies: what each may take, and what is kept for others."""

from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from hookbot.access.senders import Standing
from hookbot.errors import BodyTooLarge, HookbotError, RequestTimeout, TooManyRequests, Unavailable
from hookbot.web.bodies import BodyBudget, IncomingBody
from hookbot.web.limits import ConnectionLimits

UNKNOWN, VERIFIED, TOKEN = Standing


@pytest.fixture
def bodies() -> BodyBudget:
    """A budget that is four times as large as the largest body."""
    return BodyBudget(max_body_bytes=10, max_bytes=40)


def stand(bodies: BodyBudget, standing: Standing = TOKEN, network: str = "192.0.2.1") -> IncomingBody:
    return bodies.open(None, standing, network)


async def fill(bodies: BodyBudget, standing: Standing) -> int:
    """Take all that senders of a standing get, each from a network of its own; how much that is."""
    before, number = bodies.held_bytes, 0
    with suppress(Unavailable):
        while True:
            number += 1
            stand(bodies, standing, f"{standing}.{number}").write(b"x" * 5)
    return bodies.held_bytes - before


# --- one body


async def test_a_body_is_whole_and_counts_until_it_is_closed(bodies: BodyBudget) -> None:
    body = stand(bodies)
    body.write(b"abc")
    body.write(bytearray(b"def"))
    assert body.whole() == b"abcdef"
    assert bodies.held_bytes == 6

    body.close()
    body.close()

    assert bodies.held_bytes == 0


async def test_a_body_may_be_as_large_as_is_allowed_and_no_larger(bodies: BodyBudget) -> None:
    body = stand(bodies)
    body.write(b"x" * 10)
    with pytest.raises(BodyTooLarge, match="10 bytes"):
        body.write(b"x")


async def test_a_source_may_allow_less_and_not_more(bodies: BodyBudget) -> None:
    with pytest.raises(BodyTooLarge, match="5 bytes"):
        bodies.open(5, TOKEN, "").write(b"x" * 6)
    with pytest.raises(BodyTooLarge, match="10 bytes"):
        bodies.open(50, TOKEN, "").write(b"x" * 11)


async def test_a_body_that_was_refused_counts_until_it_is_closed(bodies: BodyBudget) -> None:
    with stand(bodies) as body:
        body.write(b"x" * 8)
        with pytest.raises(BodyTooLarge):
            body.write(b"x" * 8)
        assert bodies.held_bytes == 8
    assert bodies.held_bytes == 0


async def test_a_sender_that_vanishes_leaves_nothing_behind(bodies: BodyBudget) -> None:
    with suppress(ConnectionError), stand(bodies) as body:
        body.write(b"x" * 8)
        raise ConnectionError
    assert bodies.held_bytes == 0


# --- the shares


async def test_unknown_senders_together_get_half(bodies: BodyBudget) -> None:
    assert await fill(bodies, UNKNOWN) == 20
    assert bodies.refused["full"] == 1


async def test_unknown_senders_leave_room_to_the_verified_and_both_to_tokens(bodies: BodyBudget) -> None:
    await fill(bodies, UNKNOWN)
    assert await fill(bodies, VERIFIED) == 10
    assert await fill(bodies, TOKEN) == 10


async def test_tokens_may_have_everything_and_then_the_others_wait(bodies: BodyBudget) -> None:
    assert await fill(bodies, TOKEN) == 40
    assert await fill(bodies, VERIFIED) == 0
    assert await fill(bodies, UNKNOWN) == 0


async def test_one_network_gets_a_share_and_leaves_the_rest_to_others() -> None:
    bodies = BodyBudget(max_body_bytes=10, max_bytes=160)
    first = stand(bodies, UNKNOWN)
    first.write(b"x" * 10)
    second = stand(bodies, UNKNOWN)
    second.write(b"x" * 10)

    with pytest.raises(TooManyRequests):
        stand(bodies, UNKNOWN).write(b"x")

    stand(bodies, UNKNOWN, "192.0.2.2").write(b"x" * 10)
    stand(bodies, TOKEN).write(b"x" * 10)
    assert bodies.refused == {"share": 1, "full": 0, "slow": 0}
    first.close()
    stand(bodies, UNKNOWN).write(b"x")


async def test_there_is_always_room_for_one_of_the_largest_bodies() -> None:
    bodies = BodyBudget(max_body_bytes=1000, max_bytes=40)
    await fill(bodies, UNKNOWN)
    stand(bodies, VERIFIED).write(b"x" * 1000)
    stand(bodies, TOKEN).write(b"x" * 1000)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(Standing), st.sampled_from("abc"), st.integers(0, 20)),
            st.tuples(st.just(None), st.integers(0, 10), st.just(0)),
        )
    )
)
def test_whatever_happens_the_sums_are_right_and_everything_is_returned(
    steps: list[tuple[object, object, int]],
) -> None:
    async def play() -> None:
        bodies = BodyBudget(max_body_bytes=10, max_bytes=40)
        kept: list[tuple[IncomingBody, Standing]] = []
        for standing, which, size in steps:
            if isinstance(standing, Standing):
                body = stand(bodies, standing, str(which))
                kept.append((body, standing))
                with suppress(HookbotError):
                    body.write(b"x" * size)
            elif kept and isinstance(which, int):
                kept.pop(which % len(kept))[0].close()
            held = {one: sum(len(body.whole()) for body, kind in kept if kind <= one) for one in Standing}
            assert held[UNKNOWN] <= 20
            assert held[VERIFIED] <= 30
            assert held[TOKEN] == bodies.held_bytes <= 40
        for body, _ in kept:
            body.close()
        assert bodies.held_bytes == 0
        assert not bodies._held_by

    trio.run(play)


# --- time


async def slowly(*chunks: bytes, every_s: float) -> AsyncIterator[bytes]:
    for chunk in chunks:
        await trio.sleep(every_s)
        yield chunk


LIMITS = ConnectionLimits(slow_s=10, body_s=100, min_body_bytes=4)


async def test_a_body_that_goes_on_is_received(autojump_clock: MockClock) -> None:
    with BodyBudget(100, 400, LIMITS).open(None, UNKNOWN, "") as body:
        assert await body.receive(slowly(*[b"abcd"] * 10, every_s=9)) == b"abcd" * 10


@pytest.mark.parametrize(
    ("chunks", "every_s", "refused_s"),
    [
        pytest.param([b"a"] * 90, 3, 12, id="byte by byte"),
        pytest.param([b"abcd"] * 24, 9, 100, id="too long"),
        pytest.param([b""] * 90, 1, 10, id="nothing"),
    ],
)
async def test_a_body_that_takes_too_long_is_refused(
    autojump_clock: MockClock, chunks: list[bytes], every_s: float, refused_s: float
) -> None:
    bodies = BodyBudget(
        100, 400, ConnectionLimits(slow_s=10, body_s=100, min_body_bytes=20 if chunks[0] == b"a" else 4)
    )
    begun = trio.current_time()
    with bodies.open(None, UNKNOWN, "192.0.2.1") as body, pytest.raises(RequestTimeout):
        await body.receive(slowly(*chunks, every_s=every_s))
    assert trio.current_time() - begun <= refused_s
    assert bodies.refused["slow"] == 1
    assert bodies.held_bytes == 0
