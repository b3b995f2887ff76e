"""Dead letters: messages that are given up after too many failed attempts, and the places where they are kept."""

import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import trio

from ..client import publish
from ..client.address import Address, topic_of
from ..errors import HookbotError, system_reason
from ..protocol.envelope import encode_line, to_envelope
from ..protocol.message import Message

_REASON = "Hookbot-Failure"


class GaveUp(HookbotError):
    """Messages were given up. One that could not be kept as a dead letter is not acknowledged."""


class DeadLetters(Protocol):
    """A place for dead letters."""

    async def take(self, message: Message, why: str) -> str:
        """Store the message and the reason, and return a description of the place for the log.

        When it returns, the message is safe. Raises `HookbotError` if it cannot be stored.
        """


class NoDeadLetters:
    """No place for dead letters: the worker stops at the first one, which stays unacknowledged at the hub."""

    async def take(self, message: Message, why: str) -> str:
        """Raise `GaveUp`."""
        raise GaveUp(f"gives up on {message.topic} {message.id}: {why}")


class DeadLetterFile:
    """A file of JSON lines: the envelope of each message, with the reason as `failure`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = trio.Lock()

    async def take(self, message: Message, why: str) -> str:
        """Append the message, and return when it is on disk. Raises `GaveUp` if the file cannot be written."""
        line = encode_line({**to_envelope(message), "failure": why})
        async with self._lock:
            try:
                await trio.to_thread.run_sync(self._append, line)
            except OSError as error:
                raise GaveUp(f"cannot write {message.id} to {self._path}: {system_reason(error)}") from None
        return str(self._path)

    def _append(self, line: bytes) -> None:
        # Readable only by this user: bodies and headers may hold secrets.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with open(descriptor, "ab", buffering=0) as file:
            # One process at a time, until the file is closed: what is taken back below must not be another's.
            _lock(descriptor)
            status = os.fstat(descriptor)
            whole = status.st_size
            try:
                rest = memoryview(line if self._ends_with_line(whole) else b"\n" + line)
                while rest:
                    rest = rest[file.write(rest) or 0 :]
                # A pipe has no disk to wait for.
                if stat.S_ISREG(status.st_mode):
                    os.fsync(descriptor)
            except OSError:
                # A disk that becomes full has taken a part. A pipe or a device does not give it back.
                with suppress(OSError):
                    os.ftruncate(descriptor, whole)
                raise

    def _ends_with_line(self, size: int) -> bool:
        """False if the file ends with a part of a line, as a crash or a power failure leaves it."""
        # A pipe or a device has no size; nor need a file that can be written be readable.
        with suppress(OSError):
            if size:
                with open(self._path, "rb") as file:
                    file.seek(size - 1)
                    return file.read(1) == b"\n"
        return True


class DeadLetterTopic:
    """A topic of a hub, to which dead letters are published with the reason in the header ``Hookbot-Failure``."""

    def __init__(self, url: str, token: str | None, ca_file: Path | None, hop: str) -> None:
        """Raise `Refused` if the URL is malformed, or that of a subscription."""
        topic_of(Address.parse(url))
        self._url = url
        self._token = token
        self._ca_file = ca_file
        self._hop = hop

    async def take(self, message: Message, why: str) -> str:
        """Publish the message. Raises the errors of `publish`.

        A message with an id that is given up again is not stored twice, as long as the hub keeps its idempotency key.
        """
        # The inside of a JSON string is ASCII on a single line, as a header must be, which has no blanks at its edges.
        reason = json.dumps(why)[1:-1][:1000].strip()
        id = await publish(
            self._url,
            message.body,
            headers=[*message.headers, (_REASON, reason)],
            token=self._token,
            idempotency_key=f"{self._hop}:{message.id}" if message.id else None,
            hops=(*message.hops, self._hop),
            ca_file=self._ca_file,
        )
        return f"the dead-letter topic, as {id}"


def _lock(descriptor: int) -> None:
    # Windows has no such locks, and some network file systems support none.
    with suppress(ImportError, OSError):
        import fcntl  # noqa: PLC0415

        fcntl.flock(descriptor, fcntl.LOCK_EX)
