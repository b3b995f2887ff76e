"""The watch over all subjects of a hub, by one hub of a family; it tells what changes, each change once."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import trio

from ..access.sources import Source
from ..broker.broker import Broker
from ..broker.consumers import Consumers
from ..broker.duties import while_held
from ..errors import Superseded, Unavailable
from ..log.duties import Held
from .backlogs import BacklogRule, BacklogWatch, finder
from .marks import MARK, UP, Mark, read_marks
from .silence import SilenceWatch
from .subjects import AlertShown, Observation, Subject, draft_of, resolved

DUTY = "alerts"
LOOK_INTERVAL_S = 10.0
# What is not told is saved less often: as much of the time may not count after a crash.
SAVE_INTERVAL_S = 60.0

logger = logging.getLogger(__package__)

Watch = SilenceWatch | BacklogWatch


class Alerts:
    """Alerts of a hub: about its sources, and about cursors, groups and routers by its rules."""

    def __init__(
        self,
        broker: Broker,
        consumers: Consumers,
        sources: Callable[[], Iterable[Source]],
        rules: Sequence[BacklogRule],
        *,
        interval_s: float = LOOK_INTERVAL_S,
    ) -> None:
        self.rules = rules
        """Its rules; others after a reload."""
        self.broker = broker
        self.consumers = consumers
        self._sources = sources
        self._interval_s = interval_s

    @property
    def expecting(self) -> Sequence[Source]:
        """Sources that are watched."""
        return [source for source in self._sources() if source.expect_every_s]

    async def firing(self) -> Mapping[str, AlertShown]:
        """Alerts that are firing, by the keys of their subjects, whichever hub has told them. Raises `Unavailable`."""
        return {key: mark.told for key, mark in (await read_marks(self.broker.log)).items() if mark.told}

    async def run(self) -> NoReturn:
        """Watch whenever this hub has the duty, until cancelled."""
        await while_held(self.broker.log.duties, DUTY, self._watch)

    async def _watch(self, held: Held) -> None:
        log = self.broker.log
        # What another hub has stored, before what it has told of that.
        await log.refresh()
        tenure = Tenure(self, held, await read_marks(log))
        while True:
            await tenure.look()
            await trio.sleep(self._interval_s)


@dataclass(slots=True)
class Changes:
    """Changes that one look has found: alerts to tell, and marks to save with them; None deletes one."""

    told: list[AlertShown] = field(default_factory=list)
    marks: dict[str, Mark | None] = field(default_factory=dict)

    def add(self, watch: Watch, mark: Mark | None, found: Observation) -> None:
        """Add what was found of a subject that has this mark in the log."""
        key, before = watch.subject.key, mark.told if mark else None
        if found.wrong and not before:
            self.told.append(watch.subject.firing(found.since_us, found.sentence))
            self.marks[key] = Mark(found.since_us, self.told[-1])
        elif before and found.wrong is False:
            self.told.append(resolved(before, found.sentence))
            self.marks[key] = watch.mark
        elif not before and watch.mark != mark:
            self.marks[key] = watch.mark

    def end(self, key: str, mark: Mark) -> None:
        """Add that a subject is not watched any more."""
        self.marks[key] = None
        if mark.told:
            about = f"the {mark.told['kind']} {mark.told['name']}"
            self.told.append(resolved(mark.told, f"{about} is no longer watched"))


class Tenure:
    """Time in which one hub watches and tells, with what it knows of each subject."""

    def __init__(self, alerts: Alerts, held: Held, marks: Mapping[str, Mark]) -> None:
        self._alerts = alerts
        self._broker = alerts.broker
        self._held = held
        self._marks = dict(marks)
        """Marks as they are in the log: nobody else changes them."""
        self._watches: Mapping[str, Watch] = {}
        up = self._marks.get(UP)
        self._away_us = max(0, self._broker.clock() - up.since_us) if up else 0
        """Time for which no hub was up before the first look; 0 after it."""
        self._saved_s = -SAVE_INTERVAL_S

    async def look(self) -> None:
        """Look at every subject, and tell what has changed. Raises `Superseded` if another hub has taken over."""
        self._watches = {watch.subject.key: watch for watch in self._watched()}
        self._away_us = 0
        changes = Changes()
        for key, watch in self._watches.items():
            try:
                changes.add(watch, self._marks.get(key), await watch.look())
            except Unavailable as error:
                logger.debug("%s cannot be looked at now: %s", watch.subject, error)
        for key in self._marks.keys() - self._watches.keys() - {UP}:
            changes.end(key, self._marks[key])
        if not self._watches and UP in self._marks:
            changes.marks[UP] = None
        # The marks are few, and there would be as many commits as looks.
        due = self._watches and trio.current_time() - self._saved_s >= SAVE_INTERVAL_S
        if changes.told or due or None in changes.marks.values():
            await self._tell(changes)

    def _watched(self) -> Iterator[Watch]:
        """The watch of each subject, which goes on while that is configured as before."""
        for source in self._alerts.expecting:
            key = Subject("source", source.topic).key
            silence = self._watches.get(key)
            if isinstance(silence, SilenceWatch):
                silence.source = source
            else:
                silence = SilenceWatch(self._broker, source, self._marks.get(key), self._away_us)
            yield silence
        for rule in self._alerts.rules:
            backlog = self._watches.get(rule.subject.key)
            if not isinstance(backlog, BacklogWatch) or backlog.rule != rule:
                find = finder(self._broker, self._alerts.consumers, rule.subject)
                backlog = BacklogWatch(self._broker, rule, find)
            yield backlog

    async def _tell(self, changes: Changes) -> None:
        """Publish alerts and save the marks, in one commit. If it fails, the next look finds the same changes."""
        if self._watches:
            changes.marks[UP] = Mark(self._broker.clock())
        cursors = {MARK + key: mark.noted if mark else None for key, mark in changes.marks.items()}
        try:
            await self._broker.commit(list(map(draft_of, changes.told)), cursors=cursors, duty=self._held)
        except Superseded:
            raise
        except Unavailable as error:
            logger.warning("alerts were not told, trying again: %s", error)
            return
        self._saved_s = trio.current_time()
        kept = {**self._marks, **changes.marks}
        self._marks = {key: mark for key, mark in kept.items() if mark}
        for shown in changes.told:
            level = logging.WARNING if shown["state"] == "firing" else logging.INFO
            logger.log(level, "alert: %s", shown["sentence"], extra={"topic": shown["topic"]})
