"""New files that appear whole: written and synced under another name, and only then renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp


@contextmanager
def new_file(target: Path) -> Iterator[tuple[Path, int]]:
    """Path and descriptor of an empty file that only its owner can read, and that becomes `target` after the block.

    One that is there is replaced. If the block fails, the new one is deleted. Raises `OSError`.
    """
    descriptor, name = mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        give_to_owner(Path(name))
        yield Path(name), descriptor
        os.fsync(descriptor)
        Path(name).replace(target)
        sync_directory(target.parent)
    finally:
        os.close(descriptor)
        Path(name).unlink(missing_ok=True)


def give_to_owner(path: Path) -> None:
    """Have a file belong to the owner of its directory, if root has made it, so that a hub can open it."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def sync_directory(directory: Path) -> None:
    """Have the names in a directory reach the disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
