"""Commands: their input and environment, their ends, and the processes that they leave behind."""

import math
import os
import resource
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from hookbot.delivery.command import CommandRunner
from hookbot.delivery.outcome import MAX_KEPT_BODY, Failed
from hookbot.delivery.output import Output
from hookbot.protocol.message import Message, Verified
from support import GUARD_S
from support.full_disk import limited_files

SHOW_ENVIRONMENT = "import os; print([(k, v) for k, v in os.environb.items() if k[:8] == b'HOOKBOT_'])"
ID = "abcdefgh-000000000000001"


def make(
    body: bytes = b"{}", topic: str = "t", headers: tuple[()] | list[tuple[str, str]] = (), **fields: Any
) -> Message:
    return Message(topic, body, tuple(headers), id=ID, time_us=1_000_000, **fields)


def runner(*command: str, timeout_s: float = 20.0, **options: Any) -> CommandRunner:
    return CommandRunner(command, "exec-test", timeout_s, **options)


async def run(*command: str, message: Message | None = None, attempt: int = 1, **options: Any) -> str:
    with trio.fail_after(GUARD_S):
        return (await runner(*command, **options).run(message or make(), attempt)).line


def python(code: str) -> tuple[str, ...]:
    return sys.executable, "-c", code


def sh(script: str) -> tuple[str, ...]:
    return "sh", "-c", script


def lines(text: str) -> list[str]:
    return [line.removeprefix("t | ") for line in text.splitlines()]


# -- what it is given


@pytest.mark.parametrize(
    "body", [b"", b"{}", bytes(range(256)), b"x" * (25 << 20)], ids=["empty", "json", "binary", "25 MiB"]
)
async def test_the_body_is_its_standard_input_and_a_file(body: bytes, tmp_path: Path) -> None:
    await run(*sh(f'cd {tmp_path}; cat > stdin; cp "$HOOKBOT_BODY_FILE" file'), message=make(body))
    assert (tmp_path / "stdin").read_bytes() == (tmp_path / "file").read_bytes() == body


async def test_what_it_may_know_is_in_its_environment(capfd: pytest.CaptureFixture[str]) -> None:
    headers = [("X-GitHub-Event", "push"), ("X-A", "1"), ("x-a", "2"), ("Content-Type", "text/\xfc")]
    message = make(
        topic="a/ü", headers=headers, query="x=%20", hops=("b",), verified=Verified("github", "0", source="g/")
    )
    await run(
        *python("import os; print(sorted((k, v) for k, v in os.environb.items() if k[:8] == b'HOOKBOT_'))"),
        message=message,
    )
    seen = dict(eval(capfd.readouterr().out.partition(" | ")[2]))
    assert Path(os.fsdecode(seen.pop(b"HOOKBOT_BODY_FILE"))).is_absolute()
    assert seen == {
        b"HOOKBOT_ATTEMPT": b"1",
        b"HOOKBOT_HEADER_CONTENT_TYPE": b"text/\xfc",
        b"HOOKBOT_HEADER_X_A": b"1, 2",
        b"HOOKBOT_HEADER_X_GITHUB_EVENT": b"push",
        b"HOOKBOT_HOPS": b"b,exec-test",
        b"HOOKBOT_ID": ID.encode(),
        b"HOOKBOT_METHOD": b"POST",
        b"HOOKBOT_QUERY": b"x=%20",
        b"HOOKBOT_TIME": b"1970-01-01T00:00:01.000000Z",
        b"HOOKBOT_TOPIC": "a/ü".encode(),
        b"HOOKBOT_VERIFIED": b"github",
        b"HOOKBOT_VERIFIED_SOURCE": b"g/",
    }


async def test_nothing_else_of_hookbot_is_in_its_environment_and_everything_else_is(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("HOOKBOT_TOKEN", "HOOKBOT_URL", "HOOKBOT_KEY", "HOOKBOT_HEADER_X_OLD"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("MINE", "here")
    await run("env")
    printed = capfd.readouterr().out
    assert "secret" not in printed
    assert "MINE=here" in printed


async def test_no_header_can_pose_as_another(capfd: pytest.CaptureFixture[str]) -> None:
    headers = [("X_GitHub_Event", "liar"), ("X-GitHub-Event", "push"), ("X.Y", "odd"), ("X-Nul", "a\0b")]
    await run("env", message=make(headers=headers))
    printed = lines(capfd.readouterr().out)
    assert "HOOKBOT_HEADER_X_GITHUB_EVENT=push" in printed
    assert "HOOKBOT_HEADER_X_NUL=ab" in printed
    assert not any("liar" in line or "odd" in line for line in printed)


async def test_headers_of_any_name_and_number_become_no_other_variables(capfd: pytest.CaptureFixture[str]) -> None:
    names = ("PATH", "LD-PRELOAD", "LD_PRELOAD", "BODY-FILE", "../X", "A=B", "X\0", "X\r\nPATH", "", "\u0130", "id")
    headers = [(name, "evil\r\nPATH=evil\0") for name in names] + [("X-A", "1")] * 10_000
    await run(
        *python("import os; print(sorted((k, v) for k, v in os.environb.items() if b'evil' in v or b'1, 1' in v))"),
        message=make(headers=headers, topic="evil/../\x1b", query="evil\r\n"),
    )
    seen = dict(eval(capfd.readouterr().out.partition(" | ")[2]))
    assert seen.pop(b"HOOKBOT_TOPIC") == b"evil/../\x1b"
    assert seen.pop(b"HOOKBOT_QUERY") == b"evil\r\n"
    assert len(seen.pop(b"HOOKBOT_HEADER_X_A")) == len("1, ") * 10_000 - 2
    names_kept = ("PATH", "LD_PRELOAD", "BODY_FILE", "ID")
    assert seen == {b"HOOKBOT_HEADER_" + name.encode(): b"evil\r\nPATH=evil" for name in names_kept}


async def test_a_header_that_no_environment_takes_is_a_failure_in_a_sentence() -> None:
    with pytest.raises(Failed, match="cannot run true: Argument list too long"):
        await run("true", message=make(headers=[("X-A", "x" * 1_000_000)]))


async def test_no_shell_reads_anything_of_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    evil = f"$(touch {tmp_path}/evil); `touch {tmp_path}/evil`"
    await run(
        "echo", evil, message=make(evil.encode(), evil.replace("/", "-"), [("X-A", "() { :; }; " + evil)], query=evil)
    )
    assert evil in capfd.readouterr().out
    assert list(tmp_path.iterdir()) == []


async def test_the_body_is_gone_afterwards_and_nobody_else_can_read_it_meanwhile(
    capfd: pytest.CaptureFixture[str],
) -> None:
    await run(*sh('echo "$HOOKBOT_BODY_FILE"; stat -c %a "$(dirname "$HOOKBOT_BODY_FILE")"'))
    path, mode = lines(capfd.readouterr().out)
    assert mode == "700"
    assert not Path(path).exists()


# -- how it ends


async def test_exit_0_is_done() -> None:
    assert (await run("true")).startswith("true succeeded after")


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 3", "sh exited with 3"),
        ("kill -SEGV $$", "sh was killed by SIGSEGV"),
        *((f"kill -{number} $$", f"sh was killed by signal {number}$") for number in range(35, 64)),
    ],
)
async def test_everything_else_failed(script: str, why: str) -> None:
    with pytest.raises(Failed, match=why):
        await run(*sh(script))


async def test_a_command_that_cannot_be_run_failed(tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r"cannot run .*: No such file"):
        await run(str(tmp_path / "nothing"))
    with pytest.raises(Failed, match=r"cannot run .*: Permission denied"):
        await run(str(tmp_path))


@pytest.mark.parametrize("beginning", [b"echo hi\n", b"#!/bin/sh\r\n", b"#!/nonexistent\n", b"\xef\xbb\xbf#!/bin/sh\n"])
async def test_a_script_whose_first_line_names_no_interpreter_is_told(tmp_path: Path, beginning: bytes) -> None:
    script = tmp_path / "deploy"
    script.write_bytes(beginning)
    script.chmod(0o755)
    with pytest.raises(Failed, match=r"cannot run .*; its first line must name an interpreter"):
        await run(str(script))


@pytest.mark.parametrize(
    "script",
    [
        'mv "$HOOKBOT_BODY_FILE" {}',
        'rm -r "$(dirname "$HOOKBOT_BODY_FILE")"',
        'chmod 0 "$(dirname "$HOOKBOT_BODY_FILE")"',
    ],
)
async def test_it_may_take_away_the_file_with_the_body_and_its_directory(tmp_path: Path, script: str) -> None:
    await run(*sh(script.format(tmp_path / "spool")))


async def test_nothing_that_it_puts_beside_the_body_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    await run(*sh('cp "$HOOKBOT_BODY_FILE" "$HOOKBOT_BODY_FILE.copy"'))
    assert list(tmp_path.iterdir()) == []


async def test_an_attempt_whose_body_finds_no_place_failed_and_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reason = "cannot write the body to the temporary directory: "
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(Failed, match=reason + "No such file or directory"):
        await run("true")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    # As on a full disk: the directory is made, the file only in part.
    with limited_files(1000), pytest.raises(Failed, match=reason + "File too large"):
        await run("true", message=make(bytes(2000)))
    assert list(tmp_path.iterdir()) == []

    monkeypatch.setattr(tempfile, "tempdir", None)
    with limited_files(0), pytest.raises(Failed, match=reason + r"No usable temporary directory found in \['/"):
        await run("true")


async def test_more_than_an_environment_can_hold_failed() -> None:
    with pytest.raises(Failed, match=r"cannot run .*: Argument list too long"):
        await run("true", message=make(query="x" * (1 << 20)))


@asynccontextmanager
async def hanging(directory: Path, script: str, said: int, kill_after_s: float) -> AsyncIterator[list[str]]:
    """Run a script until it is stopped; the block begins, with what it has said, when that are so many lines."""
    os.mkfifo(directory / "said")

    async def run_until_stopped() -> None:
        command = runner(*sh(f"exec > {directory}/said; {script}"), timeout_s=3, kill_after_s=kill_after_s)
        with pytest.raises(Failed, match="exceeded its timeout of 3 s and was stopped"):
            await command.run(make(), 1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_until_stopped)
        # Also opened for writing, or a first writer that leaves would be its end.
        with open(os.open(directory / "said", os.O_RDWR)) as file:
            yield [(await trio.to_thread.run_sync(file.readline)).strip() for _ in range(said)]


async def test_a_command_that_hangs_is_asked_to_end(tmp_path: Path, mock_clock: MockClock) -> None:
    script = f"trap 'touch {tmp_path}/told; exit' TERM; echo; while :; do sleep 0.05; done"
    async with hanging(tmp_path, script, said=1, kill_after_s=math.inf):
        mock_clock.rate = 100
    assert (tmp_path / "told").exists()


async def test_a_command_that_does_not_end_when_asked_is_killed_with_all_that_it_started(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    child = "trap '' TERM; echo $$; while :; do sleep 0.05; done"
    script = f'sh -c "{child.replace("$$", chr(92) + "$$")}" & {child}'
    async with hanging(tmp_path, script, said=2, kill_after_s=10) as pids:
        mock_clock.rate = 100
    mock_clock.rate = 1
    for pid in map(int, pids):
        await gone(pid)


async def gone(pid: int) -> None:
    """Wait until the process is gone or a zombie."""
    with trio.fail_after(GUARD_S):
        while is_running(pid):
            await trio.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    # The second one if it ends while its file is read.
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_when_it_is_cancelled_nothing_of_it_goes_on(tmp_path: Path) -> None:
    script = f"sleep 100 & echo $! $$ > {tmp_path}/x; mv {tmp_path}/x {tmp_path}/pids; wait"
    with trio.fail_after(GUARD_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runner(*sh(script)).run, make(), 1)
            while not (tmp_path / "pids").exists():
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    for pid in map(int, (tmp_path / "pids").read_text().split()):
        await gone(pid)


async def test_ctrl_c_on_the_terminal_does_not_reach_it() -> None:
    code = "import os; raise SystemExit(os.getpgid(0) != os.getpid() or os.getsid(0) != os.getpid())"
    await run(*python(code))


async def test_what_it_leaves_in_the_background_is_not_waited_for_and_goes_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pid_file = tmp_path / "pid"
    await run(*sh(f"sleep 100 & echo $! > {pid_file}; echo done"))
    pid = int(pid_file.read_text())
    try:
        assert lines(capfd.readouterr().out) == ["done"]
        assert is_running(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


# -- what it says


async def test_each_line_stands_behind_the_topic(capfd: pytest.CaptureFixture[str]) -> None:
    await run(*sh("echo one; printf 'two\\n\\nthree'; echo oops >&2"), message=make(topic="a/b"))
    assert capfd.readouterr() == ("a/b | one\na/b | two\na/b | \na/b | three\n", "a/b | oops\n")


async def test_a_topic_does_nothing_to_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    await run("echo", "x", message=make(topic="a\u202eb"))
    assert capfd.readouterr().out == "a\\u202eb | x\n"


async def test_what_it_says_last_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(5):
        await run(*python("import sys; sys.stdout.write('x' * 60000 + '\\nend')"))
    assert capfd.readouterr().out.count("t | end\n") == 5


@pytest.mark.slow
async def test_a_lot_of_output_passes_through_without_being_kept(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with open(os.devnull, "wb") as nowhere:
        outputs = Output(nowhere.fileno()), Output(nowhere.fileno())
        await run(*sh("head -c 60000000 /dev/zero; yes | head -c 20000000"), outputs=outputs)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


async def test_a_command_goes_on_when_nobody_reads_its_output(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    outputs = Output(write), Output(write)
    await run(*sh(f"echo 1; echo 2; echo 3; touch {tmp_path}/done"), outputs=outputs)
    os.close(write)
    assert (tmp_path / "done").exists()


STUBBORN = "trap '' TERM; while :; do sleep 0.05; done"


@pytest.mark.slow
@pytest.mark.parametrize(("script", "kill_after_s"), [("exec sleep 100", 10), (STUBBORN, 0.2)])
async def test_where_there_are_no_process_groups_the_command_itself_is_ended(
    monkeypatch: pytest.MonkeyPatch, script: str, kill_after_s: float
) -> None:
    monkeypatch.delattr(os, "killpg")

    with pytest.raises(Failed, match="was stopped"):
        await run(*sh(script), timeout_s=0.2, kill_after_s=kill_after_s)


# -- its output as an answer


async def test_what_it_writes_to_its_output_is_its_answer_and_is_shown_as_ever(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with trio.fail_after(GUARD_S):
        outcome = await runner(*sh("""echo '{"a":'; echo 1}; echo no answer >&2"""), answers=True).run(make(), 1)

    assert outcome.exchange
    assert (outcome.exchange.status, outcome.exchange.body) == (200, b'{"a":\n1}\n')
    assert outcome.exchange.headers == (("Content-Type", "application/json"),)
    shown = capfd.readouterr()
    assert lines(shown.out) == ['{"a":', "1}"]
    assert lines(shown.err) == ["no answer"]


async def test_no_more_of_its_output_is_kept_than_is_answered() -> None:
    with open(os.devnull, "wb") as nowhere, trio.fail_after(GUARD_S):
        outputs = Output(nowhere.fileno()), Output(nowhere.fileno())
        command = python("print('x' * 10_000_000)")
        outcome = await runner(*command, answers=True, outputs=outputs).run(make(), 1)

    assert outcome.exchange
    assert (len(outcome.exchange.body), outcome.exchange.is_whole) == (MAX_KEPT_BODY, False)


async def test_a_command_that_fails_or_was_not_asked_has_no_answer(capfd: pytest.CaptureFixture[str]) -> None:
    with trio.fail_after(GUARD_S):
        with pytest.raises(Failed) as failed:
            await runner(*sh("echo a; exit 1"), answers=True).run(make(), 1)
        outcome = await runner(*sh("echo a")).run(make(), 1)

    assert (failed.value.outcome.exchange, outcome.exchange) == (None, None)
