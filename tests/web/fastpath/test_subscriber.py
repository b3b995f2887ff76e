"""Subscribers: frames from clients, closing handshakes, and silent clients."""

import logging
import os
import sys
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from websockets.frames import Close, Frame, Opcode

from hookbot.access.active_subscriptions import GRANT_ENDED
from hookbot.protocol.websocket import BINARY, PONG, frame
from hookbot.web.fastpath.epoll import READ
from hookbot.web.fastpath.subscriber import RECEIVE_BYTES
from hookbot.web.limits import NOISE, TOO_NOISY
from support import GUARD_S
from support.clients import fragmented, handshake, masked
from support.fast_path import BIG, SMALL, open_fast_path, settled

pytestmark = pytest.mark.usefixtures("plain_and_encrypted")

# --- what clients say


async def test_a_ping_is_answered_with_its_payload() -> None:
    async with open_fast_path() as hub:
        listener = await hub.listen()
        await listener.client.send(masked(Opcode.PING, b"are you there?") + masked(Opcode.PING, b"?"))

        assert await listener.client.exactly(16 + 3) == b"\x8a\x0eare you there?" + b"\x8a\x01?"


async def test_more_pings_than_are_received_at_once_are_all_answered() -> None:
    async with open_fast_path() as hub:
        client = await hub.subscribe()
        await client.send(masked(Opcode.PING) * 200)

        assert await client.exactly(400) == b"\x8a\0" * 200


async def test_who_only_answers_pings_costs_no_parser() -> None:
    async with open_fast_path() as hub:
        listener = await hub.listen()
        for _ in range(3):
            await listener.client.send(masked(Opcode.PING, b"?"))
            await listener.client.exactly(3)

        assert hub.subscriber._parser is None


async def test_a_ping_in_the_middle_of_a_large_message_is_answered_behind_it() -> None:
    async with open_fast_path(send_buffer=SMALL) as hub:
        listener = await hub.listen(receive_buffer=SMALL)
        await hub.publish("topic", bytes(BIG))
        await settled(lambda: hub.subscriber.stalled)
        received = hub.subscriber.received_at
        await listener.client.send(masked(Opcode.PING, b"one") + masked(Opcode.PING, b"two"))
        await settled(lambda: hub.subscriber.received_at > received)
        await hub.publish("topic", b"next")

        assert await listener.client.exactly(BIG + 10) == frame(BINARY, bytes(BIG))
        assert await listener.client.exactly(5 + 6) == b"\x8a\x03two" + b"\x82\x04next"


async def test_what_clients_send_is_read_and_forgotten_however_it_is_cut() -> None:
    said = masked(Opcode.TEXT, "grüße".encode()) + masked(Opcode.BINARY, bytes(60_000)) * 2
    said += masked(Opcode.TEXT, b"a", fin=False) + masked(Opcode.PING, b"!") + masked(Opcode.CONT, b"b")
    async with open_fast_path() as hub:
        listener = await hub.listen()
        await listener.client.send(said)
        assert await listener.client.exactly(3) == b"\x8a\x01!"
        await listener.client.send(masked(Opcode.PING, b"12") + masked(Opcode.PONG), bytewise=True)
        assert await listener.client.exactly(4) == b"\x8a\x0212"

        await hub.publish()

        assert await listener.payload() == b"hello"


@pytest.mark.parametrize("path", ["/sub/topic", "/sub/topic?since=all"])
async def test_frames_behind_the_handshake_are_heard(path: str) -> None:
    async with open_fast_path() as hub:
        client = await hub.connect()
        await client.send(handshake(path) + masked(Opcode.PING, b"early"))

        await client.until(b"\r\n\r\n")
        assert await client.exactly(7) == b"\x8a\x05early"


# --- close frames


@pytest.mark.parametrize("close", [Close(1000, ""), Close(1001, "bye"), Close(4000, "mine"), None])
async def test_a_close_frame_is_answered_in_kind_and_the_hub_closes(close: Close | None) -> None:
    async with open_fast_path() as hub:
        listener = await hub.listen()
        await listener.client.send(masked(Opcode.CLOSE, close.serialize() if close else b""))

        answer = await listener.client.rest()

        assert answer == b"\x88" + bytes([len(close.serialize())]) + close.serialize() if close else b"\x88\0"
        await listener.client.stream.aclose()
        await settled(lambda: not len(hub.fanout))


async def test_a_close_frame_in_the_middle_of_a_large_message_is_answered_behind_it() -> None:
    async with open_fast_path(send_buffer=SMALL) as hub:
        listener = await hub.listen(receive_buffer=SMALL)
        await hub.publish("topic", bytes(BIG))
        await settled(lambda: hub.subscriber.stalled)
        await listener.client.send(masked(Opcode.CLOSE, Close(1000, "").serialize()))
        await settled(lambda: hub.subscriber.closing_since is not None)
        await hub.publish("topic", b"too late")

        assert await listener.client.rest() == frame(BINARY, bytes(BIG)) + b"\x88\x02\x03\xe8"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        pytest.param(masked(Opcode.BINARY, bytes(65_537)), 1009, id="too big"),
        pytest.param(masked(Opcode.TEXT, "€".encode() * 22_000), 1009, id="too big in bytes"),
        pytest.param(
            masked(Opcode.TEXT, bytes(40_000), fin=False) + masked(Opcode.CONT, bytes(40_000)), 1009, id="parts"
        ),
        pytest.param(masked(Opcode.BINARY, bytes(9_000_000)), 1009, id="much too big"),
        pytest.param(masked(Opcode.TEXT, b"\xff"), 1007, id="not UTF-8"),
        pytest.param(Frame(Opcode.TEXT, b"a").serialize(mask=False), 1002, id="not masked"),
        pytest.param(b"\x83\x80\0\0\0\0", 1002, id="reserved opcode"),
        pytest.param(b"\xc1\x80\0\0\0\0", 1002, id="reserved bit"),
        pytest.param(masked(Opcode.CONT, b"a"), 1002, id="continues nothing"),
        pytest.param(masked(Opcode.TEXT, b"a", fin=False) + masked(Opcode.TEXT, b"a"), 1002, id="not continued"),
        pytest.param(b"\x89\xfe\0\x7e\0\0\0\0" + bytes(126), 1002, id="long ping"),
        pytest.param(b"\x09\x80\0\0\0\0", 1002, id="fragmented ping"),
        pytest.param(b"\x88\x81\0\0\0\0a", 1002, id="half a code"),
        pytest.param(masked(Opcode.CLOSE, b"\x03\xed"), 1002, id="code that is never sent"),
        pytest.param(masked(Opcode.CLOSE, b"\x03\xe8\xff"), 1007, id="reason that is not UTF-8"),
    ],
)
async def test_a_client_that_breaks_the_rules_is_told_and_the_connection_really_ends(said: bytes, code: int) -> None:
    # However long it takes the client to send the rest.
    async with open_fast_path(linger_s=GUARD_S) as hub:
        listener = await hub.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.client.send, said)
            answer = await listener.client.rest()
        await listener.client.stream.aclose()
        await settled(lambda: not len(hub.fanout))

        assert answer[0] == 0x88
        assert Close.parse(answer[2:]).code == code


TOO_MANY = 2 * NOISE.count
NOISY = {
    "empty fragments": masked(Opcode.BINARY, fin=False) + masked(Opcode.CONT, fin=False) * TOO_MANY,
    "pings": masked(Opcode.PING) * TOO_MANY,
    "pongs": masked(Opcode.PONG, b"a") * TOO_MANY,
    "messages": masked(Opcode.TEXT, b"a") * TOO_MANY,
    "empty messages": masked(Opcode.BINARY) * TOO_MANY,
}


@pytest.mark.parametrize("said", NOISY.values(), ids=NOISY)
async def test_a_client_that_sends_many_frames_that_say_nothing_is_told_1008(
    said: bytes, caplog: pytest.LogCaptureFixture, mock_clock: MockClock
) -> None:
    async with open_fast_path() as hub:
        listener = await hub.listen()
        await listener.client.send(said)

        assert await listener.closed() == 1008
    assert caplog.messages == [f"a subscriber is closed with 1008: {TOO_NOISY}"]


async def test_pings_may_go_on_for_ever_at_a_bearable_rate(mock_clock: MockClock) -> None:
    async with open_fast_path() as hub:
        listener = await hub.listen()
        await listener.client.send(masked(Opcode.PING) * NOISE.count)
        for _ in range(20):
            assert await listener.client.exactly(2) == frame(PONG, b"")
            await wait_all_tasks_blocked()
            mock_clock.jump(1)
            await listener.client.send(masked(Opcode.PING) * int(NOISE.count / NOISE.period_s))
        await hub.publish()

        assert await listener.payload() == b"hello"


async def test_a_message_may_come_in_a_thousand_fragments() -> None:
    async with open_fast_path() as hub:
        listener = await hub.listen()
        await listener.client.send(fragmented(bytes(64 << 10), 64) + masked(Opcode.PING, b"heard"))

        assert await listener.client.exactly(7) == frame(PONG, b"heard")


async def test_a_noisy_client_gets_a_short_turn() -> None:
    async with open_fast_path() as hub:
        listener = await hub.listen()
        fd = listener.client.transport.socket.fileno()
        os.write(fd, masked(Opcode.PING) * 1000)
        hub.subscriber.ready(READ)

        assert len(os.read(fd, 10_000)) <= len(frame(PONG, b"")) * RECEIVE_BYTES / len(masked(Opcode.PING))


async def test_a_client_that_goes_on_after_the_close_frame_is_cut_off() -> None:
    async with open_fast_path(close_s=0.05) as hub:
        listener = await hub.listen()
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012 - until the hub has had enough
            while True:
                await listener.client.send(masked(Opcode.BINARY, bytes(70_000)))
        assert len(hub.fanout) == 0


async def test_a_subscriber_that_vanishes_is_gone() -> None:
    async with open_fast_path() as hub:
        listeners = [await hub.listen() for _ in range(10)]
        for listener in listeners[1:]:
            await listener.client.reset()
        await hub.publish()

        assert await listeners[0].payload() == b"hello"
        await settled(lambda: len(hub.fanout) == 1)
        assert len(hub.active) == 1


async def test_whose_grant_ends_is_told_1008() -> None:
    async with open_fast_path() as hub:
        listener = await hub.listen()
        hub.subscriber.dismiss(GRANT_ENDED)

        assert await listener.closed() == 1008


# --- silence


async def test_a_slow_subscriber_that_takes_a_little_now_and_then_stays(mock_clock: MockClock) -> None:
    async with open_fast_path(send_buffer=SMALL, stall_s=5, deaf_s=5) as hub:
        listener = await hub.listen(receive_buffer=SMALL)
        listener.pongs = False
        await hub.publish("topic", bytes(BIG))
        subscriber = hub.subscriber

        for _ in range(15):
            mock_clock.jump(1)
            await wait_all_tasks_blocked()
            await listener.client.exactly(4000)
        assert subscriber.open


async def test_who_has_taken_everything_at_last_has_time_to_answer_a_ping(mock_clock: MockClock) -> None:
    async with open_fast_path(deaf_s=10) as hub:
        await hub.listen()
        subscriber = hub.subscriber

        mock_clock.jump(20)
        assert subscriber.overdue(trio.current_time())
        subscriber.taken()  # as after a long stall

        assert subscriber.overdue(trio.current_time()) is None


async def test_a_subscriber_that_was_busy_taking_has_time_to_answer_a_ping(mock_clock: MockClock) -> None:
    async with open_fast_path(send_buffer=SMALL, ping_s=0.5, deaf_s=5) as hub:
        listener = await hub.listen(receive_buffer=SMALL)
        await hub.publish("topic", bytes(BIG))
        subscriber = hub.subscriber
        for _ in range(16):
            mock_clock.jump(0.5)
            await wait_all_tasks_blocked()
            await listener.client.exactly(4000)
        assert trio.current_time() - subscriber.received_at > 5

        await listener.client.exactly(BIG + 10 - 16 * 4000)
        mock_clock.jump(1)
        await listener.client.until(b"\x89\0")
        received_at = subscriber.received_at
        await listener.client.send(masked(Opcode.PONG))
        await settled(lambda: subscriber.received_at > received_at)

        assert subscriber.open


async def test_a_subscriber_that_takes_nothing_is_cut_off_after_a_while(
    caplog: pytest.LogCaptureFixture, mock_clock: MockClock
) -> None:
    caplog.set_level(logging.INFO)
    async with open_fast_path(send_buffer=SMALL, stall_s=10) as hub:
        lazy = await hub.listen(receive_buffer=SMALL)
        eager = await hub.listen()
        for _ in range(10):
            await hub.publish("topic", bytes(BIG))
        await eager.payloads(10)
        assert len(hub.fanout) == 2

        mock_clock.jump(11)
        await settled(lambda: len(hub.fanout) == 1)

        with suppress(trio.BrokenResourceError):
            assert len(await lazy.client.rest()) < 10 * BIG
        assert "took nothing for" in caplog.text


async def test_a_peer_of_whom_nothing_comes_is_dropped_and_one_that_answers_pings_stays(mock_clock: MockClock) -> None:
    async with open_fast_path(ping_s=3, deaf_s=9) as hub, trio.open_nursery() as nursery:
        alive, dead = await hub.listen(), await hub.listen()
        nursery.start_soon(alive.payload)

        for _ in range(10):
            mock_clock.jump(1)
            await wait_all_tasks_blocked()

        assert await dead.client.rest() == b"\x89\0\x89\0"
        assert len(hub.fanout) == 1
        await hub.publish()


async def test_a_subscriber_that_reads_the_log_is_sent_nothing_else() -> None:
    async with open_fast_path() as hub:
        await hub.listen()
        subscriber = hub.subscriber
        subscriber.catching_up = True
        subscriber.update_busy()
        assert subscriber.busy

        subscriber.catching_up = False
        subscriber.update_busy()
        assert not subscriber.busy


# --- failures


async def test_a_bug_that_a_client_finds_closes_only_its_websocket(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        """A parser with a bug."""

        def receive_data(self, data: bytes) -> None:
            raise RuntimeError("a bug")

    async with open_fast_path() as hub:
        listener = await hub.listen()
        hub.subscriber._parser = Broken()  # type: ignore[assignment]
        await listener.client.send(masked(Opcode.TEXT, b"hello"))

        assert await listener.closed() == 1011
        assert "RuntimeError: a bug" in caplog.text
        caplog.clear()


async def test_a_parser_that_cannot_be_imported_closes_only_the_websocket_that_needs_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # As importlib does if it has been imported and failed.
    monkeypatch.setitem(sys.modules, "wsproto.connection", None)
    async with open_fast_path() as hub:
        listener = await hub.listen()
        await listener.client.send(masked(Opcode.PING))

        assert await listener.closed() == 1011
        assert "wsproto.connection" in caplog.text
        caplog.clear()


async def test_a_subscriber_closes_once() -> None:
    async with open_fast_path() as hub:
        listener = await hub.listen()
        subscriber = hub.subscriber
        subscriber.close(1001, "first")
        subscriber.close(1008, "second")

        assert await listener.closed() == 1001
