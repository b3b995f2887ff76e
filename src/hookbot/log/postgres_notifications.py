"""Notifications of the PostgreSQL log, by which a hub hears at once of what it would otherwise have to look for."""

from contextlib import suppress
from typing import NoReturn

import trio

from ..errors import Unavailable
from . import postgres_deletion as deletions
from . import postgres_duty_queries as duties
from .contract import Forget
from .postgres_batch import NEWS
from .postgres_duties import PostgresDuties
from .postgres_follower import Follower
from .postgres_listener import PostgresListener

RETRY_S = 1.0


class Notifications:
    """Notifications for one hub, whose id is `hub`: of messages stored and deleted, and of the duties of all hubs.

    `forget` takes the positions of messages that are deleted, None if they are not known.
    """

    def __init__(
        self, listener: PostgresListener, hub: str, follower: Follower, duties: PostgresDuties, forget: Forget
    ) -> None:
        self._listener = listener
        self._hub = hub
        self._follower = follower
        self._duties = duties
        self._forget = forget

    async def hear(self) -> NoReturn:
        """Heed each, also after the connection was lost, until cancelled."""
        while True:
            try:
                while True:
                    for payload in await self._listener.wait():
                        self.heed(payload)
            except Unavailable:
                # The follower tells that the server cannot be reached, and looks without being notified.
                await trio.sleep(RETRY_S)
            with suppress(Unavailable):
                await self._listener.open()
                # What was notified meanwhile was not heard.
                self._duties.look()
                self._follower.wake()
                self._forget(None)

    def heed(self, payload: str) -> None:
        """Have looked at what a notification is about. Any role of the database may notify, whatever else it may do."""
        match payload.split():
            case [kind] if kind == duties.NOTICE:
                self._duties.look()
            # What this hub has stored it knows, as soon as the writer does.
            case [kind, hub, position] if kind == NEWS and hub != self._hub:
                with suppress(ValueError):
                    if int(position) > self._follower.told:
                        self._follower.wake()
            case [kind, *found] if kind == deletions.NOTICE:
                with suppress(ValueError):
                    self._forget(deletions.notified(found))
