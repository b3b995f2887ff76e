"""The fan-out, on real sockets, heard by the `websockets` library's own protocol."""

import json
from base64 import b64decode, b64encode
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from websockets.frames import Frame, Opcode

from hookbot.broker.flow import LIGHT_BYTES
from hookbot.broker.limits import BrokerLimits
from hookbot.log.contract import News
from hookbot.log.sqlite import open_sqlite_log
from hookbot.protocol.envelope import LARGE_BODY
from hookbot.protocol.frames import CloudEvents
from hookbot.protocol.message import Draft, format_id
from hookbot.protocol.websocket import BINARY, frame
from hookbot.web.fastpath.audience import Audience
from support import GUARD_S
from support.clients import Client, handshake, masked
from support.damage import lose_bodies
from support.fast_path import BIG, SMALL, open_fast_path, settled

pytestmark = pytest.mark.usefixtures("plain_and_encrypted")

UNSAFE = {"X-Hookbot-Unsafe-Is-Ok": "I understand the security implications"}.items()


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


async def test_what_each_subscriber_is_sent_is_counted_once_also_what_it_catches_up_with() -> None:
    async with open_fast_path() as hub:
        before = [await hub.publish("a/b", b"stored") for _ in range(3)]
        late = await hub.listen(f"/sub/a/?since={before[0].id}")
        await late.payloads(2)
        subscribers = [late, *[await hub.listen("/sub/a/b") for _ in range(2)]]
        await hub.broker.commit([Draft("a/b", b"new"), Draft("a/b", b"new")])
        for subscriber in subscribers:
            await subscriber.payloads(2)

        counts = hub.broker.counts
        assert counts.delivered == counts.delivered_in["raw"].messages == 2 + 3 * 2
        # What was published before somebody listened was not late.
        assert (counts.tell_times.count, counts.gaps.total()) == (3 * 2, 0)
        # The topic and a null byte are sent to who listens to a subtree; each frame has a header of two bytes.
        assert counts.delivered_in["raw"].bytes == 2 * (6 + 6) + 4 * (3 + 2) + 2 * (7 + 2)


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


@pytest.mark.slow
async def test_a_burst_arrives_whole_and_in_order() -> None:
    async with open_fast_path() as hub:
        listeners = [await hub.listen("/sub/") for _ in range(10)]
        outcomes = await hub.broker.commit([Draft(f"t/{n}", b"%d" % n) for n in range(3000)])
        assert len(outcomes) == 3000

        for listener in listeners:
            assert await listener.payloads(3000) == [b"t/%d\0%d" % (n, n) for n in range(3000)]


# --- who is slow


@pytest.mark.slow
@pytest.mark.parametrize("stalled", [1, 50])
async def test_subscribers_that_never_read_delay_nobody_and_lose_nothing(stalled: int) -> None:
    limits = BrokerLimits(window_bytes=10 * BIG)
    bodies = [bytes([n]) * BIG for n in range(60)]
    async with open_fast_path(send_buffer=SMALL, broker_limits=limits) as hub:
        lazy = [await hub.listen(receive_buffer=SMALL) for _ in range(stalled)]
        eager = await hub.listen()
        for body in bodies:
            await hub.publish("topic", body)
            assert await eager.payload() == body

        assert len(hub.fanout) == stalled + 1
        for listener in lazy[:3]:
            assert await listener.payloads(len(bodies)) == bodies


# --- what waits for slow subscribers


async def test_who_holds_most_is_cut_off_if_too_much_waits_for_the_slow_and_can_resume() -> None:
    limit = 3 * BIG + 1000
    async with open_fast_path(send_buffer=SMALL, max_held_bytes=limit) as hub:
        first = await hub.publish("0", b"before")
        slow = [await hub.listen(f"/sub/{n}", receive_buffer=SMALL) for n in range(4)]
        for n, size in enumerate((BIG, 3 * BIG // 2, BIG, BIG)):
            await hub.publish(str(n), bytes(size))
        await settled(lambda: len(hub.fanout) == 3)

        assert await slow[0].payload() == bytes(BIG)
        assert await slow[2].payload() == bytes(BIG)
        assert hub.services.streams.held.cut == 1
        again = await hub.listen(f"/sub/1?since={first.id}")
        assert await again.payload() == bytes(3 * BIG // 2)


async def test_what_waits_is_counted_until_it_is_taken_or_its_subscriber_is_gone() -> None:
    async with open_fast_path(send_buffer=SMALL) as hub:
        held = hub.services.streams.held
        slow = [await hub.listen(receive_buffer=SMALL) for _ in range(2)]
        await hub.publish("topic", bytes(BIG))
        await settled(lambda: held.size)
        assert held.size < 2 * BIG  # one frame for both

        await slow[0].client.reset()
        assert await slow[1].payload() == bytes(BIG)
        await settled(lambda: not held.size)


async def test_large_messages_that_many_wait_for_are_each_sent_to_all_of_them() -> None:
    limits = BrokerLimits(frame_bytes=1, window_messages=1)
    bodies = [bytes([n]) * (LARGE_BODY + 1) for n in range(3)]
    async with open_fast_path(broker_limits=limits) as hub:
        await hub.publish("topic", b"first")
        listeners = [await hub.listen(f"/sub/topic{query}") for query in ("", "?since=all") * 3]
        for body in bodies:
            await hub.publish("topic", body)

        for n, listener in enumerate(listeners):
            expected = [b"first"] * (n % 2) + bodies
            assert await listener.payloads(len(expected)) == expected


async def test_a_message_larger_than_everything_arrives_whole_through_partial_writes() -> None:
    body = bytes(range(256)) * 20_000
    async with open_fast_path(send_buffer=SMALL) as hub:
        listener = await hub.listen(receive_buffer=SMALL)
        await hub.publish("topic", b"before")
        await hub.publish("topic", body)
        await hub.publish("topic", b"after")

        assert await listener.payloads(3) == [b"before", body, b"after"]


async def test_one_busy_topic_does_not_keep_the_others_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookbot.web.fastpath.fanout.ROUND_COST", 1)
    async with open_fast_path() as hub:
        busy = [await hub.listen("/sub/busy") for _ in range(3)]
        quiet = await hub.listen("/sub/quiet")
        delivered: list[str] = []
        deliver = hub.fanout._deliver

        def noting(audience: Audience, budget: int, now: float) -> int:
            delivered.append(str(audience.channel.wanted))
            return deliver(audience, budget, now)

        monkeypatch.setattr(hub.fanout, "_deliver", noting)
        await hub.broker.commit([Draft("busy", b"hello"), Draft("quiet", b"hello")])
        for listener in (*busy, quiet):
            assert await listener.payload() == b"hello"

        assert delivered == ["busy", "quiet", "busy", "busy"]


async def test_a_batch_of_many_topics_is_delivered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_fast_path() as hub:
        listeners = [await hub.listen(f"/sub/{n}") for n in range(100)]
        original = hub.broker.channels.announce
        positions: list[list[int]] = []

        def announce(news: News) -> None:
            original(news)
            positions.append([subscriber.position for subscriber in hub.fanout._subscribers])

        hub.broker.log.follow(announce)
        await hub.broker.commit([Draft(str(n), b"hello") for n in range(100)])

        assert positions == [list(range(1, 101))]
        for listener in listeners:
            assert await listener.payload() == b"hello"


async def test_what_was_not_told_reaches_all_from_the_log_before_what_is_told_next() -> None:
    async with open_fast_path() as hub:
        listeners = [await hub.listen(f"/sub/{topic}") for topic in ("topic", "topic", "other")]
        await hub.publish("topic", b"1")
        hub.broker.log.follow(lambda news: None)
        await hub.publish("topic", b"2")
        await hub.publish("topic", b"3")
        head = hub.broker.log.head
        hub.broker.log.follow(lambda news: hub.broker.channels.announce(News(head, news.messages, news.head)))
        await hub.publish("topic", b"4")
        await hub.publish("other", b"5")

        for listener in listeners[:2]:
            assert [await listener.payload() for _ in range(4)] == [b"1", b"2", b"3", b"4"]
        assert await listeners[2].payload() == b"5"


async def test_publishers_wait_for_subscribers_in_step_and_for_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookbot.web.fastpath.fanout.ROUND_COST", 1)
    body = bytes(LIGHT_BYTES)
    async with open_fast_path(send_buffer=4 * LIGHT_BYTES, broker_limits=BrokerLimits(due_bytes=1)) as hub:
        await hub.listen(receive_buffer=SMALL)
        while not hub.subscriber.stalled:
            await hub.publish("topic", body)
        eager = [await hub.listen() for _ in range(2)]
        stalled, *others = hub.fanout._subscribers
        original = hub.broker.channels.announce
        steps: list[tuple[int, int]] = []

        def announce(news: News) -> None:
            steps.append((news.head, min(subscriber.position for subscriber in others)))
            original(news)

        hub.broker.log.follow(announce)
        for n in range(4):
            async with trio.open_nursery() as nursery:
                for _ in range(n):
                    nursery.start_soon(hub.publish, "topic", body)
                for listener in eager:
                    assert await listener.payloads(n) == [body] * n

        assert [delivered for _, delivered in steps[1:]] == [position - 1 for position, _ in steps[1:]]
        assert stalled.stalled


async def test_publishers_wait_for_the_subscribers_of_each_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookbot.web.fastpath.fanout.ROUND_COST", 1)
    async with open_fast_path() as hub:
        listeners = [await hub.listen()] + [await hub.listen(subprotocol="cloudevents.json") for _ in range(3)]
        # The first delivery counts those who are in step.
        await hub.publish()
        for listener in listeners:
            await listener.payload()
        seen: list[tuple[int, bool]] = []
        deliver = hub.fanout._deliver

        def noting(audience: Audience, budget: int, now: float) -> int:
            seen.append((hub.broker.channels.due, all(one.position == hub.broker.head for one in subscribers)))
            return deliver(audience, budget, now)

        subscribers = tuple(hub.fanout._subscribers)
        monkeypatch.setattr(hub.fanout, "_deliver", noting)
        await hub.publish()
        for listener in listeners:
            await listener.payload()

        assert len(seen) == 4
        assert all(due and not complete for due, complete in seen)
        assert hub.broker.channels.due == 0


# --- where to start


@pytest.mark.slow
async def test_who_resumes_while_others_publish_misses_nothing_and_hears_nothing_twice() -> None:
    # so that the log, the window and what is live take turns
    limits = BrokerLimits(window_messages=200)
    async with open_fast_path(broker_limits=limits) as hub:
        first = await hub.publish("topic", b"0")
        sent: list[bytes] = []

        async def publish() -> None:
            while len(sent) < 2000:
                bodies = [b"%d" % (len(sent) + n) for n in range(1 + len(sent) % 7)]
                await hub.broker.commit([Draft("topic", body) for body in bodies])
                sent.extend(bodies)

        async def resume(n: int) -> None:
            await settled(lambda: len(sent) > n * 100)
            clients.append(await hub.subscribe(f"/sub/topic?since={first.id}"))

        clients: list[Client] = []
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


# --- the end


async def test_when_the_hub_ends_everybody_is_told_1001_even_who_was_behind() -> None:
    async with open_fast_path(send_buffer=SMALL) as hub:
        listeners = [await hub.listen() for _ in range(5)]
        slow = await hub.listen(receive_buffer=SMALL)
        await hub.publish("topic", bytes(BIG))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hub.fanout.close, trio.current_time() + GUARD_S)
            for listener in (*listeners, slow):
                assert await listener.payload() == bytes(BIG)
                assert await listener.closed() == 1001
                await listener.client.stream.aclose()


async def test_when_the_hub_ends_nobody_is_waited_for_longer_than_the_deadline() -> None:
    async with open_fast_path(send_buffer=SMALL) as hub:
        listeners = [await hub.listen(receive_buffer=SMALL) for _ in range(5)]
        await hub.publish("topic", bytes(BIG))

        await hub.fanout.close(trio.current_time() + 0.05)

        assert len(hub.fanout) == len(hub.active) == 0
        for listener in listeners:
            with suppress(trio.BrokenResourceError):
                await listener.client.rest()


async def test_when_the_hub_ends_who_is_gone_is_not_waited_for() -> None:
    async with open_fast_path(linger_s=0.05, close_s=2 * GUARD_S) as hub:
        gone = await hub.listen()

        await hub.fanout.close(trio.current_time() + 2 * GUARD_S)

        assert len(hub.fanout) == 0
        assert await gone.client.until((1001).to_bytes(2, "big"))


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


async def test_nothing_is_left_of_who_has_gone() -> None:
    async with open_fast_path() as hub:
        for subprotocol in (None, "hookbot.v1", "cloudevents.json"):
            listener = await hub.listen("/sub/a/", subprotocol=subprotocol)
            await listener.client.stream.aclose()
        await settled(lambda: not len(hub.fanout))

        assert not hub.fanout._audiences._audiences
        assert not hub.broker.channels._channels
        assert len(hub.active) == 0


async def test_a_ping_frame_behind_the_handshake_is_answered() -> None:
    async with open_fast_path() as hub:
        client = await hub.connect()
        await client.send(handshake() + masked(Opcode.PING, b"early"))
        await client.until(b"\r\n\r\n")

        assert await client.exactly(7) == b"\x8a\x05early"


# --- damage and bugs


async def test_a_damaged_message_is_a_gap_to_who_can_be_told_and_the_end_for_others(tmp_path: Path) -> None:
    async with open_sqlite_log(tmp_path) as log, open_fast_path(log=log) as hub:
        messages = [await hub.publish("topic", b"%d" % n) for n in range(5)]
        lose_bodies(tmp_path, 3)

        listener = await hub.listen("/sub/topic?since=all", subprotocol="hookbot.v1")
        raw = await hub.listen("/sub/topic?since=all")

        told = [json.loads(payload) for payload in await listener.payloads(6)]
        assert [one.get("body", one["type"]) for one in told] == ["hello", "0", "1", "gap", "3", "4"]
        gap = {"type": "gap", "reason": "damage", "after": messages[1].id, "before": messages[3].id}
        assert told[3] == gap
        assert await raw.payloads(2) == [b"0", b"1"]
        assert await raw.closed() == 1013
        live = await hub.publish("topic", b"live")
        assert json.loads(await listener.payload())["id"] == live.id


class Bug(Exception):
    """An error that nobody expects."""


def fail(*_: Any) -> Any:
    raise Bug


async def test_a_bug_while_a_resume_begins_ends_that_connection_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_fast_path() as hub:
        other = await hub.listen()
        monkeypatch.setattr(hub.fanout._audiences, "join", fail)
        client = await hub.connect()
        await client.send(handshake("/sub/topic?since=all"))
        assert await client.rest() == b""

        await hub.publish("topic", b"1")
        assert await other.payloads(1) == [b"1"]


@pytest.mark.parametrize("size", [10, LARGE_BODY + 1])
async def test_a_bug_in_the_frames_of_a_format_ends_its_subscribers_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    async with open_fast_path() as hub:
        broken = [await hub.listen(subprotocol="cloudevents.json") for _ in range(3)]
        other = await hub.listen()
        for audience in hub.fanout._audiences._audiences.values():
            if isinstance(audience.framing, CloudEvents):
                monkeypatch.setattr(audience.framing, "message", fail)
        await hub.publish("topic", b"x" * size)

        assert [await one.closed() for one in broken] == [1011] * 3
        assert caplog.text.count("cannot be served") == 1
        later = await hub.listen(subprotocol="cloudevents.json")
        monkeypatch.undo()
        await hub.publish("topic", b"2")
        assert await other.payloads(2) == [b"x" * size, b"2"]
        assert json.loads(await later.payload())["data_base64"] == b64encode(b"2").decode()


async def test_a_bug_in_a_greeting_ends_that_connection_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_fast_path() as hub:
        other = await hub.listen()
        monkeypatch.setattr("hookbot.web.fastpath.fanout.hello", fail)
        with suppress(trio.BrokenResourceError):
            client = await hub.connect()
            await client.send(handshake("/sub/topic", "Sec-WebSocket-Protocol: hookbot.v1"))
            await client.rest()
        await hub.publish("topic", b"1")
        assert await other.payloads(1) == [b"1"]


async def test_of_a_delivery_that_takes_several_turns_only_the_rest_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookbot.web.fastpath.fanout.ROUND_COST", 1)
    async with open_fast_path() as hub:
        await hub.listen()
        await hub.publish()
        due: list[int] = []
        hub.broker.channels.after_batch.append(lambda: due.append(hub.broker.channels.due))

        await hub.broker.commit([draft := Draft("topic", bytes(BIG))] * 3)

        assert due == [2 * draft.size]
