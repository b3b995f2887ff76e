"""Pauses: somebody holds up what handles messages, and lets it go on."""

from collections.abc import AsyncIterator
from typing import TypeVar

import trio

T = TypeVar("T")


class Pause:
    """A pause of a task, which calls `over` wherever it may be held up. At first there is none."""

    def __init__(self) -> None:
        self._over = trio.Event()
        self._over.set()

    @property
    def is_on(self) -> bool:
        """True from `begin` to `end`."""
        return not self._over.is_set()

    def begin(self) -> None:
        """Hold up the task where it next calls `over`."""
        if not self.is_on:
            self._over = trio.Event()

    def end(self) -> None:
        """Let the task go on."""
        self._over.set()

    async def over(self) -> None:
        """Wait until there is no pause; return at once if there is none."""
        while self.is_on:
            await self._over.wait()

    async def next_of(self, items: AsyncIterator[T]) -> T | None:
        """The next item, not asked for during a pause, or None at the end of the items."""
        await self.over()
        return await anext(items, None)
