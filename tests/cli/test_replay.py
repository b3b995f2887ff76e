"""``hookbot replay``."""

import json
import re
import signal
from pathlib import Path

import pytest
import trio

from hookbot.protocol.envelope import from_envelope
from hookbot.protocol.message import format_time
from hookbot.signatures import SignedRequest, load_provider
from hookbot.testing import open_test_hub
from support.commands import Caller, on_terminal, running
from support.hubs import ThreadHub
from support.targets import target

HISTORY = ("replay", "--since", "all")


def test_history_is_posted_and_counted(thread: ThreadHub, call: Caller) -> None:
    thread.publish("post", b"1", b"2", b"3", headers={"X-A": "1"})
    server = thread.target()
    code, out, err = call(*HISTORY, "--to", server.url, "-H", "X-B: 2", thread.url_for("/sub/post"))
    assert (code, out) == (0, b"")
    assert re.fullmatch(r"3 replayed, in [0-9.]+ s\n", err)
    assert [request.body for request in server.requests] == [b"1", b"2", b"3"]
    assert {request.all(name)[0] for request in server.requests for name in ("X-A", "X-B")} == {"1", "2"}


def test_a_command_is_run_for_history(thread: ThreadHub, call: Caller) -> None:
    thread.publish("run", b"1", b"2")
    code, out, _ = call(*HISTORY, thread.url_for("/sub/run"), "--exec", "--", "sh", "-c", "cat; echo")
    assert (code, out) == (0, b"run | 1\nrun | 2\n")


def test_a_command_sees_the_headers_that_replace_those_of_the_message(thread: ThreadHub, call: Caller) -> None:
    thread.publish("headers", b"", headers={"X-A": "1", "X-B": "2"})
    script = 'echo "$HOOKBOT_HEADER_X_A $HOOKBOT_HEADER_X_B $HOOKBOT_HEADER_X_C"'
    given = ("-H", "x-a: 3", "-H", "X-C: 4")
    code, out, _ = call(*HISTORY, *given, thread.url_for("/sub/headers"), "--exec", "--", "sh", "-c", script)
    assert (code, out) == (0, b"headers | 3 2 4\n")


def test_history_is_published_again_also_to_where_it_was(thread: ThreadHub, call: Caller) -> None:
    thread.publish("publish", b"1", b"2")
    for _ in range(2):
        assert call(*HISTORY, "--publish", thread.url_for("/pub/publish"), thread.url_for("/sub/publish"))[0] == 0
    messages = thread.wait_for("publish", 6)
    assert [message.body for message in messages] == [b"1", b"2"] * 3
    assert {len(message.hops) for message in messages[2:]} == {1}


def test_the_token_for_publishing_may_be_in_the_environment(thread: ThreadHub, call: Caller) -> None:
    thread.publish("env", b"1")
    url = thread.url_for("/pub/env-copy")
    token = url.partition("//")[2].partition("@")[0]
    words = (*HISTORY, "--publish", url.replace(f"{token}@", ""), thread.url_for("/sub/env"))
    assert call(*words)[0] == 3
    assert call(*words, HOOKBOT_PUBLISH_TOKEN=token)[0] == 0


def test_it_ends_where_it_is_told_to(thread: ThreadHub, call: Caller) -> None:
    thread.publish("until", b"1", b"2", b"3")
    second = thread.wait_for("until", 3)[1]
    server = thread.target()
    options = ("--until", format_time(second.time_us), "--speed", "100")
    assert call(*HISTORY, *options, "--to", server.url, thread.url_for("/sub/until"))[0] == 0
    assert [request.body for request in server.requests] == [b"1", b"2"]
    assert "0 replayed" in call(*HISTORY, "--until", "1d", "--to", server.url, thread.url_for("/sub/until"))[2]


@pytest.mark.slow
def test_a_cursor_makes_it_go_on_where_it_was_stopped(thread: ThreadHub, call: Caller) -> None:
    thread.publish("cursor", b"1", b"2", b"3")
    stopping = ("--max-attempts", "1", "--dead-letter", "stop")
    words = (*HISTORY, "--cursor", "again", *stopping, thread.url_for("/sub/cursor"))
    failing, working = thread.target(204, 500), thread.target()
    code, _, err = call(*words, "--to", failing.url)
    assert code == 1
    assert "1 replayed, in" in err
    assert "gives up on cursor" in err
    assert call(*words, "--to", working.url)[0] == 0
    assert [request.body for request in working.requests] == [b"2", b"3"]


def test_what_is_given_up_is_counted_and_makes_it_fail(thread: ThreadHub, call: Caller, tmp_path: Path) -> None:
    thread.publish("dead", b"1", b"2", b"skip")
    server = thread.target(500)
    options = ("--max-attempts", "1", "--dead-letter", tmp_path / "dead", "--where", "body != 'skip'")
    code, _, err = call(*HISTORY, *options, "--to", server.url, thread.url_for("/sub/dead"))
    assert code == 1
    assert "1 replayed, 1 failed, 1 skipped, in" in err


def test_what_the_target_refuses_holds_up_nothing_and_is_kept(
    thread: ThreadHub, call: Caller, state_directory: Path
) -> None:
    thread.publish("refused", b"1", b"2")
    server = thread.target(422)

    code, _, err = call(*HISTORY, "--to", server.url, thread.url_for("/sub/refused"))

    assert code == 1
    assert "1 replayed, 1 failed, in" in err
    assert [request.body for request in server.requests] == [b"1", b"2"]
    kept = err.partition("kept in ")[2].partition(" (hookbot retry-file delivers it again)\n")[0]
    assert Path(kept).parent == state_directory / "dead-letters"
    assert from_envelope(json.loads(Path(kept).read_text())).body == b"1"


def test_what_is_posted_again_may_be_signed_anew(thread: ThreadHub, call: Caller) -> None:
    thread.publish("signed", b"1", headers={"X-Hub-Signature-256": "sha256=old"})
    server = thread.target()
    words = (*HISTORY, "--sign", "github", "--secret", "s3cret", thread.url_for("/sub/signed"))

    assert call(*words, "--to", server.url)[0] == 0
    assert call(*words, "--publish", thread.url_for("/pub/signed"))[0] == 2

    [request] = server.requests
    signed = SignedRequest(request.body, tuple(request.headers))
    assert load_provider("github").verify(signed, ["s3cret"], now=0)


@pytest.mark.slow
async def test_ctrl_c_finishes_the_message_in_hand_and_tells_the_total() -> None:
    with trio.fail_after(50):
        async with open_test_hub() as hub, target(204, None) as server:
            for n in range(3):
                await hub.publish("a", str(n).encode())
            async with running(*HISTORY, "--to", server.url, hub.url_for("/sub/a")) as process:
                await server.arrived(2)
                process.signal(signal.SIGINT)
                await process.until("a second Ctrl-C or SIGTERM stops at once")
                server.go()
                assert await process.ended() == 130
    assert b"2 replayed, in" in process.err


@pytest.mark.parametrize("options", [(), ("--until", "0s")])
def test_a_terminal_gets_a_bar(
    thread: ThreadHub,
    topic: str,
    sub: str,
    call: Caller,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
) -> None:
    thread.publish(topic, b"1", b"2", b"3")
    server = thread.target()

    with on_terminal(monkeypatch, "stderr") as shown:
        assert call(*HISTORY, *options, "--to", server.url, sub)[0] == 0

    assert b"Delivering" in shown
    assert b"100%" in shown
    assert b"3 replayed, in" in shown


def test_a_command_that_prints_to_the_terminal_gets_no_bar(
    thread: ThreadHub, topic: str, sub: str, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread.publish(topic, b"1")
    with on_terminal(monkeypatch, "stderr") as shown:
        assert call(*HISTORY, sub, "--exec", "--", "true")[0] == 0
    assert b"Delivering" not in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--since", "1h", "http://h/sub/a"], "Needs exactly one of --to, --exec and --publish"),
        (
            ["--since", "1h", "--to", "http://t/", "--publish", "http://h/pub/a", "http://h/sub/a"],
            "Needs exactly one of",
        ),
        (["--to", "http://t/", "http://h/sub/a"], "Needs --since"),
        (["--since", "1h", "--group", "g", "--to", "http://t/", "http://h/sub/a"], "No such option"),
        (["--since", "1h", "--to", "http://t/", "http://h/sub/a", "more"], "COMMAND needs --exec"),
        (["--since", "1h", "--exec", "http://h/sub/a"], "Missing argument 'COMMAND'"),
        (["--since", "1h", "--until", "all", "--to", "http://t/", "http://h/sub/a"], "not a time"),
        (["--since", "1h", "--until", "soon", "--to", "http://t/", "http://h/sub/a"], "not a time"),
        (["--since", "1h", "--speed", "0", "--to", "http://t/", "http://h/sub/a"], "--speed"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_connected(call: Caller, words: list[str], said: str) -> None:
    code, _, err = call("replay", *words)
    assert code == 2
    assert said in err
