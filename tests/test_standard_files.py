"""Standard input, output and error that are closed, full or without a reader."""

import io
import os
import subprocess
import sys
import threading

import pytest

from hookbot import standard_files
from hookbot.standard_files import OutputFailed, open_standard_files, write_some
from support import GUARD_S

OPEN = "import os, socket, sys; from hookbot.standard_files import open_standard_files; open_standard_files()\n"


def started(code: str, redirection: str) -> subprocess.CompletedProcess[bytes]:
    """A Python process with a standard file that is closed."""
    words = ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-c", OPEN + code]
    return subprocess.run(words, check=False, capture_output=True, timeout=GUARD_S)


@pytest.mark.parametrize("redirection", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_nothing_gets_the_number_of_one_that_is_closed(redirection: str) -> None:
    assert started("os._exit(socket.socket().fileno())", redirection).returncode > 2


@pytest.mark.parametrize(
    ("redirection", "code"),
    [("<&-", "sys.stdin.buffer.read()"), ("<&-", "os.read(0, 1)"), (">&-", "os.write(1, b'x')"), (">&-", "print('x')")],
)
def test_one_that_is_closed_fails_as_if_it_were_not_open(redirection: str, code: str) -> None:
    ended = started(code, redirection)
    assert ended.returncode == 1
    assert b"Bad file descriptor" in ended.stderr


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_what_standard_error_does_not_take_is_dropped(redirection: str) -> None:
    ended = started("print('x', file=sys.stderr); print('y')", redirection)
    assert (ended.returncode, ended.stdout) == (0, b"y\n")


def test_closed_ones_are_opened_and_have_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr", "__stdout__", "__stderr__"):
        monkeypatch.setattr(sys, name, None)
    free = os.dup(1)
    os.close(free)
    monkeypatch.setattr(standard_files, "_FAILING", {free: os.O_RDONLY})

    open_standard_files()

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(free, b"x")
    os.close(free)
    assert [stream.fileno() for stream in (sys.stdin, sys.stdout, sys.stderr)] == [0, 1, 2]


def test_a_stream_keeps_its_encoding_unless_it_is_not_the_interpreters_own(monkeypatch: pytest.MonkeyPatch) -> None:
    other = io.StringIO()
    ours = io.TextIOWrapper(io.BytesIO(), "latin-1", "replace")
    monkeypatch.setattr(sys, "stdout", ours)
    monkeypatch.setattr(sys, "__stdout__", ours)
    monkeypatch.setattr(sys, "stderr", other)

    open_standard_files()

    assert sys.stdout is not ours
    assert (sys.stdout.encoding, sys.stdout.errors) == ("latin-1", "replace")
    assert sys.stderr is other


def test_a_failure_is_raised_once_and_nothing_is_written_afterwards() -> None:
    with open("/dev/full", "wb") as full:
        file = standard_files._Output(full.fileno())
        with pytest.raises(OutputFailed, match="standard output cannot be written: No space left on device") as failed:
            file.write(b"x")
        assert not failed.value.reader_gone
        assert file.write(b"xy") == 2


def test_a_failure_of_standard_error_is_not_raised() -> None:
    with open("/dev/full", "wb") as full:
        assert standard_files._ErrorOutput(full.fileno()).write(b"xy") == 2


def test_a_reader_who_is_gone_is_no_disk_that_is_full() -> None:
    read, write = os.pipe()
    os.close(read)
    with pytest.raises(OutputFailed) as failed:
        write_some(write, b"x")
    os.close(write)
    assert failed.value.reader_gone


def test_a_pipe_that_another_process_made_non_blocking_is_waited_for() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    filled = write_some(write, bytes(1 << 20))

    reader = threading.Thread(target=os.read, args=[read, filled])
    reader.start()
    assert write_some(write, b"x") == 1

    reader.join()
    os.close(read)
    os.close(write)
