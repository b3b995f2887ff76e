"""The state that connections share, and one exchange of a request and its response."""

import pytest

from hookbot.access.admitted import AdmittedPublish
from hookbot.access.senders import Standing
from hookbot.errors import BodyTooLarge
from hookbot.protocol.http1 import Head
from hookbot.protocol.paths import find_route
from hookbot.protocol.publish import PublishRequest
from hookbot.web.bodies import BodyBudget
from hookbot.web.fastpath.context import Exchange
from support.clients import chunks, post
from support.fast_path import CHUNKED, PATH, open_fast_path


@pytest.fixture
def bodies() -> BodyBudget:
    return BodyBudget(max_body_bytes=10, max_bytes=20)


def begun(head: bytes, bodies: BodyBudget) -> Exchange:
    """The exchange of a publish that was admitted."""
    exchange = Exchange(Head(head))
    request = exchange.head.request
    exchange.admitted = AdmittedPublish(PublishRequest.read(request, find_route("POST", request.raw_path).topic))
    exchange.body = bodies.open(None, Standing.TOKEN, "")
    return exchange


@pytest.mark.parametrize(
    ("head", "body"),
    [
        pytest.param(post(PATH, None, "Content-Length: 5"), b"hello", id="counted"),
        pytest.param(post(PATH, None, CHUNKED), chunks(b"he", b"llo"), id="chunked"),
    ],
)
async def test_a_body_is_taken_up_to_its_end_and_no_further(head: bytes, body: bytes, bodies: BodyBudget) -> None:
    exchange = begun(head, bodies)
    buffer = bytearray(body[:3])
    assert not exchange.take(buffer)

    buffer += body[3:] + b"POST"

    assert exchange.take(buffer)
    assert buffer == b"POST"
    assert exchange.body
    assert exchange.body.whole() == b"hello"


async def test_the_rest_of_a_refused_body_is_discarded(bodies: BodyBudget) -> None:
    exchange = begun(post(PATH, None, CHUNKED), bodies)
    buffer = bytearray(chunks(b"x" * 11))
    with pytest.raises(BodyTooLarge):
        exchange.take(buffer)

    assert exchange.skip(buffer)
    assert buffer == b""


async def test_a_refused_body_that_is_malformed_has_no_end(bodies: BodyBudget) -> None:
    exchange = begun(post(PATH, None, CHUNKED), bodies)

    assert not exchange.skip(bytearray(b"not a chunk\r\n"))


async def test_an_exchange_that_ends_early_gives_its_memory_back(bodies: BodyBudget) -> None:
    exchange = begun(post(PATH, None, "Content-Length: 5"), bodies)
    exchange.take(bytearray(b"hel"))
    assert bodies.held_bytes == 3

    exchange.close()

    assert bodies.held_bytes == 0


def test_an_exchange_whose_request_was_refused_has_no_body_to_close() -> None:
    exchange = Exchange(Head(post(PATH, None, "Content-Length: 5")))

    exchange.close()

    assert not exchange.take(bytearray(b"hello"))


async def test_the_context_tells_when_the_last_connection_has_left() -> None:
    async with open_fast_path() as hub:
        context = hub.fast_path._context
        clients = [await hub.connect() for _ in range(2)]
        for client in clients:
            await client.send(post(PATH))
            await client.answer()
        first, second = hub.connections

        first.end("test")
        assert not context.empty.is_set()
        second.end("test")

        assert context.empty.is_set()
