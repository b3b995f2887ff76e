"""The journal of a live view: what the program logs, on one line of the screen in place of across it."""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Errors that are told again afterwards, as the screen is gone then.
_KEPT_ERRORS = 20


class Journal(logging.Handler):
    """A handler that passes each record to `show` as a line, except those of attempts, which are shown otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.show: Callable[[str], object] = lambda line: None
        self.errors: deque[logging.LogRecord] = deque(maxlen=_KEPT_ERRORS)

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record, and keep it if it is an error."""
        if record.levelno >= logging.ERROR:
            self.errors.append(record)
        if not hasattr(record, "attempt"):
            self.show(record.getMessage())


@contextmanager
def journal() -> Iterator[Journal]:
    """Handler of all that is logged within the block; at its end, the last errors are logged again, as ever."""
    ours, theirs = Journal(), logging.root.handlers
    logging.root.handlers = [ours]
    try:
        yield ours
    finally:
        logging.root.handlers = theirs
        for record in ours.errors:
            logging.root.handle(record)
