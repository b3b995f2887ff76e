"""Logging of the process: records on standard error, as text or as JSON, written in the background."""

import json
import logging
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Literal, TextIO

from ..terminal import escaped
from ..web.access_log import logger as access_logger
from .background_output import background_output, drain, loss
from .repeats import RepeatLimit, formatted

# Records that were held back are looked for this often.
SUM_UP_S = 1.0
# A message of hookbot has some two hundred, a long traceback a few thousand.
MAX_CHARACTERS = 16 << 10

# What every record has, and what this package gives it. `taskName` is of Python 3.12.
_NO_FIELDS = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "template", "more"}
# A value is quoted unless one can see where it ends.
_PLAIN = re.compile(r"[^\s\"=\\]+")

Fields = Mapping[str, str | int | float]


class BoundedFormatter(logging.Formatter):
    """Formatter that leaves out the middle of a message or a traceback that is longer than `MAX_CHARACTERS`."""

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name in the library
        """The traceback of an exception."""
        return bounded(super().formatException(ei))


class TextFormatter(BoundedFormatter):
    """Formatter for lines of text: a sentence, and the fields of the record as ``key=value``.

    Further lines of a record are indented, and characters that control a terminal or the direction of text are escaped,
    so that no client can forge a record.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name in the library
        """Line of a record, without its traceback."""
        record.message = bounded(record.message)
        more = getattr(record, "more", 0)
        sentence = super().formatMessage(record) + (f" (and {more} more like it)" if more else "")
        return " ".join([sentence, *(f"{name}={_as_text(value)}" for name, value in fields_of(record).items())])

    def format(self, record: logging.LogRecord) -> str:
        return escaped(super().format(record)).replace("\n", "\n    ")


class JsonFormatter(BoundedFormatter):
    """Formatter for lines of JSON, one object for each record, with the fields of the record among its own."""

    def format(self, record: logging.LogRecord) -> str:
        own: dict[str, str | int | float] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": bounded(record.getMessage()),
        }
        if more := getattr(record, "more", 0):
            own["more"] = more
        if record.exc_info:
            own["exception"] = self.formatException(record.exc_info)
        # None of them can be replaced, and they come first.
        return json.dumps({**own, **fields_of(record), **own})


def fields_of(record: logging.LogRecord) -> Fields:
    """Fields that a record was given as ``extra``: numbers as such, all else as bounded text, and no empty ones."""
    given = ((name, value) for name, value in record.__dict__.items() if name not in _NO_FIELDS)
    return {
        name: value if isinstance(value, int | float) else bounded(str(value))
        for name, value in given
        if value is not None and value != ""
    }


def bounded(text: str) -> str:
    """A text of at most some `MAX_CHARACTERS`, without its middle if it is longer."""
    left_out = len(text) - MAX_CHARACTERS
    half = MAX_CHARACTERS // 2
    return text if left_out <= 0 else f"{text[:half]} [{left_out} characters left out] {text[-half:]}"


class LimitedHandler(logging.StreamHandler[TextIO]):
    """Handler that writes records to standard error within the `RepeatLimit`."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self._limit = RepeatLimit()

    def handle(self, record: logging.LogRecord) -> bool:
        """Write the record, or hold it back; the text of its arguments is made before others have to wait."""
        try:
            record = formatted(record)
        # Its arguments do not fit its template.
        except Exception:  # noqa: BLE001
            self.handleError(record)
            return False
        return bool(super().handle(record))

    def emit(self, record: logging.LogRecord) -> None:
        if admitted := self._limit.admit(record, now_s=monotonic()):
            super().emit(admitted)

    def close(self) -> None:
        """Write everything, for `logging.shutdown`."""
        self.sum_up(everything=True)
        drain(self.stream)
        super().close()

    def sum_up(self, *, everything: bool = False) -> None:
        """Write what was held back long enough, or `everything` that was held back."""
        # The lock that `handle` takes for `emit`.
        assert self.lock
        with self.lock:
            for record in list(self._limit.all_held_back() if everything else self._limit.due(now_s=monotonic())):
                super().emit(record)


@contextmanager
def logging_to_stderr(form: Literal["text", "json"], level: str, *, access_log: bool = False) -> Iterator[None]:
    """Logging to standard error: hookbot's records from `level` on, those of libraries from WARNING on.

    What operators do is logged at any level, and each request with an `access_log`.

    Within the block, neither logging nor `print` ever waits for a reader (`background_output`), and records that are
    alike are limited (`RepeatLimit`).
    """
    formatter = _formatter(form)
    with background_output(lambda lines: formatter.format(_loss(lines))):
        handler = LimitedHandler()
        handler.setFormatter(formatter)
        logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
        logging.getLogger("hookbot").setLevel(level.upper())
        access_logger.setLevel(logging.INFO if access_log else logging.WARNING)
        ended = threading.Event()
        threading.Thread(target=_sum_up_until, args=[ended, handler], name="log repeats", daemon=True).start()
        try:
            yield
        finally:
            ended.set()
            handler.sum_up(everything=True)


def _as_text(value: str | float) -> str:
    text = str(value).lower() if isinstance(value, int | float) else value
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _formatter(form: Literal["text", "json"]) -> logging.Formatter:
    if form == "json":
        return JsonFormatter()
    return TextFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")


def _sum_up_until(ended: threading.Event, handler: LimitedHandler) -> None:
    while not ended.wait(SUM_UP_S):
        handler.sum_up()


def _loss(lines: int) -> logging.LogRecord:
    return logging.LogRecord(__package__, logging.WARNING, __file__, 0, "%s", (loss(lines),), None)
