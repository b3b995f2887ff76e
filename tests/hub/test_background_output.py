"""Standard output and standard error whose readers may stop."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from hookbot.hub.background_output import ERRORS, MAX_WAITING_BYTES, BackgroundFile, background_output
from support import GUARD_S

LINE = b"x" * 99 + b"\n"
# More than a pipe and the file hold together.
MANY = 2 * MAX_WAITING_BYTES // len(LINE)


def lost(lines: int) -> str:
    return f"{lines} lost"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe; its reading end is closed by the test, or else at the end."""
    ours, theirs = os.pipe()
    yield ours, theirs
    for end in (ours, theirs):
        with suppress(OSError):
            os.close(end)


def read_until(end: int, last: bytes) -> bytes:
    data = b""
    while not data.endswith(last):
        data += os.read(end, 65536)
    return data


def fill(end: int) -> int:
    """The number of bytes with which an empty pipe is full."""
    os.set_blocking(end, False)
    filled = os.write(end, b"x" * MAX_WAITING_BYTES)
    os.set_blocking(end, True)
    return filled


def test_everything_is_written_in_order(pipe: tuple[int, int]) -> None:
    ours, theirs = pipe
    file = BackgroundFile(theirs, lost)

    for number in range(100):
        file.write(b"%d\n" % number)

    assert file.drain()
    assert os.read(ours, 65536).split() == [b"%d" % number for number in range(100)]


def test_nobody_waits_for_a_reader_that_has_stopped_and_what_it_missed_is_counted(pipe: tuple[int, int]) -> None:
    ours, theirs = pipe
    before = fill(theirs)
    file = BackgroundFile(theirs, lost)

    for _ in range(MANY):
        file.write(LINE)
    assert not file.drain()
    lines = read_until(ours, b" lost\n")[before:].splitlines(keepends=True)

    kept = MAX_WAITING_BYTES // len(LINE)
    assert set(lines[:-1]) == {LINE}
    assert len(lines) == kept + 1
    assert lines[-1] == f"{MANY - kept} lost\n".encode()
    assert file.drain()


@pytest.mark.parametrize(
    ("given", "kept", "dropped"),
    [
        (LINE * MANY, LINE * (MAX_WAITING_BYTES // len(LINE)), MANY - MAX_WAITING_BYTES // len(LINE)),
        (b"x" * (MAX_WAITING_BYTES + 1), b"", 1),
    ],
)
def test_of_what_is_larger_than_the_bound_the_first_lines_are_kept(
    pipe: tuple[int, int], given: bytes, kept: bytes, dropped: int
) -> None:
    ours, theirs = pipe

    BackgroundFile(theirs, lost).write(given)

    assert read_until(ours, b" lost\n") == kept + f"{dropped} lost\n".encode()


def test_what_a_full_disk_did_not_take_is_counted_when_it_takes_something_again(
    pipe: tuple[int, int],
) -> None:
    ours, theirs = pipe
    file = BackgroundFile(theirs, lost)
    with open("/dev/full", "wb") as full:
        file._file = full.fileno()
        for _ in range(2):
            file.write(LINE * 3)
            assert file.drain()

    file._file = theirs
    file.write(b"end\n")

    assert read_until(ours, b"end\n") == b"6 lost\nend\n"


def test_a_pipe_that_another_process_made_non_blocking_is_waited_for(pipe: tuple[int, int]) -> None:
    ours, theirs = pipe
    os.set_blocking(theirs, False)
    file = BackgroundFile(theirs, lost)
    for _ in range(MANY // 4):
        file.write(LINE)
    file.write(b"end\n")

    data = read_until(ours, b"end\n")

    assert data == LINE * (MANY // 4) + b"end\n"


def test_within_the_block_print_never_blocks_and_after_it_all_is_as_before(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = pipe
    with os.fdopen(theirs, "w", closefd=False) as stream:
        monkeypatch.setattr(sys, "stdout", stream)

        with background_output(lost):
            print("hello")
            assert sys.stdout.fileno() == theirs
            assert not sys.stdout.isatty()
            assert sys.stdout is not stream

        assert sys.stdout is stream
    assert os.read(ours, 100) == b"hello\n"


def test_a_stream_whose_reader_has_stopped_stays_replaced(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = pipe
    with os.fdopen(theirs, "w", closefd=False) as stream:
        monkeypatch.setattr(sys, "stdout", stream)

        with background_output(lost):
            for _ in range(MANY):
                print("x" * 99)

        assert sys.stdout is not stream
        # It is written in the end, for a reader that was only slow.
        reader = threading.Thread(target=read_until, args=[ours, b" lost\n"])
        reader.start()
        reader.join(GUARD_S)
        assert not reader.is_alive()


def test_only_the_streams_that_are_named_are_replaced() -> None:
    out, err = sys.stdout, sys.stderr
    with background_output(lost, ERRORS):
        assert sys.stdout is out
        assert sys.stderr is not err


def test_no_thread_is_left_for_a_file_that_is_closed(pipe: tuple[int, int]) -> None:
    before = set(threading.enumerate())
    file = BackgroundFile(pipe[1], lost)
    [writer] = set(threading.enumerate()) - before
    file.write(b"the end\n")

    file.close()

    assert read_until(pipe[0], b"the end\n")
    writer.join(GUARD_S)
    assert not writer.is_alive()


def test_the_streams_that_the_process_began_with_never_block_either(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = pipe
    with os.fdopen(theirs, "w", closefd=False) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "__stdout__", stream)

        with background_output(lost):
            for _ in range(MANY):
                print("x" * 99, file=sys.__stdout__)

        assert sys.__stdout__ is not stream
        read_until(ours, b" lost\n")


def test_what_is_no_file_is_left_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stderr", None)

    with background_output(lost):
        print("hello")

    assert capsys.readouterr().out == "hello\n"
