"""Limit on log records that are alike: a burst is written, and then one in each interval, with the number of others.

It bounds what untrusted clients can make the hub write, so nothing else needs a limit, unless to make the record costs
too much (`hookbot.access.refusals`): templates of records are constant, and their arguments vary.
"""

import copy
import logging
from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from ..access.audit import logger as audit_logger
from ..web.access_log import logger as access_logger

BURST = 10
INTERVAL_S = 10.0
# After so long without one, the next is written as if it were the first, with its traceback.
FORGOTTEN_S = 600.0
# Records of hookbot have some fifty templates; those of libraries are of one kind once there are so many.
MAX_KINDS = 1000

# Fields that tell kinds apart, so that a flood of one hides none of the others. Of neither are there many.
TELLING = ("status", "provider")
# What operators do, and what they have asked to be told about each request.
UNLIMITED = frozenset({audit_logger.name, access_logger.name})


@dataclass(slots=True)
class _Kind:
    """Records that are alike: how many were admitted, when the last was, and those that were held back since."""

    admitted: int = 0
    admitted_s: float = 0.0
    held_back: int = 0
    last: logging.LogRecord | None = None


def formatted(record: logging.LogRecord) -> logging.LogRecord:
    """Record whose arguments, which may be large or change, are part of its message; its `template` is what it was."""
    # A copy, because each handler gets the same record.
    record = copy.copy(record)
    record.template = str(record.msg) if record.args else (record.pathname, record.lineno)
    record.msg, record.args = record.getMessage(), None
    return record


class RepeatLimit:
    """Limit on `formatted` records of each kind from INFO on. Records below, and of some loggers, are not limited.

    Records are of one kind if logger, level, template (without arguments: the line that logs) and the `TELLING` fields
    are the same, and if their exceptions were raised by the same line. Only the first of a kind has a traceback.
    """

    def __init__(self) -> None:
        self._kinds: dict[Hashable, _Kind] = {}

    def admit(self, record: logging.LogRecord, *, now_s: float) -> logging.LogRecord | None:
        """Record to write now; None if it is held back, to be counted by a later one."""
        if record.levelno < logging.INFO or record.name in UNLIMITED:
            return record
        kind = self._kind(record)
        kind.admitted += 1
        if kind.admitted > 1:
            record = _without_traceback(record)
        if kind.admitted <= BURST or (not kind.held_back and now_s >= kind.admitted_s + INTERVAL_S):
            kind.admitted_s = now_s
            return record
        kind.held_back += 1 + record.__dict__.get("more", 0)
        kind.last = record
        return None

    def due(self, *, now_s: float) -> Iterator[logging.LogRecord]:
        """The last record of each kind that was held back for `INTERVAL_S`; its `more` is the number of others."""
        for key, kind in list(self._kinds.items()):
            if kind.last and now_s >= kind.admitted_s + INTERVAL_S:
                yield _last_of(kind)
                kind.admitted_s = now_s
            elif now_s >= kind.admitted_s + FORGOTTEN_S:
                del self._kinds[key]

    def all_held_back(self) -> Iterator[logging.LogRecord]:
        """The last record of each kind that was held back, however recently."""
        return (_last_of(kind) for kind in self._kinds.values() if kind.last)

    def _kind(self, record: logging.LogRecord) -> _Kind:
        given = record.__dict__
        # Whatever else a library may put there.
        fields = tuple(one if isinstance(one, int | str) else None for one in map(given.get, TELLING))
        key: Hashable = (record.name, record.levelno, given["template"], fields, _origin(record))
        if key not in self._kinds and len(self._kinds) >= MAX_KINDS:
            key = None
        return self._kinds.setdefault(key, _Kind())


def _last_of(kind: _Kind) -> logging.LogRecord:
    assert kind.last
    record, kind.last = kind.last, None
    record.more = kind.held_back - 1
    kind.held_back = 0
    return record


def _origin(record: logging.LogRecord) -> Hashable:
    """Type of the exception of a record, and the line that raised it; None without one."""
    if not record.exc_info or not record.exc_info[1]:
        return None
    kind, _, traceback = record.exc_info
    while traceback and traceback.tb_next:
        traceback = traceback.tb_next
    return kind, traceback and (traceback.tb_frame.f_code.co_filename, traceback.tb_lineno)


def _without_traceback(record: logging.LogRecord) -> logging.LogRecord:
    record = copy.copy(record)
    record.exc_info = record.exc_text = record.stack_info = None
    return record
