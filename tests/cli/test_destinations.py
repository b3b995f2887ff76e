"""Destinations of `replay` and `play`: the options, what a worker does, and what is told."""

from pathlib import Path
from typing import Any

import click
import pytest
import stripe
from click.testing import CliRunner

from hookbot.cli.destinations import Destination, DestinationOptions, destination_options
from hookbot.protocol.envelope import encode_line, to_envelope
from hookbot.protocol.message import Message
from support.commands import Caller, on_terminal
from support.hubs import ThreadHub


def parse(*words: str, command: tuple[str, ...] = ()) -> Destination | str:
    """The destination that some options name; or the complaint about them."""
    received: list[Any] = []

    @click.command()
    @destination_options
    def chosen(choice: DestinationOptions) -> None:
        received.append(choice.make(command))

    result = CliRunner().invoke(chosen, words)
    return received[0] if received else result.output


def test_a_destination_is_a_target_a_topic_or_a_command() -> None:
    to = parse("--to", "localhost:3000/hook", "--speed", "2", "-H", "X-A: 1")
    publish = parse("--publish", "http://TOKEN@hub/pub/a")
    executed = parse("--exec", command=("true", "x"))

    assert isinstance(to, Destination)
    assert isinstance(publish, Destination)
    assert isinstance(executed, Destination)
    assert (to.speed, to.headers, publish.speed) == (2, (("X-A", "1"),), None)
    assert executed.command == ("true", "x")
    assert [to.name, publish.name, executed.name] == ["http://localhost:3000/hook", "http://hub/pub/a", "true\0x"]


@pytest.mark.parametrize(
    ("words", "command", "said"),
    [
        ((), (), "exactly one of --to, --exec and --publish"),
        (("--to", "http://t/", "--exec"), ("true",), "exactly one of"),
        (("--to", "http://t/"), ("true",), "COMMAND needs --exec"),
        (("--exec",), (), "Missing argument 'COMMAND'"),
        (("--to", "http://t/", "--speed", "0"), (), "--speed"),
        (("--publish", "http://h/pub/a", "--sign", "github", "--secret", "x"), (), "--sign needs --to"),
    ],
)
def test_any_other_choice_is_refused(words: tuple[str, ...], command: tuple[str, ...], said: str) -> None:
    assert said in str(parse(*words, command=command))


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "a.jsonl"
    messages = [Message("a", b"%d" % number, id=f"abcdefgh-{number:015}") for number in range(3)]
    path.write_bytes(b"".join(encode_line(to_envelope(message)) for message in messages))
    return path


def test_messages_are_posted_published_or_passed_to_a_command(
    thread: ThreadHub, topic: str, pub: str, call: Caller, recording: Path
) -> None:
    server = thread.target()
    assert call("play", recording, "--to", server.url, "-H", "X-A: 1")[0] == 0
    assert call("play", recording, "--publish", pub, "-H", "X-A: 1")[0] == 0
    code, out, _ = call("play", recording, "-H", "X-A: 1", "--exec", "--", "sh", "-c", "echo $HOOKBOT_HEADER_X_A")

    assert [request.body for request in server.requests] == [b"0", b"1", b"2"]
    assert [message.header("X-A") for message in thread.wait_for(topic, 3)] == ["1"] * 3
    assert (code, out) == (0, b"a | 1\n" * 3)


def test_what_is_posted_is_signed_anew_if_asked(thread: ThreadHub, call: Caller, recording: Path) -> None:
    server = thread.target()
    assert call("play", recording, "--to", server.url, "--sign", "stripe", "--secret", "whsec_test")[0] == 0

    for request in server.requests:
        [signature] = request.all("Stripe-Signature")
        stripe.WebhookSignature.verify_header(request.body.decode(), signature, "whsec_test", tolerance=300)


def test_what_has_failed_or_was_skipped_is_told(thread: ThreadHub, call: Caller, recording: Path) -> None:
    server = thread.target(204, 500)
    options = ("--max-attempts", "1", "--dead-letter", recording.with_name("dead"), "--where", "body != `2`")
    code, _, err = call("play", *options, recording, "--to", server.url)
    assert code == 1
    assert "1 played, 1 failed, 1 skipped, in" in err
    assert "some messages could not be handled" in err


@pytest.mark.parametrize("executes", [True, False])
def test_a_bar_is_shown_unless_a_command_prints(
    thread: ThreadHub, call: Caller, monkeypatch: pytest.MonkeyPatch, recording: Path, executes: bool
) -> None:
    words = ("--exec", "--", "true") if executes else ("--to", thread.target().url)
    with on_terminal(monkeypatch, "stderr") as shown:
        assert call("play", recording, *words)[0] == 0
    assert (b"100%" in shown) is not executes
