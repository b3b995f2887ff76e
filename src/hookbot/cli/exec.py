"""``hookbot exec``: a command for each message; its environment is made in `hookbot.delivery.command`."""

import shutil
from functools import partial

import click

from ..client.address import Address
from ..delivery.command import open_runner
from ..delivery.shutdown import Stop
from ..delivery.worker import Policy, hop_name
from ..errors import ConfigError
from .retry_options import RetryOptions, handle, retry_options
from .subscribe_options import SubscribeOptions, run, subscription_options, take_url


@click.command("exec")
@click.argument("words", nargs=-1, metavar="URL -- COMMAND [ARGS]...")
@click.option(
    "--per-topic-serial/--no-per-topic-serial",
    "in_order",
    default=True,
    show_default=True,
    help="Whether the messages of a topic wait for each other.",
)
@click.option("--latest-only", is_flag=True, help="Of several that wait on a topic, run only for the newest.")
@retry_options(timeout="10m")
@subscription_options
def exec_(
    subscribe: SubscribeOptions, retry: RetryOptions, words: tuple[str, ...], in_order: bool, latest_only: bool
) -> None:
    """Run COMMAND for each message, without a shell; exit 0 is done, everything else is tried again.

    The body is its standard input, and the file HOOKBOT_BODY_FILE. HOOKBOT_ID, HOOKBOT_TOPIC, HOOKBOT_TIME,
    HOOKBOT_QUERY, HOOKBOT_VERIFIED, HOOKBOT_ATTEMPT and HOOKBOT_HEADER_X_GITHUB_EVENT, for example, are in its
    environment. After --timeout its process group gets SIGTERM, ten seconds later SIGKILL.

    \b
    Examples:
      hookbot exec --cursor deployer https://TOKEN@hub.example.com/sub/deploy -- ./deploy.sh production
      hookbot exec --latest-only --cursor site https://TOKEN@hub.example.com/sub/site/ -- make publish
    """
    url, command = take_url(words, "://" in "".join(words[:1]))
    if latest_only and not in_order:
        raise click.UsageError("--latest-only keeps the messages of a topic in order")
    hop = hop_name("exec", str(Address.parse(url)), *check_command(command))
    policy = retry.policy(subscribe, hop, in_order=in_order, latest_only=latest_only)
    run(partial(_exec, subscribe, retry, url, command, policy))


def check_command(command: tuple[str, ...]) -> tuple[str, ...]:
    """The command, if there is one that can be run; raises `ConfigError`."""
    if not command:
        raise click.UsageError("Missing argument 'COMMAND'.")
    if shutil.which(command[0]) is None:
        raise ConfigError(f"there is no command {command[0]!r}")
    return command


async def _exec(
    subscribe: SubscribeOptions, retry: RetryOptions, url: str, command: tuple[str, ...], policy: Policy, stop: Stop
) -> None:
    async with open_runner(command, policy.hop, retry.timeout_s) as runner:
        await handle(subscribe, url, retry, policy, runner.run, stop)
