"""Limit on the time of a shutdown; each in a process of its own, since it ends it."""

import subprocess
import sys
import threading

from hookbot.hub.shutdown_limit import ShutdownLimit
from support import GUARD_S

BEGIN = """
import logging, os, signal, sys, threading, time
from hookbot.hub.shutdown_limit import ShutdownLimit
logging.basicConfig()
limit = ShutdownLimit()
"""


def run(code: str) -> tuple[int, str]:
    ended = subprocess.run(
        [sys.executable, "-c", BEGIN + code], capture_output=True, text=True, timeout=GUARD_S, check=False
    )
    return ended.returncode, ended.stderr


def test_a_process_that_goes_on_is_ended_with_the_code() -> None:
    code, said = run("limit.start(0.1, code=7); time.sleep(1000)")

    assert code == 7
    assert "the process ends, although not all of its tasks and threads do" in said


def test_a_log_that_is_held_up_itself_is_not_waited_for() -> None:
    code, _ = run("logging.getLogger().handlers[0].acquire(); limit.start(0.1, code=7); time.sleep(1000)")

    assert code == 7


def test_a_later_limit_does_not_give_more_time() -> None:
    code, _ = run("limit.start(0.1, code=7); limit.start(1000, code=8); time.sleep(1000)")

    assert code == 8


def test_a_limit_of_a_thousand_years_is_one() -> None:
    code, said = run("limit.start(1e13, code=7); time.sleep(0.01); limit.stop(); print('ended', file=sys.stderr)")

    assert (code, said) == (0, "ended\n")


def test_the_log_is_written_before_the_process_ends() -> None:
    code, said = run(
        "from hookbot.hub.logging_setup import logging_to_stderr\n"
        "with logging_to_stderr('text', 'info'):\n"
        "    for number in range(100): logging.getLogger('x').warning('number %d', number)\n"
        "    limit.start(0.1, code=7); time.sleep(1000)"
    )

    assert code == 7
    assert "number 99 (and 89 more like it)" in said
    assert "the process ends" in said


def test_an_error_on_its_way_is_logged_with_its_traceback() -> None:
    code, said = run("limit.start(0.1, code=1, error=ValueError('on its way')); time.sleep(1000)")

    assert code == 1
    assert "ValueError: on its way" in said


def test_threads_that_the_interpreter_waits_for_are_named() -> None:
    thread = "threading.Thread(target=time.sleep, args=[1000], name='endless').start()"

    code, said = run(f"{thread}; limit.start(0.1, code=0); limit.stop()")

    assert code == 0
    assert "such as the threads endless" in said


def test_a_function_that_the_interpreter_calls_at_its_end_does_not_hold_it_up() -> None:
    function = "import atexit; atexit.register(time.sleep, 1000)"

    code, said = run(f"{function}; limit.start(0.1, code=0); limit.stop()")

    assert code == 0
    assert "the process ends, although not all of its tasks and threads do" in said


def test_a_limit_for_what_may_be_left_is_started_if_there_is_any() -> None:
    code, said = run("import atexit; atexit.register(threading.Event().wait); limit.start_if_needed(0.1, code=5)")
    assert code == 5
    assert "the process ends, although not all of its tasks and threads do" in said

    assert run("limit.start_if_needed(0, code=5); time.sleep(0.2)") == (0, "")


def test_without_such_threads_there_is_no_limit_after_the_end() -> None:
    limit = ShutdownLimit()
    limit.start(GUARD_S, code=1)
    [timer] = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]

    limit.stop()

    timer.join(GUARD_S)
    assert not timer.is_alive()


def test_it_begins_with_the_first_signal_even_while_nothing_else_runs() -> None:
    code, said = run(
        "seen = []\n"
        "signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))\n"
        "limit.start_at([signal.SIGTERM], 0.1)\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "assert seen == [signal.SIGTERM] * 2\n"
        "while True: pass"
    )

    assert code == 1
    assert "the process ends" in said


def test_code_that_keeps_the_interpreter_to_itself_does_not_hold_it_up() -> None:
    code, _ = run(
        "import re\n"
        "signal.signal(signal.SIGTERM, lambda number, frame: None)\n"
        "limit.start_at([signal.SIGTERM], 0.1)\n"
        "threading.Thread(target=os.kill, args=[os.getpid(), signal.SIGTERM]).start()\n"
        "re.match('(a+)+$', 'a' * 99 + 'b')"
    )

    assert code == 1
