"""Dead letters: messages that are given up after too many failed attempts, and the places where they are kept."""

import json
from pathlib import Path
from typing import Protocol

import trio

from ..client import publish
from ..client.address import Address, topic_of
from ..errors import HookbotError, system_reason
from ..protocol.envelope import encode_line, to_envelope
from ..protocol.failures import Failure, without_failure
from ..protocol.message import Message
from .line_file import APPENDING_S, open_line_file

# As version 1.0 calls it.
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
            except BlockingIOError:
                reason = "another process writes to it"
            except OSError as error:
                reason = system_reason(error)
            else:
                return f"{self._path} (hookbot retry-file delivers it again)"
        raise GaveUp(f"cannot write {message.id} to {self._path}: {reason}")

    def _append(self, line: bytes) -> None:
        with open_line_file(self._path, wait_s=APPENDING_S) as file:
            file.append(line)


class DeadLetterTopic:
    """A topic of a hub, to which dead letters are published with the headers of a `Failure`."""

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
        failure = Failure(self._hop, message.id, message.topic, reason)
        id = await publish(
            self._url,
            message.body,
            headers=[*without_failure(message.headers), *failure.headers, (_REASON, reason)],
            token=self._token,
            idempotency_key=f"{self._hop}:{message.id}" if message.id else None,
            hops=(*message.hops, self._hop),
            ca_file=self._ca_file,
        )
        return f"the dead-letter topic, as {id}"
