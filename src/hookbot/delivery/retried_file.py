"""Files of dead letters that are delivered again: each that is done is marked at once, and removed at the end."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Self

import trio

from ..errors import HookbotError, system_reason
from ..log.new_files import new_file
from ..protocol.message import Message
from .line_file import APPENDING_S, open_line_file
from .observer import Observer
from .outcome import Attempt
from .recording import DONE, Recording, parse_line


class RetriedFile(Observer):
    """Asynchronous iterator of messages of a file, in which those stay that fail again. Made by `open_retried_file`.

    It is also the observer, and the place of dead letters, of the worker that handles them.
    """

    def __init__(self, path: Path, lines: BinaryIO, marks: FileIO, offsets: Sequence[int], damaged: int) -> None:
        self.damaged = damaged
        """Number of damaged lines, which stay in the file."""
        self._path = path
        self._lines = lines
        self._marks = marks
        self._offsets = offsets
        self._coming = iter(offsets)
        # By identity: the same message may be in the file twice.
        self._held: dict[int, int] = {}
        self._finished = 0

    def __len__(self) -> int:
        return len(self._offsets)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        for offset in self._coming:
            message = await trio.to_thread.run_sync(self._read, offset)
            self._held[id(message)] = offset
            return message
        raise StopAsyncIteration

    def ended(self, attempt: Attempt) -> None:
        """Mark the line of a message that is done: from then on, no process delivers it again, even after a kill."""
        if attempt.has_failed:
            return
        try:
            # A single byte: it is written, or not.
            self._marks.seek(self._held[id(attempt.message)])
            self._marks.write(DONE)
        except OSError as error:
            raise HookbotError(f"cannot write to {self._path}: {system_reason(error)}") from None

    async def take(self, message: Message, why: str) -> str:
        """Do nothing but name the file: the message is there already."""
        return str(self._path)

    def ack(self, message: Message) -> None:
        """Note that a message is finished, whatever became of it."""
        self._finished += 1
        del self._held[id(message)]

    def share(self, _: Message) -> float:
        """Part of the messages that are finished, from 0 to 1."""
        return self._finished / len(self)

    def _read(self, offset: int) -> Message:
        self._lines.seek(offset)
        message = parse_line(self._lines.readline())
        assert isinstance(message, Message)
        return message


@contextmanager
def open_retried_file(path: Path, wanted: Callable[[Message], bool], limit: int | None) -> Iterator[RetriedFile]:
    """The messages in a file that are `wanted`, at most `limit`. After the block, what is done is removed from it.

    Meanwhile others may append to it. Raises `HookbotError` if it is no file, another process retries it, or it cannot
    be rewritten, and `OSError`.
    """
    # Where it is a link, the file itself is replaced.
    path = path.resolve()
    if not path.is_file():
        raise HookbotError(f"{path} is no file from which anything could be removed; `hookbot play` delivers it")
    with _sole(path), open(path, "rb") as lines, open(path, "r+b", buffering=0) as marks:
        # Nobody has written half of a line.
        with _appending(path):
            recording = Recording(lines, str(path))
            found = (recording.offset for item in recording if isinstance(item, Message) and wanted(item))
            offsets = list(islice(found, limit))
        try:
            yield RetriedFile(path, lines, marks, offsets, recording.damaged)
        finally:
            _remove_done(path)


@contextmanager
def _appending(path: Path) -> Iterator[None]:
    """Let nobody append to the file until the block ends."""
    with ExitStack() as stack:
        try:
            stack.enter_context(open_line_file(path, wait_s=APPENDING_S))
        except BlockingIOError:
            raise HookbotError(f"another process writes to {path}") from None
        yield


@contextmanager
def _sole(path: Path) -> Iterator[None]:
    """Let no other process retry the file until the block ends. The file itself stays open to those who append."""
    guard = path.with_name(f"{path.name}.retry")
    with ExitStack() as stack:
        try:
            stack.enter_context(open_line_file(guard))
        except BlockingIOError:
            raise HookbotError(f"another process retries {path}") from None
        try:
            yield
        finally:
            guard.unlink()


def _remove_done(path: Path) -> None:
    """Replace the file by one without the lines that are done. Who waits for it to append opens the new one."""
    try:
        with _appending(path), open(path, "rb") as lines:
            if not any(line.startswith(DONE) for line in lines):
                return
            lines.seek(0)
            with new_file(path) as (draft, descriptor):
                with open(descriptor, "wb", closefd=False) as rest:
                    rest.writelines(line for line in lines if not line.startswith(DONE))
                # Root may retry what a service keeps.
                owner = os.fstat(lines.fileno())
                os.chown(draft, owner.st_uid, owner.st_gid)
                shutil.copymode(path, draft)
    except OSError as error:
        raise HookbotError(
            f"cannot rewrite {path}: {system_reason(error)}; what begins with {DONE.decode()} there was delivered"
        ) from None
