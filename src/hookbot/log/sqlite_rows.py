"""Rows of the SQLite log: how a message is stored in them and read back, and many are written. It runs in threads."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import accumulate, chain, pairwise, repeat
from time import sleep
from typing import Any, NamedTuple, TypeVar
from zlib import crc32

from ..protocol.message import MAX_TIME_US, Message
from .stored_message import Row, StoredMessage, decode_fields

# Rows of one statement. From this number on, the rows dominate its cost.
ROWS_AT_ONCE = 128
# Rows between two breaks: reading them one by one takes half a millisecond.
ROWS_PER_BREAK = 64
# The system turns this into about 50 µs, long enough for another thread to take over the interpreter.
BREAK_S = 1e-6

T = TypeVar("T")


def with_breaks(rows: Iterable[T]) -> Iterator[T]:
    """The rows, with breaks: the event loop and the writer would wait for the interpreter's lock until the last one."""
    for number, row in enumerate(rows, start=1):
        if number % ROWS_PER_BREAK == 0:
            sleep(BREAK_S)
        yield row


class Columns(NamedTuple):
    """Rows of messages, column by column."""

    positions: Sequence[int]
    times_us: Sequence[int]
    topics: Sequence[str]
    sizes: Sequence[int]
    lengths: Sequence[int]
    """Lengths of the bodies."""
    checksums: Sequence[int | None]
    """Checksums of the bodies, from `metas`; None of those that are empty or were stored by version 1.0."""
    metas: Sequence[str]


def decode(epoch: str, columns: Columns, bodies: bytes) -> list[Message]:
    """Messages from their rows and their bodies, joined.

    Raises `ValueError`, `TypeError` or `AttributeError` if a body is not the one whose checksum was stored, or a row is
    garbled.
    """
    positions, times_us, topics, sizes, lengths, checksums, metas = columns
    rows = list(zip(repeat(epoch), positions, times_us, sizes, metas, strict=False))
    parts = [bodies[start:end] for start, end in pairwise(accumulate(lengths, initial=0))]
    if len(metas) != len(positions) or set(map(type, topics)) - {str} or not _are_times(times_us):
        raise ValueError(f"rows from position {positions[0]} are garbled")
    # All at once, since a page has hundreds.
    if list(map(crc32, parts)) != checksums:
        for row, checksum, part in zip(rows, checksums, parts, strict=True):
            _check(row, checksum, part)
    sleep(BREAK_S)
    return list(map(StoredMessage.of, topics, parts, rows))


def _are_times(times_us: Sequence[int]) -> bool:
    return min(times_us, default=0) >= 0 and max(times_us, default=0) <= MAX_TIME_US


def _check(row: Row, checksum: int | None, body: bytes) -> None:
    if checksum is None:
        # Nothing vouches for such a row, so it is decoded at once.
        decode_fields(row)
    elif checksum != crc32(body):
        raise ValueError(f"the body at position {row[1]} is not what was stored")


def insert_rows(connection: sqlite3.Connection, into: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Write rows with the statement `into`, such as ``INSERT INTO log``, many at once. Their first values are not None.

    At each statement, the event loop may keep the interpreter's lock for a while.
    """
    columns = len(rows[0]) if rows else 0
    for run in in_runs(rows, (None,) * columns):
        connection.execute(_values(into, columns, len(run)), list(chain.from_iterable(run)))


def in_runs(items: Sequence[T], padding: T) -> Iterator[Sequence[T]]:
    """Items in runs whose lengths are padded to powers of two, so that few different statements have to be prepared."""
    for start in range(0, len(items), ROWS_AT_ONCE):
        run = items[start : start + ROWS_AT_ONCE]
        length = 1 << (len(run) - 1).bit_length()
        yield [*run, *repeat(padding, length - len(run))]


@cache
def _values(into: str, columns: int, rows: int) -> str:
    row = f"({', '.join('?' * columns)})"
    # Constants of this house; the values are bound.
    return f"{into} SELECT * FROM (VALUES {', '.join([row] * rows)}) WHERE column1 IS NOT NULL"  # noqa: S608
