"""Rows of the SQLite log: how a message is stored in them and read back, and many are written. It runs in threads."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple
from functools import cache
from itertools import chain
from time import sleep
from typing import Any, TypeVar
from zlib import crc32

from ..protocol.envelope import encode_json
from ..protocol.message import MAX_TIME_US, Message, Verified, format_id

# Rows of one statement. From this number on, the rows dominate its cost.
ROWS_AT_ONCE = 128
# Rows between two breaks: decoding them takes half a millisecond.
ROWS_PER_BREAK = 64
# The system turns this into about 50 µs, long enough for another thread to take over the interpreter.
BREAK_S = 1e-6

_META = ("headers", "query", "hops", "duplicate_of")

T = TypeVar("T")


def with_breaks(rows: Iterable[T]) -> Iterator[T]:
    """The rows, with breaks: the event loop and the writer would wait for the interpreter's lock until the last one."""
    for number, row in enumerate(rows, start=1):
        if number % ROWS_PER_BREAK == 0:
            sleep(BREAK_S)
        yield row


def encode_meta(message: Message) -> str:
    """JSON of the fields that have no column of their own, and of the checksum of the body."""
    meta: dict[str, Any] = {name: value for name in _META if (value := getattr(message, name))}
    if message.verified:
        # Apart from the source, which older hubs do not know: they can still read the log.
        *meta["verified"], meta["source"] = astuple(message.verified)
    # SQLite has no checksums: in the middle of a large body, damage would go unnoticed.
    if message.body:
        meta["crc32"] = crc32(message.body)
    return encode_json(meta) if meta else "{}"


def decode(epoch: str, rows: list[Any], bodies: bytes) -> Iterator[Message]:
    """Messages from their rows (position, time, topic, length of the body, meta) and their bodies, joined.

    Raises `ValueError` if a body is not the one whose checksum was stored, or a time or a topic cannot be one.
    """
    start = 0
    for position, time_us, topic, length, meta in with_breaks(rows):
        body = bodies[start : start + length]
        # Messages of version 1.0 have none.
        stored = meta.get("crc32")
        if stored is not None and stored != crc32(body):
            raise ValueError(f"the body at position {position} is not what was stored")
        if not (isinstance(topic, str) and 0 <= time_us <= MAX_TIME_US):
            raise ValueError(f"the row at position {position} is garbled")
        yield Message(
            topic=topic,
            body=body,
            headers=tuple(map(tuple, meta.get("headers", ()))),
            query=meta.get("query", ""),
            verified=_verified(meta) if "verified" in meta else None,
            hops=tuple(meta.get("hops", ())),
            duplicate_of=meta.get("duplicate_of"),
            id=format_id(epoch, position),
            time_us=time_us,
        )
        start += length


def _verified(meta: Mapping[str, Any]) -> Verified:
    provider, key, signed_at = meta["verified"]
    return Verified(provider, key, signed_at, meta.get("source"))


def insert_rows(connection: sqlite3.Connection, into: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Write rows with the statement `into`, such as ``INSERT INTO log``, many at once."""
    for run in in_runs(rows):
        connection.execute(_values(into, len(run[0]), len(run)), list(chain.from_iterable(run)))


def in_runs(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Items in runs whose lengths are powers of two, so that few different statements have to be prepared."""
    start = 0
    while rest := len(items) - start:
        length = min(1 << (rest.bit_length() - 1), ROWS_AT_ONCE)
        yield items[start : start + length]
        start += length


@cache
def _values(into: str, columns: int, rows: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return f"{into} VALUES {', '.join([row] * rows)}"
