"""Listeners by hookbot's client, which reconnects and resumes on its own."""

from typing import Any

import trio

import hookbot
from end_to_end.crashing.hub import Reachable
from end_to_end.crashing.listeners import Heard, Listener
from end_to_end.crashing.senders import QUICK_BACKOFF, digest
from hookbot.access.tokens import make_token
from hookbot.client import Connected, Timing
from hookbot.protocol.message import format_time
from support import KEY


class Client(Listener):
    """A listener by hookbot's client, which reconnects and resumes on its own, also with a cursor or in a group."""

    async def run(self) -> None:
        with self._running:
            await self.listen_with(since="all", **self._options)

    def __init__(self, hub: Reachable, name: str, topic: str, *, seed: str = "", **options: Any) -> None:
        super().__init__(hub, name, topic, seed=seed)
        self._options = options
        self._running = trio.CancelScope()

    def end(self) -> None:
        self._running.cancel()

    async def listen_with(self, **options: Any) -> None:
        token = make_token(KEY, self.path)
        async with hookbot.listen(
            self.hub.url(self.path),
            token=token,
            on_event=self._on_event,
            timing=Timing(backoff=QUICK_BACKOFF),
            **options,
        ) as messages:
            async for message in messages:
                if isinstance(message, hookbot.Gap):
                    self.note_gap(message)
                else:
                    self.note(Heard(message.id, format_time(message.time_us), message.topic, digest(message.body)))

    def _on_event(self, event: object) -> None:
        if isinstance(event, Connected):
            self.begin(self.hub.life, "")


class ClientCursor(Client):
    """Our own client with a cursor, in a program that is restarted every few seconds."""

    async def run(self) -> None:
        with self._running:
            while True:
                with trio.move_on_after(self.random.uniform(1, 6)):
                    await self.listen_with(cursor=self.name, since="all")

    def check(self, expected: list[Heard]) -> int:
        return self.check_acknowledged(expected)
