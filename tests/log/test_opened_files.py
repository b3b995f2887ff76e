"""Files that are open here, while others delete, replace and truncate them."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from hookbot.errors import Unavailable
from hookbot.log.opened_files import OpenedFile, WrittenFile

OpenFile = Callable[[Path], OpenedFile]


def never(size: int) -> bool:
    return False


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    return path


@pytest.fixture(params=[OpenedFile, WrittenFile])
def open_file(request: pytest.FixtureRequest) -> Iterator[OpenFile]:
    with ExitStack() as opened:
        yield OpenedFile if request.param is OpenedFile else lambda path: WrittenFile(path, opened)


def test_a_file_may_grow_and_what_was_written_here_may_have_made_it_smaller(path: Path, open_file: OpenFile) -> None:
    opened = open_file(path)

    os.truncate(path, 200)
    opened.check(never)
    os.truncate(path, 50)
    opened.accept()
    opened.check(never)


@pytest.mark.parametrize("left", [0, 99])
def test_a_file_that_was_truncated_is_noticed_before_the_next_write(path: Path, left: int, open_file: OpenFile) -> None:
    opened = open_file(path)
    os.truncate(path, left)

    with pytest.raises(Unavailable, match="file was truncated: nothing is stored until the hub is restarted"):
        opened.check(never)


def test_a_file_that_was_deleted_or_replaced_is_noticed_before_and_after_a_write(
    path: Path, open_file: OpenFile
) -> None:
    opened = open_file(path)
    path.rename(path.with_name("kept"))
    for _ in range(2):
        for check in partial(opened.check, never), opened.accept:
            with pytest.raises(Unavailable, match="file was deleted or replaced: nothing is stored until"):
                check()
        path.write_bytes(bytes(200))


def test_a_file_that_was_truncated_gets_its_size_again(path: Path, open_file: OpenFile) -> None:
    opened = open_file(path)

    os.truncate(path, 0)
    opened.regrow()

    assert path.stat().st_size == 100
    opened.check(never)


def test_a_file_that_was_replaced_is_left_alone(path: Path, open_file: OpenFile) -> None:
    opened = open_file(path)
    path.rename(path.with_name("kept"))
    path.write_bytes(b"theirs")

    opened.regrow()

    assert path.read_bytes() == b"theirs"


def test_a_file_that_cannot_be_looked_at_may_still_be_there(path: Path, tmp_path: Path, open_file: OpenFile) -> None:
    opened = open_file(path)
    path.unlink()
    path.symlink_to(path)

    with pytest.raises(OSError, match="symbolic links"):
        opened.check(never)


def test_a_smaller_size_may_be_right(path: Path, open_file: OpenFile) -> None:
    opened, asked = open_file(path), list[int]()

    def always(size: int) -> bool:
        asked.append(size)
        return True

    opened.check(always)
    os.truncate(path, 50)
    opened.check(always)

    assert asked == [50]
