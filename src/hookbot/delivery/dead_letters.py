"""Dead letters: messages that were tried often enough."""

import json
import os
from pathlib import Path
from typing import Protocol

import trio

from ..client import publish
from ..errors import HookbotError
from ..protocol.envelope import encode_json, to_envelope
from ..protocol.message import Message

_REASON = "Hookbot-Failure"


class GaveUp(HookbotError):
    """A message was tried often enough, and nobody said what to do with it then. It is not acknowledged."""


class DeadLetters(Protocol):
    """A place for what is given up. When `take` returns, the message is safe; otherwise it raises `HookbotError`."""

    async def take(self, message: Message, why: str) -> str:
        """Keep the message, and why it failed; returns where it is, for people."""


class NoDeadLetters:
    """No place at all: the process ends, and the message stays with the hub."""

    async def take(self, message: Message, why: str) -> str:
        """Raises `GaveUp`."""
        raise GaveUp(f"gives up {message.topic} {message.id}: {why}")


class DeadLetterFile:
    """A file with a line of JSON for each message: the envelope, with `failure`. On disk before it is acknowledged."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = trio.Lock()

    async def take(self, message: Message, why: str) -> str:
        """Append the message."""
        line = encode_json({**to_envelope(message), "failure": why}).encode() + b"\n"
        async with self._lock:
            try:
                await trio.to_thread.run_sync(self._append, line)
            except OSError as error:
                raise GaveUp(f"cannot write {message.id} to {self._path}: {error.strerror}") from None
        return str(self._path)

    def _append(self, line: bytes) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with open(descriptor, "ab", buffering=0) as file:
            file.write(line)
            os.fsync(descriptor)


class DeadLetterTopic:
    """A topic of a hub, to which they are published with the reason in a header."""

    def __init__(self, url: str, token: str | None, ca_file: Path | None, hop: str) -> None:
        self._url = url
        self._token = token
        self._ca_file = ca_file
        self._hop = hop

    async def take(self, message: Message, why: str) -> str:
        """Publish the message, once, however often it is given up."""
        reason = json.dumps(why)[1:-1][:1000]
        id = await publish(
            self._url,
            message.body,
            headers=[*message.headers, (_REASON, reason)],
            token=self._token,
            idempotency_key=f"{self._hop}:{message.id}" if message.id else None,
            hops=(*message.hops, self._hop),
            ca_file=self._ca_file,
        )
        return f"the hub, as {id}"
