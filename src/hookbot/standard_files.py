"""Standard input, output and error of a process, which may be closed, full or without a reader."""

import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from .errors import system_reason

# The null device opened the wrong way round fails like a closed file: with EBADF.
_FAILING = {0: os.O_WRONLY, 1: os.O_RDONLY, 2: os.O_WRONLY}


class OutputFailed(Exception):
    """Standard output cannot be written; `reader_gone` if it is a pipe that nobody reads any more.

    Neither a `HookbotError` nor an `OSError`, which would be taken for one of what was about to be printed.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output cannot be written: {system_reason(error)}")
        self.reader_gone = isinstance(error, BrokenPipeError)


@contextmanager
def printing_of(done: str) -> Iterator[None]:
    """Within the block, `OutputFailed` says what is done all the same."""
    try:
        yield
    except OutputFailed as error:
        error.args = (f"{done}, but {error}",)
        raise


def open_standard_files() -> None:
    """Make the standard files of a program safe to use, whatever it was started with.

    One that is closed keeps failing, but its number is taken: a connection would get it otherwise. When standard output
    fails, `OutputFailed` is raised; when standard error does, there is nowhere to tell it. Streams that have replaced
    those of the interpreter are left alone.
    """
    for number, mode in _FAILING.items():
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free is this one.
            os.set_inheritable(os.open(os.devnull, mode), True)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    if sys.stdout is sys.__stdout__:
        sys.stdout = _stream(_Output(1), sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _stream(_ErrorOutput(2), sys.stderr)


def write_some(descriptor: int, data: Any) -> int:
    """Write as much of the data as a file takes at once, and return its size; raises `OutputFailed`."""
    while True:
        try:
            return os.write(descriptor, data)
        # Another process with the same terminal or pipe may have made it non-blocking.
        except BlockingIOError:
            select.select((), (descriptor,), ())
        except OSError as error:
            raise OutputFailed(error) from None


class _Output(io.FileIO):
    """File that fails once. Then it drops everything, as what is still buffered would fail again when Python ends."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._failed = False

    def write(self, data: Any, /) -> int:
        if self._failed:
            return len(data)
        try:
            return write_some(self.fileno(), data)
        except OutputFailed:
            self._failed = True
            raise


class _ErrorOutput(_Output):
    """File that fails unnoticed."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OutputFailed:
            return len(data)


def _stream(file: io.FileIO, like: TextIO | None) -> TextIO:
    encoding, errors = (like.encoding, like.errors) if like else (None, None)
    return io.TextIOWrapper(io.BufferedWriter(file), encoding, errors, line_buffering=True)
