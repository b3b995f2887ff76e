"""Children of the program: the statuses of its commands, and the orphans that process 1 of a container has to reap."""

import os
import signal
from contextlib import suppress


def prepare_for_children() -> None:
    """Make sure that no status of a child is lost, and that no child stays a zombie.

    Must be called before there are threads. As process 1, this returns in a child only: processes whose parents have
    ended become children of process 1, which could not wait for all of them without taking away the statuses of the
    commands that the program waits for.
    """
    # Windows has no such signal.
    if hasattr(signal, "SIGCHLD"):
        # Whoever ignores it, as our parent may do, is told no status: a command that fails would seem to succeed.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if os.getpid() == 1:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        program = os.fork()
        if program:
            os._exit(_run_init(program))
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run_init(program: int) -> int:
    """Reap all children, pass on signals to the program, and return its exit code when it has ended."""
    while True:
        received = signal.sigwaitinfo(signal.valid_signals())
        if received.si_signo == signal.SIGCHLD:
            for pid, status in _ended_children():
                if pid == program:
                    code = os.waitstatus_to_exitcode(status)
                    # As a shell reports a signal.
                    return code if code >= 0 else 128 - code
        # What a terminal sends reaches the program, too, except a hangup: that is for the first process of the session.
        elif received.si_code <= 0 or received.si_signo == signal.SIGHUP:
            os.kill(program, received.si_signo)


def _ended_children() -> list[tuple[int, int]]:
    ended = []
    with suppress(ChildProcessError):
        while (child := os.waitpid(-1, os.WNOHANG))[0]:
            ended.append(child)
    return ended
