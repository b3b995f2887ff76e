"""A log in memory that can be slow, and can fail to store."""

from collections.abc import Sequence
from typing import Any

import trio

from hookbot.log.contract import Stored, Unit
from hookbot.log.memory import MemoryLog


class StubbornLog(MemoryLog):
    """A log that stores when `may_store` is set, unless there is an `error`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.error: Exception | None = None
        self.may_store = trio.Event()
        self.may_store.set()

    def store(self, units: Sequence[Unit], done: Stored) -> None:
        if self.may_store.is_set():
            self._store_now(units, done)
        else:
            trio.lowlevel.spawn_system_task(self._store_later, units, done)

    async def _store_later(self, units: Sequence[Unit], done: Stored) -> None:
        await self.may_store.wait()
        self._store_now(units, done)

    def _store_now(self, units: Sequence[Unit], done: Stored) -> None:
        if self.error:
            done(self.error)
        else:
            super().store(units, done)
