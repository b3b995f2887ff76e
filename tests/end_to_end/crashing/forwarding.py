"""`hookbot forward`, which is never restarted itself: its target gets each message once."""

import os
import subprocess
import sys

import trio

from end_to_end.crashing.hub import Reachable
from end_to_end.crashing.listeners import Heard, Listener, compare
from end_to_end.crashing.senders import digest
from hookbot.access.tokens import make_token
from support import KEY
from support.targets import Target


class Forward(Listener):
    """The target of a `hookbot forward` with a cursor, or in a group."""

    def __init__(self, hub: Reachable, name: str, topic: str, *options: str, seed: str) -> None:
        super().__init__(hub, name, topic, seed=seed)
        self._options = options
        self._target = Target()
        self._running = trio.CancelScope()

    @property
    def heard(self) -> list[Heard]:
        """The requests in the order in which they arrived: no more than the body says which message one is."""
        return [Heard("", "", self.topic, digest(request.body)) for request in self._target.requests]

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            await self._target.up(nursery)
            command = [sys.executable, "-m", "hookbot", "forward", "--since", "all", *self._options]
            command += [self.hub.url(self.path), self._target.url]
            with self._running:
                self.begin(self.hub.life, "")
                await trio.run_process(
                    command,
                    env=os.environ | {"HOOKBOT_TOKEN": make_token(KEY, self.path)},
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            self._target.down()

    def end(self) -> None:
        self._running.cancel()

    def check(self, expected: list[Heard]) -> int:
        compare(self.name, [heard.body for heard in self.heard], [message.body for message in expected])
        return 0
