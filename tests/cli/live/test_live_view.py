"""Live views on a pseudo-terminal; tests/end_to_end/test_live_view.py has whole commands in a real one."""

import logging
import signal
from collections.abc import AsyncIterator

import pytest
import trio

from hookbot.cli.live.live_view import open_live_view
from hookbot.delivery.outcome import Attempt, Failed, Outcome
from hookbot.delivery.shutdown import Stop
from hookbot.delivery.worker import Policy, Worker
from hookbot.errors import Refused
from hookbot.protocol.message import Message
from support.commands import Caller
from support.pseudo_terminal import pseudo_terminal

DONE = Outcome("200 OK", "200", 0.01)


class Work:
    """Work that fails once for each message, and then waits for the test."""

    def __init__(self) -> None:
        self.attempts: list[int] = []
        self.begun, self.go = trio.Event(), trio.Event()

    async def __call__(self, message: Message, attempt: int) -> Outcome:
        self.attempts.append(attempt)
        if attempt == 1:
            raise Failed(Outcome("not now", "503"), retry_after_s=3600)
        self.begun.set()
        await self.go.wait()
        return DONE


async def only_message() -> AsyncIterator[Message]:
    yield Message("shop", id="abcdefgh-000000000000001")


async def test_what_waits_is_retried_unless_there_is_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    work, stop = Work(), Stop(trio.CancelScope())
    with pseudo_terminal(monkeypatch) as screen:
        async with open_live_view("forward", again=work) as live, trio.open_nursery() as nursery:
            worker = Worker(work, Policy("hop"), lambda message: None, live.deliveries)
            live.attach(worker)
            nursery.start_soon(worker.run, only_message(), stop)
            await screen.until("503, again in")

            screen.press(b"pr")
            await screen.until("paused: the next attempt begins once you press p")
            screen.press(b"pr")
            await work.begun.wait()
            screen.press(b"r")
            await screen.until("an attempt is in progress")
            work.go.set()
            await screen.until("1 done")
            screen.press(b"R")
            await screen.until("none of them waited")
    assert work.attempts == [1, 2]


@pytest.mark.parametrize("error", [None, Failed(Outcome("no", "404")), Refused("no")])
async def test_what_is_done_is_delivered_again_and_finished_at_the_end(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    message = Message("shop")
    go = trio.Event()
    ended = []

    async def again(message: Message, attempt: int) -> Outcome:
        await go.wait()
        ended.append(attempt)
        if error:
            raise error
        return DONE

    with pseudo_terminal(monkeypatch) as screen:
        async with open_live_view("forward", again=again) as live:
            live.deliveries.begun(message, 1)
            live.deliveries.ended(Attempt(message, 1, DONE))
            await screen.until("200 ")
            screen.press(b"r")
            await screen.until("attempt 2 ...")
            go.set()
        [delivery] = live.deliveries

    assert ended == [2]
    assert delivery.state == ("failed" if error else "done")


async def test_the_last_key_ends_the_command_as_ctrl_c_does(monkeypatch: pytest.MonkeyPatch) -> None:
    with pseudo_terminal(monkeypatch) as screen, trio.open_signal_receiver(signal.SIGINT) as signals:
        async with open_live_view("listen"):
            await screen.until("0 received")
            # Draws everything again, which it also does without a reason.
            screen.press(b"\x0c")
            await screen.until("0 received")
            screen.press(b"q")
            assert await anext(signals) == signal.SIGINT


async def test_what_is_logged_stands_on_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pseudo_terminal(monkeypatch) as screen:
        async with open_live_view("listen"):
            logging.getLogger("hookbot.client").warning("not listening to %s", "here")
            await screen.until("not listening to here")
    assert caplog.messages == []


@pytest.mark.parametrize("command", ["listen", "forward"])
def test_without_a_terminal_there_is_no_live_view(call: Caller, command: str) -> None:
    words = (command, "--live", "http://t@127.0.0.1:9/sub/a", *(["3000"] if command == "forward" else []))
    code, _, said = call(*words)
    assert (code, "needs a terminal" in said) == (2, True)
