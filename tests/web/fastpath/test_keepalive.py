"""Pings, heartbeats, and the end of subscribers that are not alive any more, on real sockets."""

import json
import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from hookbot.broker.limits import BrokerLimits
from hookbot.log.retention import Retention
from hookbot.web.fastpath.subscriber import Subscriber
from support.fast_path import BIG, SMALL, open_fast_path, settled

pytestmark = pytest.mark.usefixtures("plain_and_encrypted")


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

        told: list[str] = []
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
        await settled(lambda: hub.subscriber.position == others[-1].position)
        while await hub.broker.log.trim(Retention(max_count=0), now_us=0):
            pass

        await hub.publish("quiet", b"x" * 2000)  # does not fit into the window: comes from the log

        data = await listener.payload()
        assert data == b"x" * 2000 or json.loads(data)["type"] == "hookbot.message"


async def test_who_is_silent_or_stalled_for_too_long_is_cut_off_and_pinged_before(
    mock_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with open_fast_path(send_buffer=SMALL, ping_s=3, deaf_s=9, stall_s=9) as hub:
        silent, stalled = await hub.listen("/sub/quiet"), await hub.listen(receive_buffer=SMALL)
        await hub.publish("topic", bytes(BIG))

        for _ in range(11):
            mock_clock.jump(1)
            await wait_all_tasks_blocked()

        assert await silent.client.rest() == b"\x89\0\x89\0"
        assert len(hub.fanout) == 0
        assert caplog.text.count("is cut off: it took nothing for 9 s") == 1
        await stalled.client.reset()


async def test_a_sweep_lets_others_run_and_passes_over_a_subscriber_that_leaves_meanwhile(
    mock_clock: MockClock,
) -> None:
    async with open_fast_path(ping_s=3, sweep_step=1) as hub:
        for _ in range(10):
            await hub.listen()
        first, *rest, last = hub.fanout._subscribers
        mock_clock.jump(4)
        now = trio.current_time()
        await settled(lambda: first.pinged_at == now)

        last.end("disconnected")
        await settled(lambda: all(subscriber.pinged_at == now for subscriber in rest))
        await wait_all_tasks_blocked()

        assert last.pinged_at < now
        assert len(hub.fanout) == 9


async def test_a_bug_in_a_heartbeat_ends_that_subscriber_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_fast_path() as hub:
        other = await hub.listen()
        broken = await hub.listen()
        keepalive, subscriber = hub.fanout._keepalive, list(hub.fanout._subscribers)[1]
        look_after = keepalive._look_after

        def fail_at_one(one: Subscriber, *more: Any) -> None:
            if one is subscriber:
                raise AssertionError("a bug")
            look_after(one, *more)

        monkeypatch.setattr(keepalive, "_look_after", fail_at_one)
        assert await broken.closed() == 1011

        await hub.publish("topic", b"1")
        assert await other.payloads(1) == [b"1"]
