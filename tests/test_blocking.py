"""Scripts without async, against a hub that lives in another thread or process."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

import pytest
import trio

from hookbot import blocking, client
from hookbot.errors import Unauthorized
from hookbot.protocol.envelope import to_envelope
from hookbot.protocol.message import Message, format_time, wall_clock_us
from hookbot.protocol.replies import parse_reply
from support import GUARD_S
from support.scripted_hub import AT_ONCE, Peer, Script, answering, mid, on_bytes, read_head, scripted_hub

T = TypeVar("T")


listen = partial(blocking.listen, timing=AT_ONCE)


def sending(*numbers: int, then_cut: bool = False) -> Script:
    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.messages(*numbers)
        if then_cut:
            await peer.cut()
        await peer.stay()

    return script


def listeners() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "hookbot-listen"]


async def in_thread(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Run a script in a thread, and raise its exception here."""
    return await trio.to_thread.run_sync(partial(function, *args, **kwargs))


async def test_messages_come_over_several_connections_and_the_thread_ends_with_the_block() -> None:
    def script(url: str) -> list[str]:
        with listen(url, limit=3) as messages:
            assert len(listeners()) == 1
            return [message.id for message in messages if isinstance(message, Message)]

    async with scripted_hub(sending(1, 2, then_cut=True), sending(3)) as hub:
        assert await in_thread(script, hub.url) == [mid(1), mid(2), mid(3)]
    assert listeners() == []


async def test_leaving_early_ends_the_thread_and_tells_the_hub_what_is_done() -> None:
    told, acks = trio.open_memory_channel(10)
    sent = threading.Event()

    def script(url: str) -> None:
        with listen(url, cursor="c", manual_ack=True) as messages:
            # The hub could not send the others once the listener has left.
            assert sent.wait(GUARD_S)
            first = next(messages)
            assert isinstance(first, Message)
            messages.ack(first)

    async def peer_script(peer: Peer) -> None:
        await peer.hello()
        await peer.messages(1, 2, 3)
        sent.set()
        await told.send(await peer.receive())

    async with scripted_hub(peer_script) as hub:
        await in_thread(script, hub.url)
        assert await acks.receive() == {"type": "ack", "id": mid(1)}
    assert listeners() == []


async def test_an_exhausted_stream_stays_exhausted() -> None:
    def script(url: str) -> tuple[list[Any], list[Any], Any]:
        with listen(url, limit=1) as messages:
            return list(messages), list(messages), next(messages, "nothing")

    async with scripted_hub(sending(1)) as hub:
        first, nothing, default = await in_thread(script, hub.url)
    assert len(first) == 1
    assert (nothing, default) == ([], "nothing")


async def test_a_refusal_comes_out_on_entering() -> None:
    def script(url: str) -> None:
        with pytest.raises(Unauthorized), listen(url):
            pass

    async with scripted_hub(answering(401)) as hub:
        await in_thread(script, hub.url)
    assert listeners() == []


async def test_a_refusal_comes_out_of_the_loop() -> None:
    def script(url: str) -> None:
        with listen(url) as messages:
            next(messages)
            with pytest.raises(Unauthorized):
                next(messages)

    async with scripted_hub(sending(1, then_cut=True), answering(401)) as hub:
        await in_thread(script, hub.url)


async def test_what_breaks_inside_comes_out_as_well_and_nobody_waits_for_ever() -> None:
    def on_event(event: client.Connected | client.Waiting | client.Disconnected) -> None:
        if isinstance(event, client.Disconnected):
            raise ZeroDivisionError

    def script(url: str) -> None:
        with listen(url, on_event=on_event) as messages:
            for _ in messages:
                pass

    async with scripted_hub(sending(1, then_cut=True)) as hub:
        with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
            await in_thread(script, hub.url)
    assert listeners() == []


async def test_after_a_crash_every_call_raises_it() -> None:
    crashed = threading.Event()

    def on_event(event: client.Connected | client.Waiting | client.Disconnected) -> None:
        if isinstance(event, client.Disconnected):
            crashed.set()
            raise ZeroDivisionError

    def script(url: str) -> None:
        with listen(url, on_event=on_event) as messages:
            crashed.wait(GUARD_S)
            for thread in listeners():
                thread.join(GUARD_S)
            for _ in range(3):
                with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
                    next(messages)

    async def cutting(peer: Peer) -> None:
        await peer.hello()
        await peer.cut()

    async with scripted_hub(cutting) as hub:
        with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
            await in_thread(script, hub.url)


async def test_after_the_block_there_is_no_further_message() -> None:
    def script(url: str) -> list[Any]:
        with listen(url) as messages:
            pass
        return [next(messages, "nothing") for _ in range(2)]

    async with scripted_hub(sending(1)) as hub:
        assert await in_thread(script, hub.url) == ["nothing", "nothing"]


async def test_publish_returns_the_id() -> None:
    @on_bytes
    async def stored(stream: trio.abc.Stream) -> None:
        await read_head(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nHookbot-Message-Id: id\r\n\r\nOK\n")

    async with scripted_hub(stored) as hub:
        assert await in_thread(blocking.publish, hub.pub, b"") == "id"


async def test_publish_raises_what_the_hub_raised() -> None:
    async with scripted_hub(answering(401)) as hub:
        with pytest.raises(Unauthorized):
            await in_thread(blocking.publish, hub.pub, b"x")


def test_a_wait_looks_up_now_and_then_so_that_ctrl_c_is_noticed() -> None:
    class Late(Future[str]):
        """Has no result before the third question."""

        asked = 0

        def result(self, timeout: float | None = None) -> str:
            self.asked += 1
            if self.asked == 2:
                self.set_result("there")
            return super().result(0 if timeout else None)

    late = Late()

    assert blocking._result(late) == "there"
    assert late.asked == 2


def test_a_result_that_comes_as_the_wait_ends_is_taken() -> None:
    class JustInTime(Future[str]):
        """Gets its result after the wait for it has ended."""

        def result(self, timeout: float | None = None) -> str:
            try:
                return super().result(0 if timeout else None)
            finally:
                if not self.done():
                    self.set_result("there")

    assert blocking._result(JustInTime()) == "there"


def test_both_are_documented_like_what_they_stand_for() -> None:
    assert blocking.listen.__doc__ == client.listen.__doc__
    assert blocking.publish.__doc__ == client.publish.__doc__


SCRIPT = """
import sys, hookbot.blocking
with hookbot.blocking.listen(sys.argv[1], cursor="c") as messages:
    for message in messages:
        print(message.id, flush=True)
"""


@pytest.mark.slow
async def test_ctrl_c_ends_a_script_that_waits_and_the_hub_knows_what_is_done() -> None:
    acked = trio.Event()
    closed, said = trio.open_memory_channel(1)

    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.messages(1, 2)
        while (await peer.receive())["id"] != mid(1):
            pass
        acked.set()
        try:
            await peer.stay()
        finally:
            assert peer.websocket.closed
            closed.send_nowait(peer.websocket.closed.code)

    async with scripted_hub(script) as hub:
        command = [sys.executable, "-c", SCRIPT, hub.url]
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        await acked.wait()
        process.send_signal(signal.SIGINT)
        await process.wait()
        assert process.stdout
        assert process.stderr
        printed = await process.stdout.receive_some()
        complained = await process.stderr.receive_some()
        assert await said.receive() == 1000
    assert printed.decode().split()[0] == mid(1)
    assert process.returncode == -signal.SIGINT
    assert complained.rstrip().endswith(b"KeyboardInterrupt")


async def test_a_script_replies_to_whoever_waits_for_that() -> None:
    told, replies = trio.open_memory_channel(1)

    async def asking(peer: Peer) -> None:
        await peer.hello(time=format_time(wall_clock_us()))
        message = Message("t", id=mid(1), query="reply", time_us=wall_clock_us())
        await peer.send("message", **to_envelope(message))
        told.send_nowait(await peer.receive())
        await peer.stay()

    def script(url: str, announced: bool) -> bool:
        with listen(url, reply=announced) as messages:
            message = next(messages)
            assert isinstance(message, Message)
            messages.reply(message, client.Reply(body=b"yes"))
            return messages.awaits_reply(message)

    async with scripted_hub(asking) as hub:
        assert await in_thread(script, hub.url, True)
        with pytest.raises(ValueError, match="reply=True"):
            await in_thread(script, hub.url, False)
    assert parse_reply(await replies.receive()) == (mid(1), client.Reply(body=b"yes"))
