"""Damage to the file of a log, and disks that are full."""

import os
import random
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import trio

from hookbot.log.retention import Retention
from hookbot.log.sqlite import open_sqlite_log
from hookbot.log.sqlite_file import FILE, PAGE_BYTES
from hookbot.protocol.message import Draft

# Types of b-tree pages that have children (https://www.sqlite.org/fileformat2.html#b_tree_pages).
INTERIOR = {2, 5}

# Of a usual disk: damage is no larger, while SQLite would need a whole page of it to notice each kind.
SECTOR_BYTES = 4096
# Of a page.
SECTORS = PAGE_BYTES // SECTOR_BYTES

# Of the files of version 1.0; those of new files are smaller.
LARGEST_PAGE_BYTES = 16384

GARBAGE = {
    "zeros": bytes(LARGEST_PAGE_BYTES),
    "ones": b"\xff" * LARGEST_PAGE_BYTES,
    "noise": random.Random(1).randbytes(LARGEST_PAGE_BYTES),
}


def write_log(
    directory: Path, drafts: Sequence[Draft], *, cursors: Mapping[str, int], retention: Retention | None = None
) -> bytes:
    """The file of a closed log with these drafts and cursors, all of one time, after retention."""

    async def write() -> None:
        async with open_sqlite_log(directory, clock_us=lambda: 1) as log:
            for start in range(0, len(drafts), 500):
                await log.append(drafts[start : start + 500], cursors=cursors)
            while retention and await log.trim(retention, now_us=2):
                pass

    trio.run(write)
    return (directory / FILE).read_bytes()


@contextmanager
def database(directory: Path) -> Iterator[sqlite3.Connection]:
    """A connection to the file of a log, whose changes are committed."""
    with database_at(directory / FILE) as connection:
        yield connection


@contextmanager
def database_at(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a file, whose changes are committed."""
    with closing(sqlite3.connect(path)) as connection, connection:
        yield connection


def leaves(directory: Path, name: str) -> list[int]:
    """Numbers of the leaf pages of a table or an index, in order. The log has to be closed."""
    data = (directory / FILE).read_bytes()

    def walk(number: int) -> Iterator[int]:
        page = data[(number - 1) * PAGE_BYTES : number * PAGE_BYTES]
        if page[0] not in INTERIOR:
            yield number
            return
        count = int.from_bytes(page[3:5], "big")
        for cell in range(12, 12 + 2 * count, 2):
            start = int.from_bytes(page[cell : cell + 2], "big")
            yield from walk(int.from_bytes(page[start : start + 4], "big"))
        yield from walk(int.from_bytes(page[8:12], "big"))

    return list(walk(root(directory, name)))


def root(directory: Path, name: str) -> int:
    """Number of the root page of a table or an index."""
    with database(directory) as connection:
        [number] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    return int(number)


def spoil(directory: Path, page: int, garbage: str = "noise") -> None:
    """Overwrite a page of the file."""
    with (directory / FILE).open("r+b") as file:
        # As the header of the file says.
        page_bytes = int.from_bytes(file.read(18)[16:], "big")
        file.seek((page - 1) * page_bytes)
        file.write(GARBAGE[garbage][:page_bytes])


def spoil_sector(directory: Path, page: int, sector: int, garbage: str) -> None:
    """Overwrite one of the sectors of a page: the most that a disk writes at once."""
    with (directory / FILE).open("r+b") as file:
        file.seek((page - 1) * PAGE_BYTES + sector * SECTOR_BYTES)
        file.write(GARBAGE[garbage][:SECTOR_BYTES])


def swap(directory: Path, one: int, other: int) -> None:
    """Write two pages to each other's place."""
    with (directory / FILE).open("r+b") as file:
        pages = [(file.seek((page - 1) * PAGE_BYTES), file.read(PAGE_BYTES))[1] for page in (one, other)]
        for page, data in zip((other, one), pages, strict=True):
            file.seek((page - 1) * PAGE_BYTES)
            file.write(data)


@contextmanager
def small_disk(path: Path, size: str = "16m") -> Iterator[Path]:
    """A file system of its own, which only root may mount."""
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("only root can mount a small disk")
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this root may not mount")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(disk: Path, *, leave: int = 0) -> None:
    """Leave this many bytes of a disk, by a file ``filler``."""
    with (disk / "filler").open("ab", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError:
            pass
        filler.truncate(max(0, filler.tell() - leave))


def lose_bodies(directory: Path, *positions: int) -> None:
    """Delete bodies behind the back of a log that is open: its messages are damaged."""
    with database(directory) as connection:
        connection.executemany("DELETE FROM body WHERE position = ?", [(position,) for position in positions])
