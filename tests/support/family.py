"""A family of hubs that share a log, in one process: a log in memory with a view for each hub, and their duties."""

from collections.abc import Collection, Sequence
from typing import Any

import trio

from hookbot.errors import Superseded, Unavailable
from hookbot.log.contract import News, Stored, Tell, Unit
from hookbot.log.duties import TRIM, Held, Holder, HubInfo
from hookbot.log.memory import MemoryLog


class Family:
    """What the hubs share."""

    def __init__(self, **options: Any) -> None:
        self.log = MemoryLog(**options)
        self.tells: list[Tell] = []
        self.urls: dict[str, str] = {}
        """URL of each hub, by its id."""
        self.holders: dict[str, tuple[str, Held]] = {}
        """Hub and fence of each duty."""
        self.replying: dict[str, Sequence[str]] = {}
        """Patterns of the topics to whose messages the listeners of each hub reply, by its id."""
        self.ends_s = 0.0
        """How long each duty lasts that another hub has, unless that renews it."""
        self.fence = 0
        self.log.follow(self._tell)

    @property
    def served(self) -> set[str]:
        """Names of the cursors and groups that a hub serves."""
        return self.holders.keys() - {TRIM}

    def hub(self, id: str, url: str = "") -> "SharedLog":
        """The log as a hub of this id sees it."""
        self.urls[id] = url
        return SharedLog(self, id)

    def _tell(self, news: News) -> None:
        for tell in self.tells:
            tell(news)


class FamilyDuties:
    """The duties of one hub; one that another hub takes over is lost at once, unless this hub is `frozen`."""

    def __init__(self, family: Family, id: str) -> None:
        self._family = family
        self._id = id
        self.changed = trio.Event()
        self.frozen = False
        self.claims = 0

    def find(self, name: str) -> Held | None:
        hub, held = self._family.holders.get(name, ("", None))
        return held if hub == self._id else None

    async def claim(self, name: str, *, takeover: bool = False) -> Held | Holder:
        await trio.lowlevel.checkpoint()
        self.claims += name != TRIM
        family = self._family
        hub, held = family.holders.get(name, ("", None))
        if hub and hub != self._id and not takeover:
            return Holder(hub, family.urls[hub], family.ends_s)
        family.fence += 1
        mine = Held(name, family.fence)
        family.holders[name] = self._id, mine
        if held and not self.frozen:
            held.lose()
        return mine

    async def give_up(self, held: Held) -> None:
        if self._family.holders.get(held.name, ("", None))[1] is held:
            del self._family.holders[held.name]
        held.lose()

    def tell_configuration(self, digests: str) -> None:
        """Nobody looks at it."""

    @property
    def replying(self) -> Collection[str]:
        others = [patterns for id, patterns in self._family.replying.items() if id != self._id]
        return {pattern for patterns in others for pattern in patterns}

    def tell_replying(self, patterns: Collection[str]) -> None:
        """The others know it at once."""
        self._family.replying[self._id] = list(patterns)

    async def hubs(self) -> Sequence[HubInfo]:
        await trio.lowlevel.checkpoint()
        holders = self._family.holders
        return [
            HubInfo(id, url, "", "", 0, 0.0, 0, [name for name, (hub, _) in holders.items() if hub == id])
            for id, url in self._family.urls.items()
        ]


class SharedLog:
    """A log as one hub of a family sees it: what is stored for a duty that is lost is superseded."""

    def __init__(self, family: Family, id: str) -> None:
        self._family = family
        self.duties = FamilyDuties(family, id)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._family.log, name)

    def follow(self, tell: Tell) -> None:
        self._family.tells.append(tell)

    def store(self, units: Sequence[Unit], done: Stored) -> None:
        valid = [self._is_valid(unit) for unit in units]
        superseded = Superseded("another hub has the duty")
        if not any(valid):
            done([superseded for _ in units])
            return

        def answer(results: Any) -> None:
            if isinstance(results, Unavailable):
                done(results)
                return
            left = iter(results)
            done([next(left) if is_valid else superseded for is_valid in valid])

        self._family.log.store([unit for unit, is_valid in zip(units, valid, strict=True) if is_valid], answer)

    def _is_valid(self, unit: Unit) -> bool:
        return unit.duty is None or self._family.holders.get(unit.duty.name, ("", None))[1] is unit.duty
