"""``hookbot exec``: a command for each message, run by `hookbot.delivery.command`."""

from __future__ import annotations

import shutil
from functools import partial
from typing import TYPE_CHECKING

import click

from ..errors import ConfigError
from .retry_options import EXIT_CODES, RetryOptions, handle, retry_options
from .subscribe_options import CURSOR, GROUP, SubscribeOptions, begins_with_url, run, subscription_options, take_url
from .topics import complete_topic

if TYPE_CHECKING:
    from ..delivery.shutdown import Stop
    from ..delivery.worker import Policy


@click.command("exec")
@click.argument("words", nargs=-1, metavar="URL -- COMMAND [ARGS]...", shell_complete=complete_topic)
@click.option(
    "--per-topic-serial/--no-per-topic-serial",
    "in_order",
    default=True,
    show_default=True,
    help="Handle the messages of a topic one at a time, in order.",
)
@click.option("--reply", "replies", is_flag=True, help="Reply to senders that wait, with COMMAND's standard output.")
@click.option("--latest-only", is_flag=True, help="Of several messages waiting on a topic, run only for the newest.")
@retry_options("10m", EXIT_CODES)
@subscription_options(CURSOR, GROUP)
def exec_(
    subscribe: SubscribeOptions,
    retry: RetryOptions,
    words: tuple[str, ...],
    in_order: bool,
    replies: bool,
    latest_only: bool,
) -> None:
    """Run COMMAND for each message, without a shell.

    Exit status 0 means done; after any other, except those of --give-up-on, the message is retried. The body is the
    command's standard input, and also in the file HOOKBOT_BODY_FILE. The environment has HOOKBOT_ID, HOOKBOT_TOPIC,
    HOOKBOT_TIME, HOOKBOT_METHOD, HOOKBOT_QUERY, HOOKBOT_VERIFIED, HOOKBOT_ATTEMPT, HOOKBOT_HOPS and each header, such
    as HOOKBOT_HEADER_X_GITHUB_EVENT. After --timeout, the command's process group gets SIGTERM and, ten seconds later,
    SIGKILL.

    \b
    Examples:
      hookbot exec --cursor deployer https://TOKEN@hub.example.com/sub/deploy -- ./deploy.sh production
      hookbot exec --latest-only --cursor site https://TOKEN@hub.example.com/sub/site/ -- make publish
    """
    from ..client.address import Address
    from ..delivery.worker import hop_name

    url, command = take_url(words, begins_with_url(words))
    if latest_only and not in_order:
        raise click.UsageError("--latest-only and --no-per-topic-serial exclude each other.")
    hop = hop_name("exec", str(Address.parse(url)), *check_command(command))
    policy = retry.policy(subscribe, hop, in_order=in_order, latest_only=latest_only)
    run(partial(_exec, subscribe, retry, url, command, policy, replies))


def check_command(command: tuple[str, ...]) -> tuple[str, ...]:
    """The command, unchanged. Raises `UsageError` if it is empty, and `ConfigError` if there is no such program."""
    if not command:
        raise click.UsageError("Missing argument 'COMMAND'.")
    if shutil.which(command[0]) is None:
        raise ConfigError(f"command not found, or not executable: {command[0]!r}")
    return command


async def _exec(
    subscribe: SubscribeOptions,
    retry: RetryOptions,
    url: str,
    command: tuple[str, ...],
    policy: Policy,
    replies: bool,
    stop: Stop,
) -> None:
    from ..delivery.command import CommandRunner

    runner = CommandRunner(command, policy.hop, retry.timeout_s, answers=replies)
    await handle(subscribe, url, retry, policy, runner.run, stop, replies=replies)
