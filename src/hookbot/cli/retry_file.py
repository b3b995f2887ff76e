"""``hookbot retry-file``: dead letters in a file are delivered again, and those that are taken are removed from it."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from uuid import uuid4

import click

from ..errors import HookbotError
from .destinations import DestinationOptions, deliver, destination_options
from .log_lines import log_to_stderr
from .parameters import EXISTING_FILE
from .progress import messages as number_of
from .retry_options import CONCURRENCY, timeout_option
from .subscribe_options import MessageOptions, message_options, run
from .topics import profile


@click.command("retry-file")
@click.argument("file", type=EXISTING_FILE)
@click.argument("command", nargs=-1, metavar="[COMMAND [ARGS]...]")
@destination_options
@CONCURRENCY
@timeout_option("30s")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@profile
@message_options
def retry_file(
    messages: MessageOptions,
    choice: DestinationOptions,
    file: Path,
    command: tuple[str, ...],
    concurrency: int,
    timeout: float,
    yes: bool,
) -> None:
    """Deliver the dead letters in FILE, and remove those that are taken.

    FILE is where `forward`, `exec` or `replay` has kept what it gave up. Post each (--to), run a command for it
    (--exec), or publish it (--publish), once: what fails again stays in FILE, and the exit code is 1. Meanwhile others
    may append to FILE.

    \b
    Examples:
      hookbot retry-file lost.jsonl --to localhost:3000/webhook
      hookbot retry-file --yes lost.jsonl --exec -- ./deploy.sh
    """
    from ..delivery.retried_file import open_retried_file
    from ..delivery.worker import Policy, hop_name

    destination = choice.make(command)
    log_to_stderr(quiet=True)
    with open_retried_file(file, messages.wants, messages.limit) as retried:
        if not retried:
            click.echo(f"there is nothing to retry in {file}")
        elif yes or click.confirm(f"Retry {number_of(len(retried))}?", abort=True, err=True):
            # A name for each run: that somebody tries again is no loop.
            hop = hop_name("retry-file", uuid4().hex)
            policy = Policy(hop, concurrency=concurrency, max_attempts=1, dead_letters=retried)
            delivered = partial(deliver, done="delivered", share=retried.share, observer=retried)
            run(partial(delivered, nullcontext(retried), destination, messages, policy, timeout))
    if retried.damaged:
        raise HookbotError("some lines of the file are damaged")
