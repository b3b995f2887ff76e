"""Children of the program, also of one that is process 1."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hookbot.cli.children import prepare_for_children
from support import GUARD_S

# Orphans become children of this process (prctl: PR_SET_CHILD_SUBREAPER), as they do of process 1, for which it passes.
INIT = """
import ctypes, os, signal, subprocess, sys
from hookbot.cli.children import prepare_for_children
ctypes.CDLL(None).prctl(36, 1)
own_id, os.getpid = os.getpid, lambda: 1
prepare_for_children()
"""
# A zombie still has its number.
ORPHAN = """
orphan = int(subprocess.run(["sh", "-c", "true & echo $!"], stdout=subprocess.PIPE).stdout)
try:
    while True:
        os.kill(orphan, 0)
except ProcessLookupError:
    sys.exit(subprocess.run(["sh", "-c", "exit 5"]).returncode)
"""


@contextmanager
def process_1(code: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", INIT + code], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("code", "status"),
    [("", 0), ("sys.exit(7)", 7), ("os.kill(own_id(), signal.SIGKILL)", 128 + signal.SIGKILL), (ORPHAN, 5)],
    ids=["done", "failed", "killed", "orphans"],
)
def test_process_1_reaps_orphans_and_ends_as_the_program_does(code: str, status: int) -> None:
    with process_1(code) as process:
        assert process.wait(GUARD_S) == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGRTMIN + 1])
def test_process_1_passes_signals_on(number: int) -> None:
    # Waits for what may have come before; `pause` would not.
    code = "signal.pthread_sigmask(signal.SIG_BLOCK, [NUMBER]); print('ready', flush=True); signal.sigwait([NUMBER])"
    with process_1(f"NUMBER = {number:d}; {code}; sys.exit(9)") as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait(GUARD_S) == 9


def test_a_parent_that_ignores_the_ends_of_children_takes_no_status_away() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        prepare_for_children()
        assert subprocess.run(["false"], check=False).returncode == 1
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_where_there_is_no_such_signal_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(signal, "SIGCHLD")
    prepare_for_children()
