"""A log in memory that can be slow, and can fail to store."""

from collections.abc import Mapping, Sequence
from typing import Any

import trio

from hookbot.log.contract import NewPosition, Stored
from hookbot.log.memory import MemoryLog
from hookbot.protocol.message import Draft

NO_CURSORS: Mapping[str, NewPosition] = {}


class StubbornLog(MemoryLog):
    """A log that stores when `may_store` is set, unless there is an `error`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.error: Exception | None = None
        self.may_store = trio.Event()
        self.may_store.set()

    def store(self, drafts: Sequence[Draft], done: Stored, *, cursors: Mapping[str, NewPosition] = NO_CURSORS) -> None:
        if self.may_store.is_set():
            self._store_now(drafts, done, cursors)
        else:
            trio.lowlevel.spawn_system_task(self._store_later, drafts, done, cursors)

    async def _store_later(self, drafts: Sequence[Draft], done: Stored, cursors: Mapping[str, NewPosition]) -> None:
        await self.may_store.wait()
        self._store_now(drafts, done, cursors)

    def _store_now(self, drafts: Sequence[Draft], done: Stored, cursors: Mapping[str, NewPosition]) -> None:
        if self.error:
            done(self.error)
        else:
            super().store(drafts, done, cursors=cursors)
