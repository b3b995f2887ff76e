"""Connections that break or go silent, hubs that misbehave, and refusals in the handshake."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from socket import SO_LINGER, SOL_SOCKET
from struct import pack

import pytest
import trio

from hookbot.client import Connected, Disconnected, Event, frame_meter
from hookbot.client.address import Address
from hookbot.client.listener import endpoint_of
from hookbot.client.websocket import Endpoint, _NoResponse, _WatchedStream, open_connection
from hookbot.errors import BodyTooLarge, Forbidden, Lost, NotFound, Refused, Unauthorized, UpgradeRequired
from hookbot.protocol.websocket import TEXT, frame_header
from support.scripted_hub import (
    AT_ONCE,
    Peer,
    Script,
    answering,
    listen,
    on_bytes,
    read_head,
    scripted_hub,
    sending,
    taken,
)


async def test_a_connection_cut_in_the_middle_of_a_frame_is_made_again() -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.messages(1)
        await peer.send_raw(b"\x81\x7e\x10\x00{")
        await peer.cut()

    async with scripted_hub(script, sending(2)) as hub, listen(hub.url) as messages:
        assert await taken(messages, 2) == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize(
    "frame",
    [
        b"\x81\x03{]}",  # no JSON
        b"\x81\x02[]",  # no object
        b'\x81\x12{"type":"message"}',  # no envelope
        b"\x82\x02{}",  # not text
        b"\x81\x02\xff\xff",  # not UTF-8
        b"\xff\xff\xff\xff",  # no websocket frame
    ],
)
async def test_garbage_makes_it_connect_again(frame: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.messages(1)
        await peer.send_raw(frame)
        await peer.stay()

    async with scripted_hub(script, sending(2)) as hub, listen(hub.url) as messages:
        assert await taken(messages, 2) == [1, 2]
    assert "trying again" in caplog.text


@on_bytes
async def silent(stream: trio.abc.Stream) -> None:
    await read_head(stream)
    await trio.sleep_forever()


@on_bytes
async def hanging_up(stream: trio.abc.Stream) -> None:
    await read_head(stream)


@on_bytes
async def talking_nonsense(stream: trio.abc.Stream) -> None:
    await read_head(stream)
    await stream.send_all(b"220 mail.example ESMTP\r\n")
    await stream.receive_some()


@on_bytes
async def rude(stream: trio.abc.Stream) -> None:
    assert isinstance(stream, trio.SocketStream)
    stream.setsockopt(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))


@on_bytes
async def wrong_accept(stream: trio.abc.Stream) -> None:
    await read_head(stream)
    await stream.send_all(
        b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: eA==\r\n\r\n"
    )
    await stream.receive_some()


@pytest.mark.slow
@pytest.mark.parametrize(
    "script",
    [silent, hanging_up, talking_nonsense, rude, wrong_accept]
    + [answering(status, b"not now\n", "Retry-After: 0") for status in (408, 429, 500, 502, 503)],
)
async def test_a_hub_that_does_not_answer_well_is_tried_again(script: Script) -> None:
    timing = replace(AT_ONCE, handshake_s=0.3)
    events: list[Event] = []
    # An answer that is not HTTP is followed by another connection, which finds out whether the hub speaks TLS.
    async with (
        scripted_hub(*[script] * 4, sending(1)) as hub,
        listen(hub.url, timing=timing, on_event=events.append) as messages,
    ):
        assert await taken(messages, 1) == [1]
    # On a busy machine, the hub that answers may be too late as well.
    *lost, last = (type(event) for event in events)
    assert lost[:2] == [Disconnected, Disconnected]
    assert last is Connected


@pytest.mark.slow
async def test_a_deaf_connection_is_noticed_by_its_silence(caplog: pytest.LogCaptureFixture) -> None:
    timing = replace(AT_ONCE, silence_s=1.0)
    async with scripted_hub(sending(1), sending(2)) as hub, listen(hub.url, timing=timing) as messages:
        assert await taken(messages, 2) == [1, 2]
    assert "nothing received from the hub" in caplog.text


@pytest.mark.slow
async def test_a_hub_that_answers_pings_is_not_taken_for_deaf() -> None:
    timing = replace(AT_ONCE, silence_s=1.0, ping_s=0.02)

    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.pinged(75, answering=True)
        await peer.messages(1)
        await peer.stay()

    async with scripted_hub(script) as hub, listen(hub.url, timing=timing) as messages:
        assert await taken(messages, 1) == [1]
    assert hub.connections == 1


async def test_pings_go_out_while_the_listener_is_busy() -> None:
    timing = replace(AT_ONCE, ping_s=0.02)
    pinged = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.messages(1, 2, 3, 4, 5, 6)
        await peer.pinged(5, answering=False)
        pinged.set()
        await peer.stay()

    async with scripted_hub(script) as hub, listen(hub.url, timing=timing) as messages:
        await anext(messages)
        await pinged.wait()  # nobody takes the next message meanwhile
        assert await taken(messages, 5) == [2, 3, 4, 5, 6]


# -- being refused


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, Refused), (401, Unauthorized), (403, Forbidden), (404, NotFound), (418, Refused)],
)
async def test_a_refusal_is_raised_at_once_as_the_error_that_the_hub_raised(
    status: int, error: type[Exception]
) -> None:
    async with scripted_hub(answering(status, b"because of this\n")) as hub:
        with pytest.raises(error, match="because of this") as caught:
            async with listen(hub.url):
                pass
    assert type(caught.value) is error
    assert hub.connections == 1


@on_bytes
async def streaming(stream: trio.abc.Stream) -> None:
    """The answer of a hub behind a proxy that drops the header Upgrade."""
    await read_head(stream)
    await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n")
    await trio.sleep_forever()


@pytest.mark.parametrize("script", [answering(426, b"subscribe with a websocket\n"), answering(200, b"<p>"), streaming])
async def test_a_proxy_that_does_not_forward_an_upgrade_is_blamed_at_once(script: Script) -> None:
    async with scripted_hub(script) as hub:
        with pytest.raises(UpgradeRequired, match=r"^(200|426) in answer to .* a proxy on the way .*nginx"):
            async with listen(hub.url):
                pass
    assert hub.connections == 1


async def test_of_a_refusal_without_end_the_status_decides(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    await far.send_all(b"HTTP/1.1 401 No\r\nContent-Length: 9\r\n\r\n")
    stream = _WatchedStream(near, silence_s=60, max_frame_bytes=1000)

    await stream.receive_some()
    with pytest.raises(Unauthorized):
        await stream.receive_some()


@pytest.mark.parametrize(
    ("code", "reason", "says"),
    [
        (1001, "bye", "the hub is shutting down (bye)"),
        (1002, None, "this client violates"),
        (1007, "no text", "the hub does not accept what this client sends (no text)"),
        (1009, "more than 64 KiB", "as much as this client sends at once (more than 64 KiB)"),
        (3000, "a\x1b[2Jb", "the hub, or a proxy, closed the connection with code 3000 (a\\x1b[2Jb)"),
        (4999, None, "the hub, or a proxy, closed the connection with code 4999"),
    ],
)
async def test_the_reason_for_a_closed_connection_blames_the_right_side(
    code: int, reason: str | None, says: str
) -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.close(code, reason)

    async with scripted_hub(script) as hub:
        endpoint = endpoint_of(Address.parse(hub.url))
        async with open_connection(endpoint, {}) as connection:
            await connection.receive()
            with pytest.raises(Lost) as caught:
                await connection.receive()
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"\x83\x00",  # an opcode that nothing has
        b"\xa1\x00",  # a reserved bit
        b"\x81\x81\x00\x00\x00\x00a",  # masked
        b"\x80\x00",  # a continuation of nothing
        b"\x81\x01\xff",  # a text that is not UTF-8
        b"\x88\x02\x03\xe7",  # close code 999
        b"\x88\x02\x03\xee",  # close code 1006
        b"\x88\x01\x03",  # half a close code
        b"\x88\x03\x03\xe8\xff",  # a reason that is not UTF-8
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
)
@pytest.mark.parametrize("then", [Peer.stay, Peer.cut])
async def test_who_sends_what_is_no_frame_is_blamed_for_it(
    data: bytes, then: Callable[[Peer], Awaitable[None]]
) -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.send_raw(data)
        await then(peer)

    async with (
        scripted_hub(script) as hub,
        open_connection(endpoint_of(Address.parse(hub.url)), {}) as connection,
    ):
        await connection.receive()
        for _ in range(2):
            with pytest.raises(Lost, match=r"^the hub, or a proxy, violates the websocket protocol .+"):
                await connection.receive()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            b"HTTP/1.0 401 Unauthorized\r\n\r\n401 Unauthorized: the token expired",
            "^401 Unauthorized: the token expired$",
        ),
        (b"HTTP/1.0 403 Forbidden\r\nConnection: close\r\n\r\n<html>", "^403 Forbidden .from a proxy on the way"),
        (b"HTTP/1.0 302 Found\r\nLocation: https://elsewhere.example/?a\r\n\r\n", "use https://elsewhere.example/$"),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno more", "^403 no"),
        (b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nnothing", "^403 Forbidden$"),
        (b"HTTP/1.1 403 Forbidden\r\nX: \0\r\n\r\nno", "^403 no$"),
        (b"HTTP/1.1 302 Found\r\nLocation: https://elsewh", "^302 Found: use another address$"),
    ],
)
async def test_a_refusal_that_is_not_framed_as_it_should_be_is_understood_as_well(answer: bytes, said: str) -> None:
    @on_bytes
    async def script(stream: trio.abc.Stream) -> None:
        await read_head(stream)
        await stream.send_all(answer)

    async with scripted_hub(script) as hub:
        with pytest.raises(Refused, match=said):
            async with listen(hub.url):
                pass
    assert hub.connections == 1


async def test_a_redirection_is_not_followed_since_the_token_is_not_for_others() -> None:
    script = answering(301, b"", "Location: https://elsewhere.example/sub/t?token=secret")
    async with scripted_hub(script) as hub:
        with pytest.raises(Refused, match=r"https://elsewhere\.example/sub/t$"):
            async with listen(hub.url):
                pass


async def test_who_still_sends_to_a_hub_that_has_closed_for_good_hears_why() -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.close(4001, "the cursor c was deleted")

    async with (
        scripted_hub(script) as hub,
        open_connection(endpoint_of(Address.parse(hub.url)), {}) as connection,
    ):
        await connection.receive()
        with pytest.raises(Refused, match="the cursor c was deleted"):
            await connection.receive()
        with pytest.raises(Refused, match="the cursor c was deleted"):
            await connection.send("an acknowledgement")


async def everything_from(endpoint: Endpoint) -> None:
    async with open_connection(endpoint, {}) as connection:
        while await connection.receive() is not None:
            pass


async def test_a_message_over_the_limit_is_named_as_such() -> None:
    async with scripted_hub(sending(1, body=b"x" * (1 << 20))) as hub:
        endpoint = endpoint_of(Address.parse(hub.url), max_body_bytes=0)
        with pytest.raises(BodyTooLarge, match="raise max_body_bytes"):
            await everything_from(endpoint)


async def test_a_message_in_endless_fragments_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_meter, "MAX_PIECES", 1000)

    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.send_raw(b"\x01\x01{" + b"\x00\x00" * 2000)
        await peer.stay()

    async with scripted_hub(script) as hub:
        with pytest.raises(Lost, match="too many pieces"):
            await everything_from(endpoint_of(Address.parse(hub.url)))


async def test_frames_that_come_with_the_handshake_are_metered() -> None:
    near, far = trio.testing.memory_stream_pair()
    await far.send_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + frame_header(TEXT, 1001))

    with pytest.raises(BodyTooLarge):
        await _WatchedStream(near, silence_s=1, max_frame_bytes=1000).receive_some()


async def test_a_hub_that_takes_nothing_is_lost_though_it_sends(autojump_clock: trio.testing.MockClock) -> None:
    near, _ = trio.testing.lockstep_stream_pair()
    stream = _WatchedStream(near, silence_s=45, max_frame_bytes=1000)
    stream.handshake_done = True

    with pytest.raises(Lost, match="has not taken what was sent to it for 45 s"):
        await stream.send_all(b"a pong")


# -- the stream beneath


class Broken(trio.abc.Stream):
    """A connection that was reset."""

    closed = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        raise trio.BrokenResourceError

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        raise trio.BrokenResourceError

    async def wait_send_all_might_not_block(self) -> None:
        raise trio.BrokenResourceError

    async def aclose(self) -> None:
        self.closed = True


async def test_a_connection_that_is_reset_before_the_handshake_is_lost_and_no_websocket() -> None:
    stream = _WatchedStream(Broken(), silence_s=1, max_frame_bytes=1000)

    with pytest.raises(_NoResponse):
        await stream.receive_some()
    with pytest.raises(_NoResponse):
        await stream.send_all(b"GET")


async def test_a_connection_that_is_reset_after_the_handshake_is_left_to_trio_websocket() -> None:
    stream = _WatchedStream(Broken(), silence_s=1, max_frame_bytes=1000)
    stream.handshake_done = True

    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all(b"frame")
    with pytest.raises(trio.BrokenResourceError):
        await stream.wait_send_all_might_not_block()


async def test_a_connection_that_is_closed_before_the_handshake_is_lost_and_closed_all_the_same() -> None:
    reset = Broken()

    with pytest.raises(_NoResponse):
        await _WatchedStream(reset, silence_s=1, max_frame_bytes=1000).aclose()

    assert reset.closed


async def test_a_response_without_end_is_given_up() -> None:
    near, far = trio.testing.memory_stream_pair()
    await far.send_all(b"x" * ((1 << 20) + 1))

    with pytest.raises(_NoResponse):
        await _WatchedStream(near, silence_s=1, max_frame_bytes=1000).receive_some()
