"""Recordings: files of JSON lines with the envelopes of messages, which are written as they come, and read again."""

import json
import logging
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Self

import trio

from ..client import Gap
from ..errors import HookbotError, Refused, system_reason
from ..protocol.envelope import encode_line, from_envelope, to_envelope
from ..protocol.frames import parse_frame
from ..protocol.message import Message
from .line_file import LineFile, open_line_file
from .shutdown import Stop

# What arrives within a moment is one write: each waits for the disk.
GATHER_S = 0.01
GATHER_BYTES = 1 << 20
# Six times the largest body that a listener accepts by default, as the worst body is in JSON, and more.
MAX_LINE_BYTES = 256 << 20
_BLOCK_BYTES = 64 << 10
# How the lines begin that are written here: what else a file ends with, if not with a line, is not ours to remove.
_BEGINNING = b'{"id":"'
DONE = b"#"
"""How a line begins, in place of its first byte, whose message was delivered, and that is about to be removed."""

logger = logging.getLogger(__package__)


class Recorder:
    """Appender of messages to a recording. Made by `open_recorder`."""

    def __init__(self, path: Path, file: LineFile, last_id: str | None) -> None:
        self.last_id = last_id
        """Id of the last message of the file; None if it has none."""
        self.count = 0
        """Number of messages that were appended, and are on disk."""
        self._path = path
        self._file = file

    async def record(
        self, messages: AsyncIterator[Message | Gap], wanted: Callable[[Message], bool], limit: int | None, stop: Stop
    ) -> None:
        """Append messages until they end, there are `limit`, or a request to stop; what has come is then on disk.

        Raises `HookbotError` if the file cannot be written, or a message has no id, and what the messages raise.
        """
        with stop.gently(lambda: None):
            while self.count != limit and (item := await stop.next_of(messages)):
                lines: list[bytes] = []
                try:
                    with trio.move_on_after(GATHER_S):
                        while item:
                            self._take(item, wanted, lines)
                            if self.count + len(lines) == limit or sum(map(len, lines)) > GATHER_BYTES:
                                break
                            item = await stop.next_of(messages)
                finally:
                    with trio.CancelScope(shield=True):
                        await self._append(lines)

    def _take(self, item: Message | Gap, wanted: Callable[[Message], bool], lines: list[bytes]) -> None:
        if isinstance(item, Gap):
            logger.warning("messages before %s are missing (%s)", item.before, item.reason)
        elif not item.id:
            raise Refused("a hub older than 1.0 gives its messages no ids, after which a recording could be resumed")
        elif wanted(item):
            lines.append(encode_line(to_envelope(item)))

    async def _append(self, lines: list[bytes]) -> None:
        if not lines:
            return
        try:
            await trio.to_thread.run_sync(self._file.append, b"".join(lines))
        except OSError as error:
            raise HookbotError(f"cannot write to {self._path}: {system_reason(error)}") from None
        self.count += len(lines)


@contextmanager
def open_recorder(path: Path) -> Iterator[Recorder]:
    """A recorder that goes on behind what is in the file, made if there is none, without half a line at its end.

    Raises `HookbotError` if something else is in it, or another process records to it, and `OSError`.
    """
    if path.exists() and not path.is_file():
        raise HookbotError(f"{path} is no file that can be resumed: `listen --json` prints the same lines to anything")
    try:
        with open_line_file(path) as file:
            yield Recorder(path, file, _resume(path))
    except BlockingIOError:
        raise HookbotError(f"another process writes to {path}") from None


class Recording:
    """Iterator of the messages and gaps in a file of JSON lines, in its order; `name` is that of the file.

    A line that is neither is logged, and skipped. Only the end of a file that was cut off there is no damage.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.damaged = 0
        """Number of damaged lines so far."""
        self.offset = 0
        """Offset of the last line that was read."""
        self._file = file
        self._name = name
        self._number = 0
        self._end = 0

    def __iter__(self) -> Iterator[Message | Gap]:
        return self

    def __next__(self) -> Message | Gap:
        while line := self._file.readline(MAX_LINE_BYTES):
            self._number += 1
            self.offset, self._end = self._end, self._end + len(line)
            try:
                item = parse_line(line)
            except ValueError as error:
                self._skip(line, error)
            else:
                if item:
                    return item
        raise StopIteration

    def _skip(self, line: bytes, error: ValueError) -> None:
        where = f"line {self._number} of {self._name}"
        if line.endswith(b"\n") or len(line) == MAX_LINE_BYTES:
            self.damaged += 1
            logger.error("%s is damaged, and skipped: %s", where, error)
        else:
            logger.warning("%s, the last one, is cut off, and skipped", where)


class Playback:
    """Asynchronous iterator of the messages and gaps in a file of JSON lines, however slow that is to read."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._recording = Recording(file, name)
        status = os.fstat(file.fileno())
        self._size = status.st_size if stat.S_ISREG(status.st_mode) else 0

    @property
    def damaged(self) -> int:
        """Number of damaged lines so far."""
        return self._recording.damaged

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message | Gap:
        item = await trio.to_thread.run_sync(next, self._recording, None, abandon_on_cancel=True)
        if item is None:
            raise StopAsyncIteration
        return item

    def ack(self, message: Message) -> None:
        """Do nothing: a file has no position that would move."""

    def share(self, message: Message) -> float:
        """Part of the file that has been read, from 0 to 1; 0 for one of unknown size, such as a pipe."""
        return self._file.tell() / self._size if self._size else 0.0


def _resume(path: Path) -> str | None:
    """Remove what is behind the last line of a recording, and return the id in that line. Raises as `open_recorder`."""
    with open(path, "r+b") as file:
        last, rest = _end_of(file)
        try:
            message = parse_line(last) if last else None
        except ValueError:
            message = None
        if (last and not isinstance(message, Message)) or not _BEGINNING.startswith(rest[: len(_BEGINNING)]):
            raise HookbotError(f"{path} does not end with a message: give another file, or a new one")
        if rest:
            logger.warning("the last line of %s is cut off: it is removed, and its message fetched again", path)
            file.seek(-len(rest), os.SEEK_END)
            file.truncate()
    return message.id if isinstance(message, Message) else None


def _end_of(file: BinaryIO) -> tuple[bytes, bytes]:
    """The last line of a file that ends as one, and what is behind it."""
    size = file.seek(0, os.SEEK_END)
    length, end = _BLOCK_BYTES, b""
    while len(end) < size and end.count(b"\n") < 2:
        file.seek(max(0, size - length))
        end = file.read()
        length *= 2
    lines, newline, rest = end.rpartition(b"\n")
    return lines.rpartition(b"\n")[2] + newline, rest


def parse_line(line: bytes) -> Message | Gap | None:
    """The message or gap in a line of JSON that came from a hub or a listener; None for anything else with a type.

    None is also one that is `DONE`. Raises `ValueError` if it is not JSON, or neither an envelope nor a frame.
    """
    if line.startswith(DONE):
        return None
    try:
        text = line.decode()
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if isinstance(fields, dict) and "type" in fields:
        frame = parse_frame(text)
        return frame if isinstance(frame, Message | Gap) else None
    return from_envelope(fields)
