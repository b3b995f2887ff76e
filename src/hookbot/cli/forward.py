"""``hookbot forward``: messages posted to a server that the internet cannot reach."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..protocol.paths import split_path
from .parameters import EXISTING_FILE, headers, read_headers
from .retry_options import HOPELESS_STATUSES, STATUSES, RetryOptions, handle, retry_options
from .sign_options import sign_options
from .subscribe_options import CURSOR, GROUP, LIVE, SubscribeOptions, run, subscription_options, take_url
from .topics import complete_topic

if TYPE_CHECKING:
    from ..client.address import Address
    from ..delivery.forwarder import ForwardOptions
    from ..delivery.shutdown import Stop
    from ..delivery.signer import Signer
    from ..delivery.target import Target
    from .live.live_view import LiveView

logger = logging.getLogger(__package__)


@click.command()
@click.argument("words", nargs=-1, metavar="URL TARGET", shell_complete=complete_topic)
@headers
@click.option("--keep-host", is_flag=True, help="Keep the sender's Host header instead of TARGET's.")
@click.option("--insecure", is_flag=True, help="Do not verify TARGET's certificate.")
@click.option("--cert", type=EXISTING_FILE, help="Client certificate for TARGET (PEM, with its key).")
@click.option("--reply", "replies", is_flag=True, help="Hand back what TARGET answers to senders that wait for it.")
@sign_options
@LIVE
@retry_options("30s", STATUSES, give_up_on=HOPELESS_STATUSES)
@subscription_options(CURSOR, GROUP)
def forward(
    subscribe: SubscribeOptions,
    retry: RetryOptions,
    words: tuple[str, ...],
    headers: tuple[str, ...],
    keep_host: bool,
    insecure: bool,
    cert: Path | None,
    replies: bool,
    signer: Signer | None,
    live: bool,
    title: str = "",
) -> None:
    """Post each message to TARGET, unchanged.

    Body, headers and query are those that the sender sent, so its signature still verifies; --sign makes a new one.
    TARGET is an http(s) URL, localhost:3000/path, or unix:/run/app.sock:/path. A 2xx response means done. After one
    of --give-up-on, the message is kept as a dead letter; after any other, it is retried, and later messages of its
    topic wait. With --cursor, messages that TARGET has not accepted stay at the hub until the next run.

    \b
    Examples:
      hookbot forward --cursor laptop https://TOKEN@hub.example.com/sub/stripe http://localhost:3000/webhook
      hookbot forward --cursor laptop --sign stripe --secret env:STRIPE_SECRET URL localhost:3000/webhook
    """
    from ..client.address import Address
    from ..delivery.forwarder import ForwardOptions
    from ..delivery.target import Target
    from ..delivery.worker import hop_name

    # A single word is TARGET; the URL is then in HOOKBOT_URL.
    url, rest = take_url(words, len(words) != 1)
    if len(rest) != 1:
        raise click.UsageError("Needs URL and TARGET.")
    address, target = Address.parse(url), Target.parse(rest[0])
    _check_order(address, target.address)
    options = ForwardOptions(
        hop=hop_name("forward", str(address), str(target)),
        timeout_s=retry.timeout_s,
        headers=read_headers(headers),
        keep_host=keep_host,
        signer=signer,
        ca_file=subscribe.ca_file,
        certificate=cert,
        insecure=insecure,
    )
    forwarding = partial(_forward, subscribe, retry, url, target, options, replies)
    title = title or f"forward  {address} → {target}"
    run(partial(_forward_live, forwarding, title, target, options) if live else forwarding)


def _check_order(url: Address, target: Address) -> None:
    """Raise `UsageError` if the target is a subscription that only the URL can be: one there, or the only one."""
    if split_path(target.path)[0] == "subscribe" and (split_path(url.path)[0] is None or target.netloc == url.netloc):
        raise click.UsageError(f"{target} is for listening: the URL of the subscription comes first, then TARGET.")


async def _forward(
    subscribe: SubscribeOptions,
    retry: RetryOptions,
    url: str,
    target: Target,
    options: ForwardOptions,
    replies: bool,
    stop: Stop,
    live: LiveView | None = None,
) -> None:
    from ..delivery.forwarder import open_forwarder

    logger.info("forwarding to %s", target)
    async with open_forwarder(target, options) as forwarder:
        policy = retry.policy(subscribe, options.hop)
        await handle(subscribe, url, retry, policy, forwarder.post, stop, live, replies=replies)


async def _forward_live(
    forwarding: Callable[[Stop, LiveView], Awaitable[None]],
    title: str,
    target: Target,
    options: ForwardOptions,
    stop: Stop,
) -> None:
    from ..delivery.forwarder import open_forwarder
    from .live.live_view import open_live_view

    # With an Idempotency-Key of ours, the target would ignore a message that it has received before.
    async with (
        open_forwarder(target, replace(options, once=False)) as forwarder,
        open_live_view(title, again=forwarder.post) as live,
    ):
        await forwarding(stop, live)
