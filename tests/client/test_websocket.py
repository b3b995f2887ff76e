"""Connections that break or go silent, hubs that misbehave, and refusals in the handshake."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
from wsproto.events import Pong

from hookbot.client import Connected, Disconnected, listen, websocket
from hookbot.client.address import Address
from hookbot.client.listener import endpoint_of
from hookbot.errors import Forbidden, NotFound, Refused, Unauthorized, UpgradeRequired
from support.scripted_hub import Peer, answering, on_bytes, read_head, scripted_hub, sending, taken


async def test_a_connection_cut_in_the_middle_of_a_frame_is_made_again() -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.messages(1)
        await peer.websocket._stream.send_all(b"\x81\x7e\x10\x00{")
        await peer.cut()

    async with scripted_hub(script, sending(2)) as hub, listen(hub.url) as messages:
        assert await taken(messages, 2) == [1, 2]


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
        await peer.websocket._stream.send_all(frame)
        await peer.stay()

    async with scripted_hub(script, sending(2)) as hub, listen(hub.url) as messages:
        assert await taken(messages, 2) == [1, 2]
    assert "trying again" in caplog.text


@on_bytes
async def silent(stream: trio.SocketStream) -> None:
    await read_head(stream)
    await trio.sleep_forever()


@on_bytes
async def hanging_up(stream: trio.SocketStream) -> None:
    await read_head(stream)


@on_bytes
async def talking_nonsense(stream: trio.SocketStream) -> None:
    await read_head(stream)
    await stream.send_all(b"220 mail.example ESMTP\r\n")
    await stream.receive_some()


@on_bytes
async def rude(stream: trio.SocketStream) -> None:
    stream.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SOL_SOCKET, SO_LINGER: reset


@on_bytes
async def wrong_accept(stream: trio.SocketStream) -> None:
    await read_head(stream)
    await stream.send_all(
        b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: eA==\r\n\r\n"
    )
    await stream.receive_some()


@pytest.mark.parametrize(
    "script",
    [silent, hanging_up, talking_nonsense, rude, wrong_accept]
    + [answering(status, b"not now\n", "Retry-After: 0") for status in (408, 429, 500, 502, 503)],
)
async def test_a_hub_that_does_not_answer_well_is_tried_again(
    script: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "HANDSHAKE_S", 0.3)
    events = []
    async with scripted_hub(script, script, sending(1)) as hub, listen(hub.url, on_event=events.append) as messages:
        assert await taken(messages, 1) == [1]
    assert [type(event) for event in events] == [Disconnected, Disconnected, Connected]


async def test_a_deaf_connection_is_noticed_by_its_silence(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(websocket, "SILENCE_S", 0.2)
    async with scripted_hub(sending(1), sending(2)) as hub, listen(hub.url) as messages:
        assert await taken(messages, 2) == [1, 2]
    assert "nothing received from the hub" in caplog.text


def after_pings(peer: Peer, count: int, *, answer: bool) -> trio.Event:
    """An event that is set after so many pings."""
    reached = trio.Event()
    send = peer.websocket._send
    pongs = []

    async def counted(pong: Pong) -> None:
        pongs.append(pong)
        if len(pongs) == count:
            peer.websocket._send = send
            reached.set()
        if answer:
            await send(pong)

    peer.websocket._send = counted
    return reached


async def test_a_hub_that_answers_pings_is_not_taken_for_deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "SILENCE_S", 0.4)
    monkeypatch.setattr(websocket, "PING_S", 0.02)

    async def script(peer: Peer) -> None:
        await peer.hello()
        await after_pings(peer, 40, answer=True).wait()
        await peer.messages(1)
        await peer.stay()

    async with scripted_hub(script) as hub, listen(hub.url) as messages:
        assert await taken(messages, 1) == [1]
    assert len(hub.peers) == 1


async def test_pings_go_out_while_the_listener_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "PING_S", 0.02)
    pinged = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.messages(1, 2, 3, 4, 5, 6)
        await after_pings(peer, 5, answer=False).wait()
        pinged.set()
        await peer.stay()

    async with scripted_hub(script) as hub, listen(hub.url) as messages:
        await anext(messages)
        await pinged.wait()  # nobody takes the next message meanwhile
        assert await taken(messages, 5) == [2, 3, 4, 5, 6]


# -- being refused


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, Refused), (401, Unauthorized), (403, Forbidden), (404, NotFound), (426, UpgradeRequired), (418, Refused)],
)
async def test_a_refusal_is_raised_at_once_as_the_error_that_the_hub_raised(
    status: int, error: type[Exception]
) -> None:
    async with scripted_hub(answering(status, b"because of this\n")) as hub:
        with pytest.raises(error, match="because of this") as caught:
            async with listen(hub.url):
                pass
    assert type(caught.value) is error
    assert len(hub.peers) == 1


async def test_a_refusal_without_a_length_is_understood_as_well() -> None:
    @on_bytes
    async def script(stream: trio.SocketStream) -> None:
        await read_head(stream)
        await stream.send_all(b"HTTP/1.0 401 Unauthorized\r\n\r\nno")

    async with scripted_hub(script) as hub:
        with pytest.raises(Unauthorized):
            async with listen(hub.url):
                pass


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
        websocket.open_connection(endpoint_of(Address.parse(hub.url)), {}) as connection,
    ):
        await connection.receive()
        with pytest.raises(Refused, match="the cursor c was deleted"):
            await connection.receive()
        with pytest.raises(Refused, match="the cursor c was deleted"):
            await connection.send("an acknowledgement")
