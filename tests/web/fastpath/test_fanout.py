"""The fan-out, on real sockets, heard by the `websockets` library's own protocol."""

import json
import logging
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import trio
from websockets.frames import Close, Frame, Opcode

from hookbot.broker import channels
from hookbot.broker.limits import BrokerLimits
from hookbot.log.contract import Page
from hookbot.log.memory import MemoryLog
from hookbot.log.retention import Retention
from hookbot.protocol.envelope import LARGE_BODY
from hookbot.protocol.frames import HookbotV1, Raw
from hookbot.protocol.message import Draft, Message, format_id
from hookbot.protocol.topics import TopicFilter
from hookbot.protocol.websocket import BINARY, frame
from hookbot.web.fastpath import audience, fanout
from hookbot.web.fastpath import subscriber as subscriber_module
from hookbot.web.fastpath.audience import Audience
from hookbot.web.fastpath.subscriber import Subscriber
from support import GUARD_S
from support.clients import WebSocket, handshake, masked
from support.fast_path import FastPathHub, open_fast_path

UNSAFE = {"X-Hookbot-Unsafe-Is-Ok": "I understand the security implications"}.items()
STALLS = {"send_buffer": 4096}
SLOW = {"receive_buffer": 4096}
BIG = 100_000


@pytest.fixture(autouse=True)
def quick_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "SWEEP_S", 0.01)


@pytest.fixture(autouse=True)
def nothing_unexpected(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def settled(condition: Callable[..., Any]) -> None:
    while not condition():
        await trio.sleep(0.001)


def the_subscriber(hub: FastPathHub) -> Subscriber:
    [subscriber] = hub.fanout._subscribers
    return subscriber


# --- formats


async def test_an_exact_subscription_gets_each_body_byte_for_byte() -> None:
    bodies = [b"", b"hello", bytes(range(256)), b"x" * 126, b"y" * 70_000]
    async with open_fast_path() as hub:
        listener = await hub.listen("/sub/topic")
        for body in bodies:
            await hub.publish("topic", body)
            await hub.publish("topic/below", b"not heard")

        frames = [await listener.frame() for _ in bodies]

        assert frames == [Frame(Opcode.BINARY, body) for body in bodies]


@pytest.mark.parametrize("path", ["/sub/a/", "/sub/", "/a/", "/sub/a%3Frecursive"])
async def test_a_subtree_subscription_gets_the_topic_before_each_body(path: str) -> None:
    async with open_fast_path() as hub:
        listener = await hub.listen(path)
        await hub.publish("/unsafe/a/b", b"not heard")
        await hub.publish("a/b", b"he\0llo")
        await hub.publish("a/c/d", b"")

        assert await listener.payloads(2) == [b"a/b\0he\0llo", b"a/c/d\0"]


async def test_unsafe_topics_keep_their_prefix() -> None:
    async with open_fast_path() as hub:
        listener = await hub.listen("/unsafe/sub/a/", headers=UNSAFE)
        await hub.publish("a/b", b"not heard")
        await hub.publish("/unsafe/a/b", b"hello")

        assert await listener.payload() == b"/unsafe/a/b\0hello"


async def test_hookbot_v1_gets_hello_and_envelopes() -> None:
    async with open_fast_path() as hub:
        await hub.publish("a/b", b"before")
        listener = await hub.listen("/sub/a/", subprotocol="hookbot.v1")
        message = await hub.broker.publish(Draft("a/b", b"\xff", (("X", "y"),), "q=1"))

        hello, told = [json.loads(payload) for payload in await listener.payloads(2)]

        assert (hello["type"], hello["topic"], hello["last_id"]) == ("hello", "a/", message.id[:-1] + "1")
        assert (told["type"], told["id"], told["topic"], told["query"]) == ("message", message.id, "a/b", "q=1")
        assert (told["body_base64"], told["headers"]) == ("/w==", [["X", "y"]])
        assert listener.protocol.subprotocol == "hookbot.v1"


async def test_cloudevents_carry_the_path_of_their_subscription() -> None:
    async with open_fast_path() as hub:
        some = await hub.listen("/sub/a/", subprotocol="cloudevents.json")
        one = await hub.listen("/sub/a/b", subprotocol="cloudevents.json")
        message = await hub.publish("a/b", b"hello")

        events = [json.loads(await listener.payload()) for listener in (some, one)]

        assert [event["source"] for event in events] == ["/sub/a/", "/sub/a/b"]
        assert {event["id"] for event in events} == {message.id}
        assert {b64decode(event["data_base64"]) for event in events} == {b"hello"}


async def test_a_message_is_encoded_once_for_all_who_listen_in_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = []
    for framing in (HookbotV1, Raw):

        def count(self: HookbotV1 | Raw, message: Message, original: Callable[..., Any] = framing.message) -> bytes:
            encoded.append(self.key)
            return original(self, message)

        monkeypatch.setattr(framing, "message", count)
    async with open_fast_path() as hub:
        listeners = [await hub.listen() for _ in range(20)]
        listeners += [await hub.listen(subprotocol="hookbot.v1") for _ in range(20)]
        for listener in listeners[20:]:
            await listener.payload()
        await hub.publish()
        payloads = [await listener.payload() for listener in listeners]

        assert sorted(map(str, encoded)) == ["('raw', False)", "v1"]
        assert len(set(payloads)) == 2


async def test_a_burst_arrives_whole_and_in_order() -> None:
    async with open_fast_path() as hub:
        listeners = [await hub.listen("/sub/") for _ in range(10)]
        outcomes = await hub.broker.commit([Draft(f"t/{n}", b"%d" % n) for n in range(3000)])
        assert len(outcomes) == 3000

        for listener in listeners:
            assert await listener.payloads(3000) == [b"t/%d\0%d" % (n, n) for n in range(3000)]


def test_what_is_joined_for_one_send_is_bounded() -> None:
    messages = [Message("topic", bytes(1000), id=format_id("somelogs", n)) for n in range(1, 501)]
    channel = channels.Channel(TopicFilter(("topic",)), 0)
    some = audience.Audience(channel, Raw(False), lambda _: None)

    sends = list(some.sends([channels.Entry(message, message.position) for message in messages]))

    assert all(len(data) < audience.SEND_BYTES + 2000 for data, _ in sends)
    assert b"".join(data for data, _ in sends) == b"".join(frame(BINARY, message.body) for message in messages)
    assert [reached for _, reached in sends][-1] == 500


# --- who is slow


@pytest.mark.parametrize("stalled", [1, 50])
async def test_subscribers_that_never_read_delay_nobody_and_lose_nothing(stalled: int) -> None:
    limits = BrokerLimits(window_bytes=10 * BIG)
    bodies = [bytes([n]) * BIG for n in range(60)]
    async with open_fast_path(**STALLS, broker_limits=limits) as hub:
        lazy = [await hub.listen(**SLOW) for _ in range(stalled)]
        eager = await hub.listen()
        for body in bodies:
            await hub.publish("topic", body)
            assert await eager.payload() == body

        assert len(hub.fanout) == stalled + 1
        for listener in lazy[:3]:
            assert await listener.payloads(len(bodies)) == bodies


async def test_a_subscriber_that_takes_nothing_is_cut_off_after_a_while(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with open_fast_path(**STALLS, stall_s=1) as hub:
        lazy = await hub.listen(**SLOW)
        eager = await hub.listen()
        for _ in range(10):
            await hub.publish("topic", bytes(BIG))
        await eager.payloads(10)
        assert len(hub.fanout) == 2

        await settled(lambda: len(hub.fanout) == 1)

        with suppress(trio.BrokenResourceError):
            assert len(await lazy.client.rest()) < 10 * BIG
        assert "took nothing for" in caplog.text


async def test_a_slow_subscriber_that_takes_a_little_now_and_then_stays() -> None:
    async with open_fast_path(**STALLS, stall_s=0.5, deaf_s=0.5) as hub:
        listener = await hub.listen(**SLOW)
        listener.pongs = False
        await hub.publish("topic", bytes(BIG))
        subscriber = the_subscriber(hub)

        for _ in range(15):
            await trio.sleep(0.1)
            await listener.client.exactly(4000)
        assert subscriber.open


async def test_a_subscriber_that_was_busy_taking_has_time_to_answer_a_ping() -> None:
    async with open_fast_path(**STALLS, ping_s=0.05, deaf_s=0.5) as hub:
        listener = await hub.listen(**SLOW)
        await hub.publish("topic", bytes(BIG))
        subscriber = the_subscriber(hub)
        while trio.current_time() - subscriber.received_at < 0.8:
            await trio.sleep(0.05)
            await listener.client.exactly(4000)

        await listener.client.until(b"\x89\0")
        received_at = subscriber.received_at
        await listener.client.send(masked(Opcode.PONG))
        await settled(lambda: subscriber.received_at > received_at)

        assert subscriber.open


async def test_a_subscriber_that_falls_behind_the_window_reads_the_log_and_comes_back() -> None:
    limits = BrokerLimits(window_messages=10)
    async with open_fast_path(**STALLS, broker_limits=limits) as hub:
        listener = await hub.listen(subprotocol="hookbot.v1", **SLOW)
        sent = [b"%d" % n * 1000 for n in range(300)]
        for body in sent:
            await hub.publish("topic", body)
        subscriber = the_subscriber(hub)
        assert subscriber.position < next(iter(hub.fanout._audiences._audiences.values())).channel.floor

        objects = [json.loads(payload) for payload in await listener.payloads(301)]
        assert [one.get("body", "").encode() for one in objects[1:]] == sent
        await settled(lambda: not subscriber.busy)
        await hub.publish("topic", b"live again")
        assert json.loads(await listener.payload())["body"] == "live again"


async def test_a_subscriber_that_reads_the_log_is_sent_nothing_else() -> None:
    async with open_fast_path() as hub:
        await hub.listen()
        subscriber = the_subscriber(hub)
        subscriber.catching_up = True
        subscriber.update_busy()
        assert subscriber.busy

        subscriber.catching_up = False
        subscriber.update_busy()
        assert not subscriber.busy


async def fall_behind_retention(hub: FastPathHub, listener: WebSocket) -> list[str]:
    """Leave a listener behind more than the log keeps; returns the ids that were published."""
    messages = [await hub.publish("topic", b"%d" % n * 10_000) for n in range(100)]
    while await hub.broker.log.trim(Retention(max_count=5), now_us=0):
        pass
    return [message.id for message in messages]


async def test_a_v1_subscriber_that_retention_overtook_is_told_of_the_gap() -> None:
    limits = BrokerLimits(window_messages=3)
    async with open_fast_path(**STALLS, retention=Retention(max_count=None), broker_limits=limits) as hub:
        listener = await hub.listen(subprotocol="hookbot.v1", **SLOW)
        ids = await fall_behind_retention(hub, listener)
        await hub.publish("topic", b"last")

        told = [json.loads(await listener.payload())]
        while told[-1].get("body") != "last":
            told.append(json.loads(await listener.payload()))

        kinds = [one["type"] for one in told]
        gap = told[kinds.index("gap")]
        before = told[kinds.index("gap") - 1]["id"]
        after = told[kinds.index("gap") + 1]["id"]
        assert kinds.count("gap") == 1
        assert (gap["reason"], gap["after"], gap["before"]) == ("retention", before, after)
        assert [one["id"] for one in told[1 : kinds.index("gap")]] == ids[: ids.index(before) + 1]
        assert [one["id"] for one in told[kinds.index("gap") + 1 : -1]] == ids[-5:]


class TrimmedLog(MemoryLog):
    """Retention takes all but five messages while the log is read for the first time."""

    async def read(self, *args: TopicFilter, **limits: Any) -> Page:
        page = await super().read(*args, **limits)
        while await self.trim(Retention(max_count=5), now_us=0):
            pass
        return page


async def test_what_retention_takes_while_it_is_read_is_not_told_behind_the_gap() -> None:
    async with open_fast_path(log=TrimmedLog()) as hub:
        ids = [message.id for message in await hub.broker.commit([Draft("topic", b"hello")] * 1000)]
        listener = await hub.listen("/sub/topic?since=all", subprotocol="hookbot.v1")

        _, gap, *told = [json.loads(payload) for payload in await listener.payloads(7)]

        assert (gap["type"], gap["before"]) == ("gap", ids[995])
        assert [one["id"] for one in told] == ids[995:]


async def test_a_gap_is_told_once_even_to_who_is_slow_to_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    gap = HookbotV1.gap
    monkeypatch.setattr(HookbotV1, "gap", lambda self, lost: gap(self, lost) + b" " * BIG)
    async with open_fast_path(log=TrimmedLog(), **STALLS) as hub:
        await hub.broker.commit([Draft("topic", b"hello")] * 100)
        listener = await hub.listen("/sub/topic?since=all", subprotocol="hookbot.v1", **SLOW)
        await settled(lambda: the_subscriber(hub).stalled)

        told = [json.loads(payload)["type"] for payload in await listener.payloads(7)]

        assert told == ["hello", "gap"] + ["message"] * 5


@pytest.mark.parametrize("subprotocol", [None, "hookbot.raw"])
async def test_a_raw_subscriber_that_retention_overtook_is_closed_with_1013(subprotocol: str | None) -> None:
    limits = BrokerLimits(window_messages=3)
    async with open_fast_path(**STALLS, retention=Retention(max_count=None), broker_limits=limits) as hub:
        listener = await hub.listen(subprotocol=subprotocol, **SLOW)
        await fall_behind_retention(hub, listener)

        assert await listener.closed() == 1013
        await settled(lambda: not len(hub.fanout))


async def test_a_message_larger_than_everything_arrives_whole_through_partial_writes() -> None:
    body = bytes(range(256)) * 20_000
    async with open_fast_path(**STALLS) as hub:
        listener = await hub.listen(**SLOW)
        await hub.publish("topic", b"before")
        await hub.publish("topic", body)
        await hub.publish("topic", b"after")

        assert await listener.payloads(3) == [b"before", body, b"after"]


async def test_a_large_message_is_encoded_beside_the_loop_and_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, threads = threading.Event(), []
    original = HookbotV1.message

    def slow(self: HookbotV1, message: Message) -> bytes:
        threads.append(threading.current_thread() is threading.main_thread())
        if len(message.body) > LARGE_BODY:
            assert go_on.wait(GUARD_S)
        return original(self, message)

    monkeypatch.setattr(HookbotV1, "message", slow)
    async with open_fast_path() as hub:
        listener = await hub.listen(subprotocol="hookbot.v1")
        other = await hub.listen()
        await listener.payload()
        for body in (b"1", b"2" * (LARGE_BODY + 1), b"3"):
            await hub.publish("topic", body)

        assert [payload[:1] for payload in await other.payloads(3)] == [b"1", b"2", b"3"]
        assert json.loads(await listener.payload())["body"] == "1"
        go_on.set()
        assert [json.loads(payload)["body"][0] for payload in await listener.payloads(2)] == ["2", "3"]
        assert threads == [True, False, True]


async def test_one_busy_topic_does_not_keep_the_others_waiting() -> None:
    async with open_fast_path() as hub:
        busy = [await hub.listen("/sub/busy") for _ in range(3)]
        quiet = await hub.listen("/sub/quiet")
        audiences = {one.channel.wanted.patterns[0]: one for one in hub.fanout._audiences._audiences.values()}
        deliver, delivered = hub.fanout._deliver, []

        async def busily(one: Audience) -> None:
            delivered.append(one.channel.wanted.patterns[0])
            await deliver(one)
            hub.fanout._mark(audiences["busy"]) if len(delivered) < 20 else None

        hub.fanout._deliver = busily
        await hub.broker.commit([Draft("quiet", b"hello"), Draft("busy", b"hello")])
        await quiet.payload()
        await busy[0].payload()
        await settled(lambda: len(delivered) >= 20)

        assert "quiet" in delivered[:3]


# --- what clients say


async def test_a_ping_is_answered_with_its_payload() -> None:
    async with open_fast_path() as hub:
        listener = await hub.listen()
        await listener.client.send(masked(Opcode.PING, b"are you there?") + masked(Opcode.PING, b"?"))

        assert await listener.client.exactly(16 + 3) == b"\x8a\x0eare you there?" + b"\x8a\x01?"


async def test_who_only_answers_pings_costs_no_parser() -> None:
    async with open_fast_path() as hub:
        listener = await hub.listen()
        for _ in range(3):
            await listener.client.send(masked(Opcode.PING, b"?"))
            await listener.client.exactly(3)

        assert the_subscriber(hub)._parser is None


async def test_a_ping_in_the_middle_of_a_large_message_is_answered_behind_it() -> None:
    async with open_fast_path(**STALLS) as hub:
        listener = await hub.listen(**SLOW)
        await hub.publish("topic", bytes(BIG))
        await settled(lambda: the_subscriber(hub).stalled)
        received = the_subscriber(hub).received_at
        await listener.client.send(masked(Opcode.PING, b"one") + masked(Opcode.PING, b"two"))
        await settled(lambda: the_subscriber(hub).received_at > received)
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
    async with open_fast_path(**STALLS) as hub:
        listener = await hub.listen(**SLOW)
        await hub.publish("topic", bytes(BIG))
        await settled(lambda: the_subscriber(hub).stalled)
        await listener.client.send(masked(Opcode.CLOSE, Close(1000, "").serialize()))
        await settled(lambda: the_subscriber(hub).closing_since is not None)
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
    async with open_fast_path() as hub:
        listener = await hub.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.client.send, said)
            answer = await listener.client.rest()
        await listener.client.stream.aclose()
        await settled(lambda: not len(hub.fanout))

        assert answer[0] == 0x88
        assert Close.parse(answer[2:]).code == code


async def test_a_client_that_goes_on_after_the_close_frame_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriber_module, "CLOSE_S", 0.05)
    async with open_fast_path() as hub:
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


# --- silence


async def test_a_peer_of_whom_nothing_comes_is_dropped_and_one_that_answers_pings_stays() -> None:
    async with open_fast_path(ping_s=0.05, deaf_s=0.4) as hub:
        alive, dead = await hub.listen(), await hub.listen()
        dead.pongs = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(alive.frame)
            with suppress(trio.BrokenResourceError):
                assert (await dead.client.rest()).startswith(b"\x89\0\x89\0")
            assert len(hub.fanout) == 1
            await hub.publish()


async def test_a_quiet_subscription_hears_a_heartbeat_to_resume_from_though_it_is_pinged() -> None:
    async with open_fast_path(heartbeat_s=0.05, ping_s=0.03) as hub:
        listener = await hub.listen("/sub/quiet", subprotocol="hookbot.v1")
        await listener.payload()
        others = [await hub.publish("busy") for _ in range(3)]

        heartbeats = []
        while others[-1].id not in heartbeats:
            beat = json.loads(await listener.payload())
            assert beat["type"] == "heartbeat"
            heartbeats.append(beat["id"])
        while await hub.broker.log.trim(Retention(max_count=0), now_us=0):
            pass

        await listener.client.reset()
        again = await hub.listen(f"/sub/quiet?since={heartbeats[-1]}", subprotocol="hookbot.v1")
        await hub.publish("quiet")
        assert [json.loads(payload)["type"] for payload in await again.payloads(2)] == ["hello", "message"]


async def test_a_heartbeat_never_covers_what_has_not_been_sent() -> None:
    limits = BrokerLimits(window_bytes=1000)
    async with open_fast_path(heartbeat_s=0, broker_limits=limits) as hub:
        listener = await hub.listen(subprotocol="hookbot.v1")
        messages = [await hub.publish("topic", b"%d" % n * 2000) for n in range(200)]

        told = []
        while len(told) < 200:
            one = json.loads(await listener.payload())
            if one["type"] == "heartbeat":
                assert one["id"] == (told[-1] if told else messages[0].id[:-1] + "0")
            elif one["type"] == "message":
                told.append(one["id"])
        assert told == [message.id for message in messages]


@pytest.mark.parametrize("subprotocol", [None, "cloudevents.json"])
async def test_formats_without_heartbeats_get_none_and_no_gap_from_what_others_lost(subprotocol: str | None) -> None:
    limits = BrokerLimits(window_bytes=1000)
    async with open_fast_path(heartbeat_s=0.01, broker_limits=limits) as hub:
        listener = await hub.listen("/sub/quiet", subprotocol=subprotocol)
        others = [await hub.publish("busy") for _ in range(10)]
        await settled(lambda: the_subscriber(hub).position == others[-1].position)
        while await hub.broker.log.trim(Retention(max_count=0), now_us=0):
            pass

        await hub.publish("quiet", b"x" * 2000)  # does not fit into the window: comes from the log

        data = await listener.payload()
        assert data == b"x" * 2000 or json.loads(data)["type"] == "hookbot.message"


# --- where to start


async def test_who_resumes_while_others_publish_misses_nothing_and_hears_nothing_twice() -> None:
    # so that the log, the window and what is live take turns
    limits = BrokerLimits(window_messages=200)
    async with open_fast_path(broker_limits=limits) as hub:
        first = await hub.publish("topic", b"0")
        sent = []

        async def publish() -> None:
            while len(sent) < 2000:
                bodies = [b"%d" % (len(sent) + n) for n in range(1 + len(sent) % 7)]
                await hub.broker.commit([Draft("topic", body) for body in bodies])
                sent.extend(bodies)

        async def resume(n: int) -> None:
            await settled(lambda: len(sent) > n * 100)
            clients.append(await hub.subscribe(f"/sub/topic?since={first.id}"))

        clients = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(publish)
            for n in range(19):
                nursery.start_soon(resume, n)
        expected = b"".join(frame(BINARY, body) for body in sent)
        await hub.publish("topic", b"last")

        for client in clients:
            assert await client.exactly(len(expected) + 6) == expected + b"\x82\x04last"


@pytest.mark.parametrize("since", ["all", "1h", "2020-01-01T00:00:00Z"])
async def test_a_subscription_may_begin_with_what_is_stored_and_goes_on_live(since: str) -> None:
    async with open_fast_path() as hub:
        await hub.publish("topic", b"old")
        listener = await hub.listen(f"/sub/topic?since={since}")
        assert await listener.payload() == b"old"
        await hub.publish("topic", b"new")
        assert await listener.payload() == b"new"


async def test_an_id_of_another_log_is_told_as_a_gap_or_closes_a_raw_subscription() -> None:
    async with open_fast_path() as hub:
        message = await hub.publish("topic", b"here")
        foreign = format_id("otherlog", 7)
        listener = await hub.listen(f"/sub/topic?since={foreign}", subprotocol="hookbot.v1")
        raw = await hub.listen(f"/sub/topic?since={foreign}")

        _, gap, told = [json.loads(payload) for payload in await listener.payloads(3)]

        assert (gap["type"], gap["reason"], gap["after"], gap["before"]) == ("gap", "other-log", None, message.id)
        assert told["id"] == message.id
        assert await raw.closed() == 1013


class HeldLog(MemoryLog):
    """A log that is read only once it is released, and counts the pages."""

    def __init__(self) -> None:
        super().__init__()
        self.released = trio.Event()
        self.pages = 0

    async def read(self, wanted: TopicFilter, *, after: int, limit: int, max_bytes: int) -> Page:
        await self.released.wait()
        self.pages += 1
        return await super().read(wanted, after=after, limit=limit, max_bytes=max_bytes)


async def test_two_hundred_that_resume_at_once_all_get_everything_and_the_log_is_read_once_for_all() -> None:
    log = HeldLog()
    async with open_fast_path(log=log) as hub:
        bodies = [b"%d" % n for n in range(10_000)]
        await hub.broker.commit([Draft("topic", body) for body in bodies])
        expected = b"".join(frame(BINARY, body) for body in bodies)
        complete = []

        async def resume() -> None:
            client = await hub.subscribe("/sub/topic?since=all")
            complete.append(await client.exactly(len(expected)) == expected)

        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(resume)
            await settled(lambda: len(hub.fanout._subscribers) == 200)
            log.released.set()
        assert complete == [True] * 200
        assert log.pages == -(-len(bodies) // hub.broker.limits.page_messages)


# --- the end


async def test_when_the_hub_ends_everybody_is_told_1001_even_who_was_behind() -> None:
    async with open_fast_path(**STALLS) as hub:
        listeners = [await hub.listen() for _ in range(5)]
        slow = await hub.listen(**SLOW)
        await hub.publish("topic", bytes(BIG))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hub.fanout.close, trio.current_time() + GUARD_S)
            for listener in (*listeners, slow):
                assert await listener.payload() == bytes(BIG)
                assert await listener.closed() == 1001
                await listener.client.stream.aclose()


async def test_when_the_hub_ends_nobody_is_waited_for_longer_than_the_deadline() -> None:
    async with open_fast_path(**STALLS) as hub:
        listeners = [await hub.listen(**SLOW) for _ in range(5)]
        await hub.publish("topic", bytes(BIG))

        await hub.fanout.close(trio.current_time() + 0.05)

        assert len(hub.fanout) == len(hub.active) == 0
        for listener in listeners:
            with suppress(trio.BrokenResourceError):
                await listener.client.rest()


async def test_who_comes_when_the_hub_is_ending_is_told_so() -> None:
    async with open_fast_path() as hub:
        client = await hub.connect()
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            staying = await hub.listen()
            nursery.start_soon(hub.fanout.close, trio.current_time() + GUARD_S)
            await trio.testing.wait_all_tasks_blocked()
            late = await hub.listen()

            assert await late.closed() == 1001
            for one in (staying.client, late.client, client):
                await one.stream.aclose()


async def test_whose_grant_ends_is_told_1008() -> None:
    async with open_fast_path() as hub:
        listener = await hub.listen()
        the_subscriber(hub).lose_grant()

        assert await listener.closed() == 1008


async def test_nothing_is_left_of_who_has_gone() -> None:
    async with open_fast_path() as hub:
        for subprotocol in (None, "hookbot.v1", "cloudevents.json"):
            listener = await hub.listen("/sub/a/", subprotocol=subprotocol)
            await listener.client.stream.aclose()
        await settled(lambda: not len(hub.fanout))

        assert not hub.fanout._audiences._audiences
        assert not hub.broker.channels._channels
        assert len(hub.active) == 0
