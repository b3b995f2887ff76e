"""Options of commands that handle messages: what a worker makes of them."""

from typing import Any

import click
import pytest
import trio
from click.testing import CliRunner

from hookbot.cli.retry_options import RetryOptions, handle, retry_options
from hookbot.cli.subscribe_options import SubscribeOptions
from hookbot.client import Timing
from hookbot.delivery.dead_letters import DeadLetterFile, DeadLetterTopic, NoDeadLetters
from hookbot.delivery.outcome import Outcome
from hookbot.delivery.shutdown import Stop
from hookbot.protocol.message import Message
from hookbot.testing.hub import TestHub

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
    @retry_options(timeout="30s")
    def command(retry: RetryOptions) -> None:
        received.append(retry)

    result = CliRunner().invoke(command, words)
    return received[0] if received else result.output


def test_by_default_one_message_at_a_time_is_tried_until_it_succeeds() -> None:
    assert parse() == RetryOptions(concurrency=1, max_attempts=None, dead_letter="stop", timeout_s=30)


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


def test_nothing_is_given_up_without_a_limit_of_attempts() -> None:
    assert "--dead-letter needs --max-attempts" in str(parse("--dead-letter", "lost.jsonl"))
    assert parse("--dead-letter", "stop") == parse()
    assert isinstance(parse("--dead-letter", "lost.jsonl", "--max-attempts", "1"), RetryOptions)


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
