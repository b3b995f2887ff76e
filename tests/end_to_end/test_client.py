"""The client and a hub as they are: processes that are killed and stopped, connections that go dead."""

import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import trio

from hookbot import backoff, client
from hookbot.access.tokens import make_token
from hookbot.client import session, websocket
from hookbot.client.listener import Messages
from hookbot.client.session import Waiting
from hookbot.errors import BodyTooLarge, InvalidTopic, NotFound, Refused, Unauthorized
from hookbot.testing import KEY, open_test_hub
from hookbot.testing.hub import TestHub

BODIES = [b"", b"{}", bytes(range(256)), "ü\x00\u2028".encode(), b"\xff", b"a" * (1 << 20)]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "SHORTEST_S", 0.05)
    monkeypatch.setattr(backoff, "LONGEST_S", 0.2)


@asynccontextmanager
async def hub_within(seconds: int = 30) -> AsyncIterator[TestHub]:
    with trio.fail_after(seconds):
        async with open_test_hub() as hub:
            yield hub


async def bodies(messages: Messages, count: int) -> list[bytes]:
    return [(await anext(messages)).body for _ in range(count)]


# -- a hub in this process


async def test_what_is_published_arrives_as_it_was() -> None:
    headers = [("X-A", "1"), ("X-A", "2"), ("X-B", "ü")]
    async with hub_within() as hub, client.listen(hub.url_for("/sub/a/")) as messages:
        for body in BODIES:
            await client.publish(hub.url_for("/pub/a/b") + "?q=1", body, headers=headers)
        arrived = [await anext(messages) for _ in BODIES]
    assert [message.body for message in arrived] == BODIES
    assert {message.topic for message in arrived} == {"a/b"}
    assert {message.query for message in arrived} == {"q=1"}
    assert [pair for pair in arrived[0].headers if pair[0].startswith("X-")] == headers


async def test_the_id_of_a_publish_is_the_id_that_arrives_and_a_place_to_go_on_from() -> None:
    async with hub_within() as hub:
        first = await client.publish(hub.url_for("/pub/a"), b"1")
        second = await client.publish(hub.url_for("/pub/a"), b"2")
        async with client.listen(hub.url_for("/sub/a"), since=first, follow=False) as messages:
            assert [(message.id, message.body) async for message in messages] == [(second, b"2")]


async def test_the_same_key_is_stored_once() -> None:
    async with hub_within() as hub:
        url = hub.url_for("/pub/a")
        assert await client.publish(url, b"1", idempotency_key="k") == await client.publish(
            url, b"1", idempotency_key="k"
        )
        with pytest.raises(Refused):
            await client.publish(url, b"2", idempotency_key="k")


async def test_history_goes_over_into_what_comes_without_a_seam() -> None:
    async with hub_within() as hub:
        for n in range(300):
            await hub.publish("a", str(n).encode())
        async with client.listen(hub.url_for("/sub/a"), since="all") as messages, trio.open_nursery() as nursery:

            async def go_on() -> None:
                for n in range(300, 600):
                    await hub.publish("a", str(n).encode())

            nursery.start_soon(go_on)
            assert await bodies(messages, 600) == [str(n).encode() for n in range(600)]


async def test_hops_are_passed_on() -> None:
    async with hub_within() as hub, client.listen(hub.url_for("/sub/a")) as messages:
        await client.publish(hub.url_for("/pub/a"), b"", hops=("one", "two"))
        assert (await anext(messages)).hops == ("one", "two")


async def test_what_the_hub_raises_is_raised_here() -> None:
    async with hub_within() as hub:
        for url, error in [
            (hub.url + "/sub/a", Unauthorized),
            (hub.url_for("/sub/b").replace("/sub/b", "/sub/a"), Unauthorized),
            (hub.url_for("/sub/a") + "?since=yesterday", Refused),
            (hub.url_for("/metrics/x"), NotFound),
        ]:
            with pytest.raises(error):
                async with client.listen(url):
                    pass
        for url, body, error in [
            (hub.url + "/pub/a", b"", Unauthorized),
            (hub.url_for("/pub/hookbot/x"), b"", InvalidTopic.__base__),
            (hub.url_for("/pub/a"), b"x" * (26 << 20), BodyTooLarge),
        ]:
            with pytest.raises(error):
                await client.publish(url, body)


async def test_an_unsafe_topic_takes_a_token_and_a_word() -> None:
    async with hub_within() as hub:
        await client.publish(f"{hub.url}/unsafe/pub/a", b"from anybody")
        url = hub.url_for("/unsafe/sub/a")
        with pytest.raises(Refused, match="unsafe"):
            async with client.listen(url):
                pass
        async with client.listen(url, since="all", unsafe=True) as messages:
            message = await anext(messages)
    assert (message.topic, message.body) == ("/unsafe/a", b"from anybody")


# -- cursors and groups


async def test_a_cursor_gives_what_came_while_nobody_listened_and_what_was_in_hand() -> None:
    async with hub_within() as hub:
        async with client.listen(hub.url_for("/sub/a"), cursor="c") as messages:
            for n in range(4):
                await hub.publish("a", str(n).encode())
            assert await bodies(messages, 3) == [b"0", b"1", b"2"]
        await hub.publish("a", b"4")
        async with client.listen(hub.url_for("/sub/a"), cursor="c", follow=False) as messages:
            assert [message.body async for message in messages] == [b"2", b"3", b"4"]
        async with client.listen(hub.url_for("/sub/a"), cursor="c", follow=False) as messages:
            assert [message.body async for message in messages] == []


async def test_a_cursor_is_waited_for_and_can_be_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "HELLO_S", 0.1)
    async with hub_within() as hub:
        url = hub.url_for("/sub/a")
        waiting = trio.Event()

        def on_event(event: Waiting) -> None:
            if isinstance(event, client.Waiting):
                waiting.set()

        async with client.listen(url, cursor="c"), trio.open_nursery() as nursery:

            async def wait() -> None:
                async with client.listen(url, cursor="c", on_event=on_event):
                    pytest.fail("the first one has it")

            nursery.start_soon(wait)
            await waiting.wait()
            nursery.cancel_scope.cancel()
        async with client.listen(url, cursor="c") as first, client.listen(f"{url}?takeover=1", cursor="c") as second:
            await hub.publish("a", b"1")
            assert await bodies(second, 1) == [b"1"]
            with pytest.raises(Refused, match="took over"):
                await anext(first)


async def test_a_group_shares_the_work_and_what_a_member_leaves_undone_goes_to_another() -> None:
    async with hub_within() as hub:
        url = hub.url_for("/sub/a")
        async with client.listen(url, group="g") as one:
            async with client.listen(url, group="g") as other:
                for n in range(2):
                    await hub.publish("a", str(n).encode())
                in_hand, undone = await anext(one), await anext(other)
            again = await anext(one)
    assert {in_hand.body, undone.body} == {b"0", b"1"}
    assert (again.body, again.redelivered) == (undone.body, True)


# -- a network that goes dead


class Line:
    """A relay in front of a hub, whose connections can be made dead without closing them."""

    def __init__(self, host: str, port: int) -> None:
        self._hub = host, port
        self.accepted = 0
        self.dead = False
        self.died = trio.Event()

    async def serve(self, stream: trio.SocketStream) -> None:
        self.accepted += 1
        mine = self.accepted
        async with await trio.open_tcp_stream(*self._hub) as hub, trio.open_nursery() as nursery:
            for source, sink in ((stream, hub), (hub, stream)):
                nursery.start_soon(self._relay, source, sink, mine)

    async def _relay(self, source: trio.SocketStream, sink: trio.SocketStream, mine: int) -> None:
        with suppress(trio.BrokenResourceError):  # the listener hangs up
            async for data in source:
                if self.dead and mine == 1:
                    self.died.set()
                else:
                    await sink.send_all(data)


async def test_a_connection_that_goes_dead_without_a_word_is_replaced_and_nothing_is_missing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(websocket, "SILENCE_S", 0.5)
    async with hub_within() as hub, trio.open_nursery() as nursery:
        host, port = hub.url.removeprefix("http://").split(":")
        line = Line(host, int(port))
        [listener] = await nursery.start(partial(trio.serve_tcp, line.serve, 0, host="127.0.0.1"))
        through = hub.url_for("/sub/a").replace(f":{port}", f":{listener.socket.getsockname()[1]}")
        async with client.listen(through) as messages:
            await hub.publish("a", b"1")
            assert await bodies(messages, 1) == [b"1"]
            line.dead = True
            await hub.publish("a", b"2")
            await line.died.wait()
            await hub.publish("a", b"3")
            assert await bodies(messages, 2) == [b"2", b"3"]
        nursery.cancel_scope.cancel()
    assert "nothing received from the hub" in caplog.text


# -- processes


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


class HubProcess:
    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self._directory = directory

    def url(self, path: str) -> str:
        return f"http://{make_token(KEY, path)}@127.0.0.1:{self.port}{path}"

    async def start(self) -> None:
        command = [sys.executable, "-m", "hookbot", "--key", KEY, "serve", "--bind", f"127.0.0.1:{self.port}"]
        command += ["--data-dir", str(self._directory)]
        self.process = await trio.lowlevel.open_process(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        await self.process.stdout.receive_some()  # it says where it listens

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def hub_process(directory: Path) -> AsyncIterator[HubProcess]:
    hub = HubProcess(directory)
    with trio.fail_after(60):
        await hub.start()
        try:
            yield hub
        finally:
            with trio.CancelScope(shield=True):
                await hub.kill()


async def test_a_hub_that_is_killed_and_started_again_in_a_stream_loses_and_doubles_nothing(tmp_path: Path) -> None:
    total = 60

    async def publish_all(hub: HubProcess) -> None:
        for n in range(total):
            await client.publish(hub.url("/pub/a"), str(n).encode())

    async with (
        hub_process(tmp_path) as hub,
        client.listen(hub.url("/sub/a")) as messages,
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
        try:
            assert (await process.stdout.receive_some()).startswith(b"listening")
            process.send_signal(signal.SIGSTOP)
            for n in range(5):
                await client.publish(hub.url("/pub/a"), str(n))
            await hub.kill()
            await hub.start()
            for n in range(5, 10):
                await client.publish(hub.url("/pub/a"), str(n))
            process.send_signal(signal.SIGCONT)
            printed = b""
            while len(printed.split()) < 10:
                printed += await process.stdout.receive_some()
        finally:
            process.kill()
            await process.wait()
    assert printed.split() == [str(n).encode() for n in range(10)]
