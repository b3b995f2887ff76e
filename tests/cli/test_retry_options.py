"""Options of commands that handle messages: what a worker makes of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
import trio
from click.testing import CliRunner

from hookbot.cli.retry_options import EXIT_CODES, STATUSES, RetryOptions, handle, retry_options
from hookbot.cli.subscribe_options import SubscribeOptions
from hookbot.client import Timing
from hookbot.delivery.dead_letters import DeadLetterFile, DeadLetterTopic, NoDeadLetters
from hookbot.delivery.outcome import UNSENDABLE, Outcome
from hookbot.delivery.shutdown import Stop
from hookbot.protocol.message import Message
from hookbot.testing.hub import TestHub

LOST = ("--dead-letter", "lost.jsonl")
SUBSCRIBE = SubscribeOptions(
    since="all",
    cursor=None,
    group=None,
    unsafe=False,
    where=None,
    limit=2,
    token_file=None,
    ca_file=None,
    quiet=True,
    timing=Timing(),
)


def parse(*words: str) -> RetryOptions | str:
    """The options that a command receives for some words; or the complaint about them."""
    received = []

    @click.command()
    @retry_options("30s", STATUSES, EXIT_CODES)
    def command(retry: RetryOptions) -> None:
        received.append(retry)

    result = CliRunner().invoke(command, words)
    return received[0] if received else result.output


def test_by_default_one_message_at_a_time_is_tried_until_it_succeeds() -> None:
    assert parse() == RetryOptions(concurrency=1, max_attempts=None, dead_letter=None, timeout_s=30)


def test_a_policy_has_the_options_and_those_of_the_subscription() -> None:
    policy = RetryOptions(3, 5, "stop", 30).policy(SUBSCRIBE, "the hop", latest_only=True)
    assert (policy.hop, policy.limit, policy.concurrency, policy.max_attempts) == ("the hop", 2, 3, 5)
    assert (policy.wanted, policy.latest_only) == (SUBSCRIBE.wants, True)


@pytest.mark.parametrize(
    ("where", "kind"),
    [
        ("stop", NoDeadLetters),
        ("lost.jsonl", DeadLetterFile),
        ("./stop", DeadLetterFile),
        ("https://hub.example.com/pub/dead", DeadLetterTopic),
    ],
)
def test_dead_letters_go_to_a_file_to_a_topic_or_stop_the_command(where: str, kind: type[Any]) -> None:
    assert isinstance(RetryOptions(1, 5, where, 30).policy(SUBSCRIBE, "the hop").dead_letters, kind)


@pytest.mark.parametrize(
    ("consumer", "name"),
    [({}, "forward-1"), ({"cursor": "laptop"}, "laptop-forward-1"), ({"group": "workers"}, "workers-forward-1")],
)
async def test_a_worker_that_gives_up_has_a_file_of_its_own(
    consumer: dict[str, Any], name: str, state_directory: Path
) -> None:
    subscribe = replace(SUBSCRIBE, **consumer)

    place = await RetryOptions(1, 5, None, 30).policy(subscribe, "forward-1").dead_letters.take(Message("t", b""), "no")

    kept = state_directory / "dead-letters" / f"{name}.jsonl"
    assert place == f"{kept} (hookbot retry-file delivers it again)"


def test_without_any_place_nothing_is_given_up_on_its_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOOKBOT_DATA_DIR", str(tmp_path / "file" / "state"))
    retry = RetryOptions(1, 5, None, 30, frozenset({"400"}))

    policy = retry.policy(SUBSCRIBE, "forward-1")

    assert (policy.give_up_on, policy.max_attempts) == (frozenset(), 5)
    assert isinstance(policy.dead_letters, NoDeadLetters)
    assert "there is no place for dead letters" in caplog.text


def test_what_never_gives_up_needs_no_place() -> None:
    assert isinstance(RetryOptions(1, None, None, 30).policy(SUBSCRIBE, "the hop").dead_letters, NoDeadLetters)


def test_nothing_is_given_up_without_a_limit_of_attempts_or_a_result_that_is_final() -> None:
    assert "--dead-letter needs --max-attempts or --give-up-on" in str(parse("--dead-letter", "lost.jsonl"))
    for words in (["--dead-letter", "stop"], [*LOST, "--max-attempts", "1"], [*LOST, "--give-up-on", "400"]):
        assert isinstance(parse(*words), RetryOptions)


@pytest.mark.parametrize(
    ("text", "results"),
    [
        ("none", set()),
        ("400", {"400", UNSENDABLE}),
        (" 400, 65 ,1", {"400", "exit 65", "exit 1", UNSENDABLE}),
    ],
)
def test_results_that_are_final_are_told_by_their_numbers(text: str, results: set[str]) -> None:
    retry = parse("--give-up-on", text)

    assert isinstance(retry, RetryOptions)
    assert retry.give_up_on == results


@pytest.mark.parametrize("text", ["", "400,", "299", "600", "0", "256", "4oo", "-1", "400;410", "\u0664\u0660\u0660"])
def test_what_is_no_result_of_a_failure_is_refused(text: str) -> None:
    said = str(parse("--give-up-on", text))
    assert "Statuses or exit codes are numbers from 300 to 599 or from 1 to 255 with commas" in " ".join(said.split())


async def test_messages_are_handled_up_to_the_limit_and_counted(hub: TestHub) -> None:
    for body in (b"1", b"2", b"3"):
        await hub.publish("a", body)
    handled = []

    async def work(message: Message, attempt: int) -> Outcome:
        handled.append(message.body)
        return Outcome("done")

    retry = RetryOptions(1, None, "stop", 30)
    policy = retry.policy(SUBSCRIBE, "the hop")
    with trio.CancelScope() as everything:
        totals = await handle(SUBSCRIBE, hub.url_for("/sub/a"), retry, policy, work, Stop(everything))

    assert handled == [b"1", b"2"]
    assert totals.done == 2
