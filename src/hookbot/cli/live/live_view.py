"""Live views: a command that listens, shown on the whole terminal while it runs."""

import signal
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import trio

from ...delivery.outcome import Failed, Outcome
from ...delivery.pause import Pause
from ...delivery.worker import Work, Worker
from ...errors import HookbotError
from .deliveries import Deliveries, Delivery
from .journal import journal
from .screen import Screen
from .terminal import Terminal, open_terminal
from .view import View

# The shortest time between two drawings, unless a key is pressed.
FRAME_S = 0.1
# The longest one, for times that count down, and for a terminal that comes back from another job.
TICK_S = 1.0


class LiveView:
    """A live view of a command, which records in `deliveries` what it does, and waits while the `pause` is on.

    Made by `open_live_view`. It implements `Controls`.
    """

    def __init__(self, again: Work | None, nursery: trio.Nursery) -> None:
        self.deliveries = Deliveries(self.changed)
        self.pause = Pause()
        self._again = again
        self._nursery = nursery
        self._worker: Worker | None = None
        self._changed = trio.Event()
        self._pressed = trio.Event()

    def attach(self, worker: Worker) -> None:
        """Let the keys control a worker, whose observer is `deliveries`."""
        self._worker = worker
        worker.pause = self.pause

    def changed(self) -> None:
        """Have it drawn again soon."""
        self._changed.set()

    @property
    def is_paused(self) -> bool:
        """True while the command is held up."""
        return self.pause.is_on

    def pause_or_go_on(self) -> None:
        """Hold the command up, or let it go on."""
        if self.pause.is_on:
            self.pause.end()
        else:
            self.pause.begin()

    def deliver_again(self, delivery: Delivery) -> str:
        """Begin an attempt at a delivery now, and return "", or why that cannot be."""
        if delivery.state == "running":
            return "an attempt is in progress"
        if delivery.state == "waiting":
            return self._retry([delivery])
        if self._again:
            self.deliveries.begin(delivery.message)
            self._nursery.start_soon(self._deliver, self._again, delivery)
        return ""

    def retry_all(self) -> str:
        """Begin an attempt now at each delivery that waits for one; return how many those are, in words."""
        waiting = [each for each in self.deliveries if each.state == "waiting"]
        return self._retry(waiting) or f"{len(waiting) or 'none'} of them waited for the next attempt"

    def quit(self) -> None:
        """End the command, as Ctrl-C does."""
        signal.raise_signal(signal.SIGINT)

    async def draw(self, view: View, terminal: Terminal) -> None:
        """Draw it, and again at each change, until cancelled."""
        while True:
            self._changed, self._pressed = trio.Event(), trio.Event()
            await terminal.draw(view.draw(*terminal.size()))
            with trio.move_on_after(FRAME_S):
                await self._pressed.wait()
            with trio.move_on_after(TICK_S):
                await self._changed.wait()

    async def heed_keys(self, screen: Screen, terminal: Terminal) -> None:
        """Do what each key says, until the terminal is gone."""

        def press(key: str) -> None:
            if key == "redraw":
                terminal.redraw()
            else:
                screen.press(key)
            self._changed.set()
            self._pressed.set()

        await terminal.read_keys(press)

    def _retry(self, waiting: Collection[Delivery]) -> str:
        if waiting and self.pause.is_on:
            return "paused: the next attempt begins once you press p"
        for each in waiting:
            if self._worker:
                self._worker.retry_now(each.message)
        return ""

    async def _deliver(self, work: Work, delivery: Delivery) -> None:
        message = delivery.message
        try:
            outcome = await work(message, delivery.number)
        except Failed as failed:
            self.deliveries.conclude(message, "failed", failed.outcome)
        except HookbotError as error:
            self.deliveries.conclude(message, "failed", Outcome(str(error)))
        else:
            self.deliveries.conclude(message, "done", outcome)


@asynccontextmanager
async def open_live_view(title: str, *, again: Work | None = None) -> AsyncIterator[LiveView]:
    """Live view for the block, on the terminal of this process, which shows nothing else meanwhile.

    `again` delivers a message once more; without it, the command delivers none. At the end, a delivery that somebody
    has asked for is finished, too. Raises `UsageError` without a terminal.
    """
    with journal() as log, open_terminal() as terminal:
        async with trio.open_nursery() as drawing:
            async with trio.open_nursery() as delivering:
                live = LiveView(again, delivering)
                screen = Screen(live.deliveries, live, title, delivers=again is not None)

                def notice(line: str) -> None:
                    screen.notice = line
                    live.changed()

                log.show = notice
                drawing.start_soon(live.draw, View(screen), terminal)
                drawing.start_soon(live.heed_keys, screen, terminal)
                drawing.start_soon(terminal.heed_signals, live.changed)
                yield live
            drawing.cancel_scope.cancel()
