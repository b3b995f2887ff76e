"""The client and a hub as they are: processes that are killed and stopped, connections that go dead."""

import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio

from hookbot import Message, client
from hookbot.backoff import Backoff
from hookbot.client.listener import Messages
from hookbot.errors import BodyTooLarge, NotFound, Refused, Unauthorized
from hookbot.testing import open_test_hub
from hookbot.testing.hub import TestHub
from support.commands import starting
from support.hubs import HubProcess
from support.scripted_hub import next_message

pytestmark = pytest.mark.slow

BODIES = [b"", b"{}", bytes(range(256)), "ü\x00\u2028".encode(), b"\xff", b"a" * (1 << 20)]


soon = partial(Backoff, 0.05, 0.2)
SOON = client.Timing(backoff=soon)

listen = partial(client.listen, timing=SOON)
publish = partial(client.publish, backoff=soon)


@asynccontextmanager
async def hub_within(seconds: int = 30) -> AsyncIterator[TestHub]:
    with trio.fail_after(seconds):
        async with open_test_hub() as hub:
            yield hub


async def bodies(messages: Messages, count: int) -> list[bytes]:
    return [(await next_message(messages)).body for _ in range(count)]


# -- a hub in this process


async def test_what_is_published_arrives_as_it_was() -> None:
    headers = [("X-A", "1"), ("X-A", "2"), ("X-B", "ü")]
    async with hub_within() as hub, listen(hub.url_for("/sub/a/")) as messages:
        for body in BODIES:
            await publish(hub.url_for("/pub/a/b") + "?q=1", body, headers=headers)
        arrived = [await next_message(messages) for _ in BODIES]
    assert [message.body for message in arrived] == BODIES
    assert {message.topic for message in arrived} == {"a/b"}
    assert {message.query for message in arrived} == {"q=1"}
    assert [pair for pair in arrived[0].headers if pair[0].startswith("X-")] == headers


async def test_the_id_of_a_publish_is_the_id_that_arrives_and_a_place_to_go_on_from() -> None:
    async with hub_within() as hub:
        first = await publish(hub.url_for("/pub/a"), b"1")
        second = await publish(hub.url_for("/pub/a"), b"2")
        async with listen(hub.url_for("/sub/a"), since=first, follow=False) as messages:
            assert [(item.id, item.body) async for item in messages if isinstance(item, Message)] == [(second, b"2")]


async def test_the_same_key_is_stored_once() -> None:
    async with hub_within() as hub:
        url = hub.url_for("/pub/a")
        assert await publish(url, b"1", idempotency_key="k") == await publish(url, b"1", idempotency_key="k")
        with pytest.raises(Refused):
            await publish(url, b"2", idempotency_key="k")


async def test_history_goes_over_into_what_comes_without_a_seam() -> None:
    async with hub_within() as hub:
        for n in range(300):
            await hub.publish("a", str(n).encode())
        async with listen(hub.url_for("/sub/a"), since="all") as messages, trio.open_nursery() as nursery:

            async def go_on() -> None:
                for n in range(300, 600):
                    await hub.publish("a", str(n).encode())

            nursery.start_soon(go_on)
            assert await bodies(messages, 600) == [str(n).encode() for n in range(600)]


async def test_hops_are_passed_on() -> None:
    async with hub_within() as hub, listen(hub.url_for("/sub/a")) as messages:
        await publish(hub.url_for("/pub/a"), b"", hops=("one", "two"))
        assert (await next_message(messages)).hops == ("one", "two")


async def test_what_the_hub_raises_is_raised_here() -> None:
    async with hub_within() as hub:
        subscriptions: list[tuple[str, type[Exception]]] = [
            (hub.url + "/sub/a", Unauthorized),
            (hub.url_for("/sub/b").replace("/sub/b", "/sub/a"), Unauthorized),
            (hub.url_for("/sub/a") + "?since=yesterday", Refused),
            (hub.url_for("/metrics/x"), NotFound),
        ]
        for url, error in subscriptions:
            with pytest.raises(error):
                async with listen(url):
                    pass
        publishes: list[tuple[str, bytes, type[Exception]]] = [
            (hub.url + "/pub/a", b"", Unauthorized),
            (hub.url_for("/pub/hookbot/x"), b"", Refused),
            (hub.url_for("/pub/a"), b"x" * (26 << 20), BodyTooLarge),
        ]
        for url, body, error in publishes:
            with pytest.raises(error):
                await publish(url, body)


async def test_an_unsafe_topic_takes_a_token_and_a_word() -> None:
    async with hub_within() as hub:
        await publish(f"{hub.url}/unsafe/pub/a", b"from anybody")
        url = hub.url_for("/unsafe/sub/a")
        with pytest.raises(Refused, match="unsafe"):
            async with listen(url):
                pass
        async with listen(url, since="all", unsafe=True) as messages:
            message = await next_message(messages)
    assert (message.topic, message.body) == ("/unsafe/a", b"from anybody")


# -- cursors and groups


async def test_a_cursor_gives_what_came_while_nobody_listened_and_what_was_in_hand() -> None:
    async with hub_within() as hub:
        async with listen(hub.url_for("/sub/a"), cursor="c") as messages:
            for n in range(4):
                await hub.publish("a", str(n).encode())
            assert await bodies(messages, 3) == [b"0", b"1", b"2"]
        await hub.publish("a", b"4")
        async with listen(hub.url_for("/sub/a"), cursor="c", follow=False) as messages:
            assert [item.body async for item in messages if isinstance(item, Message)] == [b"2", b"3", b"4"]
        async with listen(hub.url_for("/sub/a"), cursor="c", follow=False) as messages:
            assert [item.body async for item in messages if isinstance(item, Message)] == []


async def test_a_cursor_is_waited_for_and_can_be_taken_over() -> None:
    async with hub_within() as hub:
        url = hub.url_for("/sub/a")
        waiting = trio.Event()

        def on_event(event: client.Event) -> None:
            if isinstance(event, client.Waiting):
                waiting.set()

        async with listen(url, cursor="c"), trio.open_nursery() as nursery:

            async def wait() -> None:
                async with listen(url, cursor="c", timing=replace(SOON, hello_s=0.1), on_event=on_event):
                    pytest.fail("the first one has it")

            nursery.start_soon(wait)
            await waiting.wait()
            nursery.cancel_scope.cancel()
        async with listen(url, cursor="c") as first, listen(f"{url}?takeover=1", cursor="c") as second:
            await hub.publish("a", b"1")
            assert await bodies(second, 1) == [b"1"]
            with pytest.raises(Refused, match="took over"):
                await anext(first)


async def test_a_group_shares_the_work_and_what_a_member_leaves_undone_goes_to_another() -> None:
    async with hub_within() as hub:
        url = hub.url_for("/sub/a")
        async with listen(url, group="g") as one:
            async with listen(url, group="g") as other:
                for n in range(2):
                    await hub.publish("a", str(n).encode())
                in_hand, undone = await next_message(one), await next_message(other)
            again = await next_message(one)
    assert {in_hand.body, undone.body} == {b"0", b"1"}
    assert (again.body, again.redelivered) == (undone.body, True)


# -- a network that goes dead


class Line:
    """A relay in front of a hub, whose connections up to now can be made dead without closing them."""

    def __init__(self, host: str, port: int) -> None:
        self._hub = host, port
        self.died = trio.Event()
        """Set when one that is dead has swallowed something, or another one has taken its place."""
        self._accepted = self._dead = 0

    def die(self) -> None:
        self._dead = self._accepted

    async def serve(self, stream: trio.SocketStream) -> None:
        self._accepted += 1
        mine = self._accepted
        if self._dead:
            self.died.set()
        async with await trio.open_tcp_stream(*self._hub) as hub, trio.open_nursery() as nursery:
            for source, sink in ((stream, hub), (hub, stream)):
                nursery.start_soon(self._relay, source, sink, mine)

    async def _relay(self, source: trio.SocketStream, sink: trio.SocketStream, mine: int) -> None:
        with suppress(trio.BrokenResourceError):  # the listener hangs up
            async for data in source:
                if mine <= self._dead:
                    self.died.set()
                else:
                    await sink.send_all(data)


async def test_a_connection_that_goes_dead_without_a_word_is_replaced_and_nothing_is_missing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with hub_within() as hub, trio.open_nursery() as nursery:
        host, port = hub.url.removeprefix("http://").split(":")
        line = Line(host, int(port))
        [listener] = await nursery.start(partial(trio.serve_tcp, line.serve, 0, host="127.0.0.1"))
        through = hub.url_for("/sub/a").replace(f":{port}", f":{listener.socket.getsockname()[1]}")
        async with listen(through, timing=replace(SOON, silence_s=1.0)) as messages:
            await hub.publish("a", b"1")
            assert await bodies(messages, 1) == [b"1"]
            line.die()
            await hub.publish("a", b"2")
            await line.died.wait()
            await hub.publish("a", b"3")
            assert await bodies(messages, 2) == [b"2", b"3"]
        nursery.cancel_scope.cancel()
    assert "nothing received from the hub" in caplog.text


# -- processes


@asynccontextmanager
async def hub_process(directory: Path) -> AsyncIterator[HubProcess]:
    async with starting() as start:
        hub = HubProcess(start, directory)
        await hub.start()
        yield hub


async def test_a_hub_that_is_killed_and_started_again_in_a_stream_loses_and_doubles_nothing(tmp_path: Path) -> None:
    total = 60

    async def publish_all(hub: HubProcess) -> None:
        for n in range(total):
            await publish(hub.url("/pub/a"), str(n).encode())

    async with (
        hub_process(tmp_path) as hub,
        listen(hub.url("/sub/a")) as messages,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(publish_all, hub)
        arrived = await bodies(messages, total // 3)
        await hub.kill()
        await hub.start()
        arrived += await bodies(messages, total - total // 3)
    assert arrived == [str(n).encode() for n in range(total)]


SCRIPT = """
import sys, hookbot.blocking
with hookbot.blocking.listen(sys.argv[1]) as messages:
    print("listening", flush=True)
    for message in messages:
        print(message.body.decode(), flush=True)
"""


async def test_a_listener_that_was_stopped_wakes_up_and_is_told_what_came_meanwhile(tmp_path: Path) -> None:
    async with hub_process(tmp_path) as hub:
        command = [sys.executable, "-c", SCRIPT, hub.url("/sub/a")]
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
        assert process.stdout
        try:
            assert (await process.stdout.receive_some()).startswith(b"listening")
            process.send_signal(signal.SIGSTOP)
            for n in range(5):
                await publish(hub.url("/pub/a"), str(n))
            await hub.kill()
            await hub.start()
            for n in range(5, 10):
                await publish(hub.url("/pub/a"), str(n))
            process.send_signal(signal.SIGCONT)
            printed = b""
            while len(printed.split()) < 10:
                printed += await process.stdout.receive_some()
        finally:
            process.kill()
            await process.wait()
    assert printed.split() == [str(n).encode() for n in range(10)]
