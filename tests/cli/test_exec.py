"""``hookbot exec``."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from hookbot.testing.hub import TestHub
from support import GUARD_S
from support.commands import Caller, running
from support.hubs import ThreadHub

HISTORY = ("exec", "--since", "all", "--limit")


def test_the_command_is_run_for_each_message_and_its_output_is_prefixed(thread: ThreadHub, call: Caller) -> None:
    thread.publish("each", b"1", b"2", headers={"X-A": "yes"})
    script = 'cat; echo " $HOOKBOT_HEADER_X_A $0"; echo oops >&2'
    code, out, err = call(*HISTORY, 2, thread.url_for("/sub/each"), "--", "sh", "-c", script, "--flag")
    assert (code, out) == (0, b"each | 1 yes --flag\neach | 2 yes --flag\n")
    assert err.count("each | oops\n") == 2
    assert err.count("  exit 0  ") == 2


def test_what_fails_is_run_again_and_told_how_often(thread: ThreadHub, call: Caller) -> None:
    thread.publish("again", b"1")
    script = 'echo "$HOOKBOT_ATTEMPT"; test "$HOOKBOT_ATTEMPT" = 3'
    code, out, err = call(*HISTORY, 1, thread.url_for("/sub/again"), "--", "sh", "-c", script)
    assert (code, out) == (0, b"again | 1\nagain | 2\nagain | 3\n")
    assert err.count("sh exited with 1; trying again in") == 2


def test_an_exit_code_that_is_told_gives_up_at_once_and_keeps_the_message(
    thread: ThreadHub, call: Caller, state_directory: Path
) -> None:
    thread.publish("malformed", b"0", b"65")
    words = (*HISTORY, 2, "--give-up-on", "64,65", "--cursor", "exec-codes", thread.url_for("/sub/malformed"))

    code, _, err = call(*words, "--", "sh", "-c", "exit $(cat)")

    assert code == 0
    [kept] = (state_directory / "dead-letters").glob("exec-codes-exec-*.jsonl")
    assert "exit 65  " in err
    assert f"sh exited with 65; given up after 1 attempt and kept in {kept}" in err
    assert json.loads(kept.read_text())["failure"] == "sh exited with 65 (1 attempt)"


@pytest.mark.slow
def test_what_takes_too_long_or_fails_too_often_ends_it(thread: ThreadHub, call: Caller) -> None:
    thread.publish("long", b"1")
    options = ("--timeout", "0.2s", "--max-attempts", "1", "--dead-letter", "stop")
    code, _, err = call(*HISTORY, 1, *options, thread.url_for("/sub/long"), "--", "sleep", "30")
    assert code == 1
    assert "sleep exceeded its timeout of 0.2 s and was stopped (1 attempt)" in err


def test_the_hub_may_be_known_already_and_is_not_told_to_the_command(thread: ThreadHub, call: Caller) -> None:
    thread.publish("known", b"1")
    code, out, _ = call(*HISTORY, 1, "--", "env", HOOKBOT_URL=thread.url_for("/sub/known"), HOOKBOT_TOKEN="secret")
    assert code == 0
    assert b"HOOKBOT_TOPIC=known" in out
    assert b"secret" not in out
    assert b"127.0.0.1" not in out


def test_several_run_at_once_in_any_order_if_it_is_said_so(thread: ThreadHub, call: Caller, tmp_path: Path) -> None:
    thread.publish("once", b"1", b"2")
    script = f"n=$(cat); touch {tmp_path}/$n; while [ ! -e {tmp_path}/$((3 - n)) ]; do sleep 0.02; done"
    options = ("--concurrency", "2", "--no-per-topic-serial", "--timeout", "20s")
    assert call(*HISTORY, 2, *options, thread.url_for("/sub/once"), "--", "sh", "-c", script)[0] == 0


@pytest.mark.slow
async def test_a_deployment_skips_to_the_latest(hub: TestHub, tmp_path: Path) -> None:
    script = f"cat; echo; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done"
    async with running("exec", "--latest-only", hub.url_for("/sub/a"), "--", "sh", "-c", script) as process:
        await process.until("listening to")
        await hub.publish("a", b"1")
        await process.until("a | 1", "out")
        await hub.publish("a", b"2")
        await hub.publish("a", b"3")
        await process.until("skipped: there is a newer message")
        (tmp_path / "go").touch()
        await process.until("a | 3", "out")
        assert await process.interrupted() == 130
    assert b"a | 2" not in process.out


@pytest.mark.slow
async def test_ctrl_c_lets_the_command_finish_and_the_second_one_kills_it(hub: TestHub, tmp_path: Path) -> None:
    await hub.publish("a", b"1")
    await hub.publish("a", b"2")
    wait = f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done"
    script = f"cat; echo; sleep 100 & echo $! > {tmp_path}/pid; {wait}; echo end; kill $!"
    words = ("exec", "--cursor", "c", "--since", "all", hub.url_for("/sub/a"), "--", "sh", "-c", script)
    async with running(*words) as process:
        await process.until("a | 1", "out")
        process.signal(signal.SIGTERM)
        await process.until("a second Ctrl-C or SIGTERM stops at once")
        (tmp_path / "go").touch()
        assert await process.ended() == 130
        assert process.out == b"a | 1\na | end\n"
    (tmp_path / "go").unlink()
    (tmp_path / "pid").write_text("")
    async with running(*words) as process:
        await process.until("a | 2", "out")
        while not (pid := (tmp_path / "pid").read_text()):
            await trio.sleep(0.01)
        process.signal(signal.SIGINT)
        await process.until("a second Ctrl-C or SIGTERM stops at once")
        assert await process.interrupted() == 130
        assert process.out == b"a | 2\n"
    with suppress(FileNotFoundError, ProcessLookupError):
        while "\nState:\tZ" not in Path(f"/proc/{int(pid)}/status").read_text():
            await trio.sleep(0.01)


@pytest.mark.slow
async def test_a_terminal_that_is_closed_leaves_no_command_behind_unless_it_was_told_to_stay(
    hub: TestHub, tmp_path: Path
) -> None:
    script = f"cat; echo; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done"
    words = ("exec", "--since", "all", hub.url_for("/sub/a"), "--", "sh", "-c", script)
    ignoring = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)"  # as nohup does
    await hub.publish("a", b"1")
    async with running(*words) as process, running(*words, settings=ignoring) as staying:
        for each in (process, staying):
            await each.until("a | 1", "out")
            each.signal(signal.SIGHUP)
        await process.until("a second Ctrl-C or SIGTERM stops at once")
        (tmp_path / "go").touch()
        assert await process.ended() == 130
        await hub.publish("a", b"2")
        await staying.until("a | 2", "out")


@pytest.mark.slow
async def test_a_command_may_publish_and_does_not_hear_itself(hub: TestHub) -> None:
    publish = f"cat; echo; {Path(sys.executable).parent}/hookbot publish {hub.url_for('/pub/a')} /dev/null"
    async with running("exec", hub.url_for("/sub/a"), "--", "sh", "-c", publish) as process:
        await process.until("listening to")
        await hub.publish("a", b"1")
        await process.until("came back in a loop")
        assert await process.interrupted() == 130
    first, second = await hub.wait_for("a", 2)
    assert (first.hops, len(second.hops)) == ((), 1)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["http://h/sub/a"], 2, "Missing argument 'COMMAND'"),
        (["--", "true"], 2, "there is no profile, and no hub on this machine"),
        (
            ["http://h/sub/a", "--", "no-such-command"],
            2,
            "command not found, or not executable: 'no-such-command'",
        ),
        (
            ["--latest-only", "--no-per-topic-serial", "http://h/sub/a", "--", "true"],
            2,
            "--latest-only and --no-per-topic-serial exclude",
        ),
        (["http://h/unsafe/sub/a", "--", "true"], 3, "add --unsafe"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_run(
    call: Caller, words: list[str], code: int, said: str
) -> None:
    ended, _, err = call("exec", *words)
    assert ended == code
    assert said in err


@pytest.mark.slow
async def test_a_command_that_fails_is_not_done_if_the_parent_ignores_the_ends_of_children(hub: TestHub) -> None:
    await hub.publish("a", b"1")
    stopping = ("--max-attempts", 1, "--dead-letter", "stop")
    words = (*HISTORY, 1, *stopping, hub.url_for("/sub/a"), "--", "false")
    async with running(*words, settings="import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)") as process:
        assert await process.ended() == 1
    assert b"false exited with 1" in process.err


@pytest.mark.slow
def test_a_standard_error_that_nobody_reads_holds_up_nothing(thread: ThreadHub, topic: str, sub: str) -> None:
    thread.publish(topic, b"x")
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    with suppress(BlockingIOError):
        while os.write(theirs, bytes(4096)):
            pass
    os.set_blocking(theirs, True)
    words = [sys.executable, "-m", "hookbot", "exec", "--since", "all", "--limit", "1", sub, "--", "true"]

    assert subprocess.run(words, check=False, stderr=theirs, timeout=GUARD_S).returncode == 0

    os.close(ours)
    os.close(theirs)
