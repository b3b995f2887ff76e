"""``hookbot record`` and ``hookbot play``."""

import signal
import sys
from pathlib import Path

import pytest
import trio

from hookbot.delivery.line_file import open_line_file
from hookbot.delivery.recording import parse_line
from hookbot.protocol.envelope import encode_line, to_envelope
from hookbot.protocol.message import Message
from hookbot.testing import open_test_hub
from support.commands import Caller, on_terminal, starting
from support.hubs import ThreadHub
from support.targets import target

STORED = ("record", "--since", "all", "--no-follow")


def recorded(path: Path) -> list[Message]:
    messages = map(parse_line, path.read_bytes().splitlines())
    return [message for message in messages if isinstance(message, Message)]


def test_messages_are_recorded_once_whenever_it_runs(
    thread: ThreadHub, topic: str, sub: str, call: Caller, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    thread.publish(topic, b"1", b"\xff", headers={"X-A": "1"})
    first = call(*STORED, path, sub)
    thread.publish(topic, b"3", b"4", b"5")
    second = call(*STORED, path, sub, "--limit", "2")
    third = call(*STORED, path, sub)

    assert [first, second, third] == [
        (0, b"", f"2 messages recorded in {path}\n"),
        (0, b"", f"2 messages recorded in {path}\n"),
        (0, b"", f"1 message recorded in {path}\n"),
    ]
    assert recorded(path) == thread.wait_for(topic, 5)


def test_only_what_matches_is_recorded(thread: ThreadHub, topic: str, sub: str, call: Caller, tmp_path: Path) -> None:
    thread.publish(topic, b"1", b"2")
    assert call(*STORED, "--where", "body == `2`", tmp_path / "a.jsonl", sub)[0] == 0
    assert [message.body for message in recorded(tmp_path / "a.jsonl")] == [b"2"]


def test_a_file_in_use_and_one_of_something_else_are_left_alone(sub: str, call: Caller, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("notes\n")
    assert call(*STORED, tmp_path / "notes", sub)[0] == 1
    with open_line_file(tmp_path / "a.jsonl"):
        assert "another process writes to" in call(*STORED, tmp_path / "a.jsonl", sub)[2]
    assert call(*STORED, tmp_path / "missing" / "a.jsonl", sub)[0] == 2
    assert (tmp_path / "notes").read_text() == "notes\n"


@pytest.mark.parametrize("query", ["cursor=a", "group=a", "order=newest"])
def test_a_url_with_another_position_or_order_is_refused(sub: str, call: Caller, tmp_path: Path, query: str) -> None:
    code, _, told = call(*STORED, tmp_path / "a.jsonl", f"{sub}?{query}")

    assert (code, "names no cursor" in told) == (2, True)
    assert not (tmp_path / "a.jsonl").exists()


@pytest.mark.slow
async def test_ctrl_c_and_a_kill_lose_nothing_that_was_recorded(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with trio.fail_after(50):
        async with open_test_hub() as hub, starting() as start:
            for number, end in enumerate((signal.SIGINT, signal.SIGKILL, signal.SIGINT)):
                await hub.publish("a", str(number).encode())
                process = await start("record", "--since", "all", path, hub.url_for("/sub/a"))
                while not path.exists() or len(path.read_bytes().splitlines()) <= number:
                    await trio.sleep(0.01)
                process.signal(end)
                assert await process.ended() == (130 if end == signal.SIGINT else -end)

    assert [message.body for message in recorded(path)] == [b"0", b"1", b"2"]
    assert b"1 message recorded in" in process.err


def test_what_was_recorded_is_played(thread: ThreadHub, topic: str, sub: str, call: Caller, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    thread.publish(topic, b"1", b"2", b"3", headers={"X-A": "1"})
    call(*STORED, path, sub)
    server = thread.target()

    code, out, err = call("play", path, "--to", server.url, "-H", "X-B: 2", "--where", "body != `2`", "--limit", "2")

    assert (code, out) == (0, b"")
    assert err.startswith("2 played, 1 skipped, in ")
    assert [request.body for request in server.requests] == [b"1", b"3"]
    assert {request.all(name)[0] for request in server.requests for name in ("X-A", "X-B")} == {"1", "2"}


def test_it_is_published_again_as_often_as_it_is_played(
    thread: ThreadHub, topic: str, sub: str, pub: str, call: Caller, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    thread.publish(topic, b"1")
    call(*STORED, path, sub)
    for _ in range(2):
        assert call("play", "--publish", pub, path)[0] == 0
    assert [message.body for message in thread.wait_for(topic, 3)] == [b"1"] * 3


def line(body: bytes, second: int = 0) -> bytes:
    return encode_line(to_envelope(Message("a", body, id=f"abcdefgh-{second:015}", time_us=second * 1_000_000)))


@pytest.mark.parametrize("pace", [(), ("--speed", "100000")])
def test_a_command_is_run_for_a_recording(call: Caller, tmp_path: Path, pace: tuple[str, ...]) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(line(b"1") + line(b"2", 3600))
    code, out, _ = call("play", *pace, path, "--exec", "--", "sh", "-c", 'cat; echo " $HOOKBOT_ID"')
    assert (code, out) == (0, b"a | 1 abcdefgh-000000000000000\na | 2 abcdefgh-000000000003600\n")


def test_damage_is_told_and_makes_it_fail_but_a_cut_off_end_does_not(call: Caller, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(line(b"1") + line(b"2")[:30])
    code, out, err = call("play", path, "--exec", "--", "cat")
    assert (code, out) == (0, b"a | 1\n")
    assert f"line 2 of {path}, the last one, is cut off, and skipped\n1 played, in " in err

    path.write_bytes(line(b"1") + line(b"2")[:30] + b"\n" + line(b"3"))
    code, out, err = call("play", path, "--exec", "--", "cat")
    assert (code, out) == (1, b"a | 1\na | 3\n")
    assert f"line 2 of {path} is damaged, and skipped: it is not JSON" in err
    assert "some lines of the file are damaged" in err


def test_what_is_given_up_makes_it_fail_and_can_be_played_later(
    thread: ThreadHub, call: Caller, tmp_path: Path
) -> None:
    path, dead = tmp_path / "a.jsonl", tmp_path / "dead.jsonl"
    path.write_bytes(line(b"1"))
    failing, working = thread.target(500), thread.target()
    assert call("play", path, "--to", failing.url, "--max-attempts", "1", "--dead-letter", dead)[0] == 1
    assert call("play", dead, "--to", working.url)[0] == 0
    assert [request.body for request in working.requests] == [b"1"]


def test_what_is_given_up_cannot_go_to_the_file_that_is_played(call: Caller, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(line(b"1"))
    code, _, err = call("play", path, "--exec", "--max-attempts", "1", "--dead-letter", path, "--", "false")
    assert (code, "--dead-letter names FILE itself." in err) == (2, True)
    assert path.read_bytes() == line(b"1")


def test_a_terminal_gets_a_bar(
    thread: ThreadHub, call: Caller, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "a.jsonl").write_bytes(line(b"1") + line(b"2"))
    server = thread.target()
    with on_terminal(monkeypatch, "stderr") as shown:
        assert call("play", tmp_path / "a.jsonl", "--to", server.url)[0] == 0
    assert b"100%" in shown


@pytest.mark.slow
async def test_a_pipe_is_played_as_it_comes(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(line(b"1"))
    async with target() as server, starting() as start:
        with open(tmp_path / "a.jsonl", "rb") as stdin:
            process = await start("play", "-", "--to", server.url, stdin=stdin)
            assert await process.ended() == 0
    assert [request.body for request in server.requests] == [b"1"]


def test_a_file_that_is_not_there_is_told(call: Caller, tmp_path: Path) -> None:
    code, _, err = call("play", tmp_path / "none", "--exec", "--", sys.executable)
    assert code == 2
    assert "No such file" in err
