"""Files of lines: each line is whole, and on disk."""

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from hookbot.delivery.line_file import open_line_file
from support.full_disk import limited_files


def append(path: Path, lines: bytes) -> None:
    with open_line_file(path) as file:
        file.append(lines)


def test_lines_are_appended_to_a_file_that_only_its_owner_can_read(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    append(path, b"1\n2\n")
    append(path, b"3\n")

    assert path.read_bytes() == b"1\n2\n3\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_lines_are_synced_before_anybody_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, synced = tmp_path / "lines", []
    monkeypatch.setattr(os, "fsync", lambda _: synced.append(path.read_bytes()))

    append(path, b"1\n")

    assert synced == [b"1\n"]


@pytest.mark.parametrize("taken", [1, 5])
def test_a_disk_that_becomes_full_leaves_nothing_of_what_was_to_be_appended(tmp_path: Path, taken: int) -> None:
    path = tmp_path / "lines"
    append(path, b"first\n")

    # As a full disk does, it takes what there is room for.
    with limited_files(6 + taken), pytest.raises(OSError, match="File too large"):
        append(path, b"second\n")
    append(path, b"third\n")

    assert path.read_bytes() == b"first\nthird\n"


@pytest.mark.parametrize("whole", [b"first\n", b""])
def test_half_of_a_line_that_a_crash_left_stays_a_line_of_its_own(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "lines"
    path.write_bytes(whole + b"half")

    append(path, b"second\n")

    assert path.read_bytes() == whole + b"half\nsecond\n"


def test_a_file_that_was_deleted_takes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    with open_line_file(path) as file:
        file.append(b"1\n")
        path.rename(tmp_path / "moved")
        file.append(b"2\n")
        (tmp_path / "moved").unlink()

        with pytest.raises(FileNotFoundError):
            file.append(b"3\n")
    assert not path.exists()


def test_a_file_has_one_process_that_appends_to_it(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    with open_line_file(path), pytest.raises(BlockingIOError), open_line_file(path):
        pass
    with open_line_file(path) as file:
        file.append(b"1\n")

    assert path.read_bytes() == b"1\n"


def test_a_file_is_waited_for_while_another_process_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lines"
    with ExitStack() as another:
        another.enter_context(open_line_file(path))
        monkeypatch.setattr("time.sleep", lambda _: another.close())
        with open_line_file(path, wait_s=60) as file:
            file.append(b"1\n")

    assert path.read_bytes() == b"1\n"


@pytest.mark.parametrize("replaced", [True, False])
def test_a_file_that_is_replaced_or_deleted_while_it_is_waited_for_gets_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    path = tmp_path / "lines"
    append(path, b"old\n")

    def wait(descriptor: int, *, wait: bool) -> None:
        monkeypatch.undo()
        path.unlink()
        if replaced:
            path.write_bytes(b"new\n")

    monkeypatch.setattr("hookbot.delivery.line_file.lock", wait)
    append(path, b"1\n")

    assert path.read_bytes() == (b"new\n" if replaced else b"") + b"1\n"


def test_a_pipe_takes_lines(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    append(path, b"1\n")
    append(path, b"2\n")

    assert os.read(reader, 100) == b"1\n2\n"
    os.close(reader)
