"""``hookbot serve``: its options, and a hub that runs until a signal."""

from __future__ import annotations

import gc
import logging
import os
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ..access.client_address import DEFAULT_CONNECTIONS_PER_ADDRESS
from ..errors import ConfigError
from ..hub.config import Config
from ..hub.logging_setup import logging_to_stderr
from ..protocol.replies import MAX_WAIT_S
from ..routers.loading import installed_routers
from .config_option import ARGUMENTS, ConfiguredCommand, config_file
from .configure import find_config
from .parameters import (
    ADDRESS,
    AT_REST_KEY,
    DURATION,
    EXISTING_FILE,
    HUB_URL,
    INTERVAL,
    ORIGIN,
    PREFIX,
    PROXIES,
    PUBLIC_URL,
    RATE,
    REPLY_WAIT,
    SIZE,
    STORE,
    UNSAFE_TOPIC,
    completed,
    data_dir,
)
from .variables import unread_variables
from .welcome import welcome

if TYPE_CHECKING:
    from ..hub.hub import RunningHub

logger = logging.getLogger(__package__)


@click.command(cls=ConfiguredCommand)
@config_file
@click.option(
    "--bind",
    "-b",
    type=ADDRESS,
    multiple=True,
    metavar="ADDRESS",
    help="[HOST]:PORT or unix:PATH to listen on. Repeatable. Default: :8080.",
)
@click.option("--sslkey", "-k", "tls_key", type=EXISTING_FILE, help="Private key for TLS (PEM).")
@click.option("--sslcrt", "-c", "tls_certificate", type=EXISTING_FILE, help="Certificate chain for TLS (PEM).")
@click.option("--sslca", "tls_client_authorities", type=EXISTING_FILE, help="Authorities of client certificates (PEM).")
@click.option(
    "--router",
    "routers",
    multiple=True,
    metavar="NAME",
    shell_complete=completed(installed_routers, or_file=True),
    help="Run this router. Repeatable.",
)
@data_dir
@click.option(
    "--store",
    type=STORE,
    default="sqlite:",
    show_default=True,
    metavar="sqlite:|memory:|postgresql://...",
    shell_complete=completed(lambda: ("sqlite:", "memory:", "postgresql://")),
    help="Keep the log in the data directory, in memory, or in a database that several hubs share.",
)
@click.option(
    "--at-rest-key",
    "at_rest_keys",
    type=AT_REST_KEY,
    multiple=True,
    metavar="file:PATH|env:NAME",
    help="Encrypt stored messages with this key; further ones only decrypt. Repeatable.",
)
@click.option(
    "--advertise",
    type=HUB_URL,
    metavar="URL",
    help="URL at which the other hubs of the same store reach this one.",
)
@click.option(
    "--public-url",
    type=PUBLIC_URL,
    metavar="URL",
    help="URL of the hub for senders and browsers, if a proxy is before it.",
)
@click.option("--no-console", is_flag=True, help="Do without the pages at /hookbot/.")
@click.option("--keep", type=DURATION, default="7d", show_default=True, help="Delete messages older than this.")
@click.option(
    "--keep-bytes", type=SIZE, help="Delete the oldest messages beyond this size. Default: 1GiB; in memory 64MiB."
)
@click.option(
    "--keep-count", type=click.IntRange(1), metavar="N", help="Delete the oldest messages beyond this number."
)
@click.option("--keep-unsafe-bytes", type=SIZE, help="The same for unsafe topics. Default: 256MiB; in memory 32MiB.")
@click.option(
    "--dedup-window", type=DURATION, default="24h", show_default=True, help="Recognise repeats for this time."
)
@click.option(
    "--unsafe",
    "unsafe",
    type=UNSAFE_TOPIC,
    multiple=True,
    metavar="PREFIX|none",
    help="Unsafe topics that exist. Repeatable. Default: all.",
)
@click.option(
    "--reply",
    "reply_prefixes",
    type=PREFIX,
    multiple=True,
    metavar="TOPIC",
    help="Let senders to this topic wait for a reply, by ?reply. Repeatable.",
)
@click.option(
    "--reply-timeout",
    "reply_timeout_s",
    type=REPLY_WAIT,
    default=f"{MAX_WAIT_S:g}s",
    show_default=True,
    help="Let them wait so long, at most 10s.",
)
@click.option("--no-sha1", is_flag=True, help="Refuse HMAC-SHA1 tokens; HMAC-SHA256 ones stay valid.")
@click.option(
    "--plain-tokens",
    type=click.Choice(["all", "live"]),
    default="all",
    show_default=True,
    help="live: HMAC-SHA1 tokens open no history, HMAC-SHA256 ones do.",
)
@click.option("--revoked", type=EXISTING_FILE, help="File with names of revoked tokens, one per line.")
@click.option(
    "--trust-proxy",
    "trusted_proxies",
    type=PROXIES,
    default="0",
    metavar="N|NETWORKS",
    show_default=True,
    help="Proxies whose X-Forwarded-For is trusted.",
)
@click.option(
    "--failure-rate",
    type=RATE,
    default="100/m",
    show_default=True,
    help="Limit for bad tokens and signatures from one address.",
)
@click.option("--publish-rate", type=RATE, help="Limit for publishes from one address. Default: none.")
@click.option("--max-subscribers", type=click.IntRange(1), metavar="N", help="Subscriptions in all. Default: no limit.")
@click.option(
    "--max-subscribers-per-token",
    type=click.IntRange(1),
    metavar="N",
    help="Subscriptions by one token. Default: no limit.",
)
@click.option(
    "--max-connections-per-address",
    type=click.IntRange(1),
    default=DEFAULT_CONNECTIONS_PER_ADDRESS,
    show_default=True,
    metavar="N",
    help="Connections of one address that have shown no token.",
)
@click.option(
    "--max-body", "max_body_bytes", type=SIZE, default="25MiB", show_default=True, help="Largest body of a publish."
)
@click.option(
    "--cors-origin",
    "cors_origins",
    type=ORIGIN,
    multiple=True,
    metavar="ORIGIN",
    help="Let web pages of this origin read streams. Repeatable.",
)
@click.option(
    "--heartbeat",
    "heartbeat_s",
    type=INTERVAL,
    default="15s",
    show_default=True,
    help="Interval of heartbeats to idle subscriptions.",
)
@click.option(
    "--stall-timeout",
    "stall_s",
    type=DURATION,
    default="90s",
    show_default=True,
    help="Disconnect a subscriber that reads nothing for this time.",
)
@click.option(
    "--grace",
    "grace_s",
    type=DURATION,
    default="10s",
    show_default=True,
    help="Time to finish accepted requests at shutdown.",
)
@click.option("--no-door", is_flag=True, help="Do without the fast path: slower, otherwise the same.")
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Format of log lines."
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Least severe log lines to write.",
)
@click.option("--access-log", is_flag=True, help="Log each request, with status, bytes and duration.")
@click.pass_context
def serve(context: click.Context, /, **options: Any) -> None:
    """Run a hub until SIGTERM or Ctrl-C.

    If there is no key, one is made and stored in the data directory, except where hubs share a store. Each option can
    also be given in the configuration file or in a variable: --bind in HOOKBOT_BIND. SIGHUP reloads the file, keys,
    secrets and certificates.

    \b
    Example:
      hookbot serve --router github
    """
    # What a start makes stays until the end (`exempt_what_stays`): searching it for garbage takes a tenth of the time.
    gc.disable()
    try:
        _run(context, options)
    finally:
        gc.enable()


def _run(context: click.Context, options: dict[str, Any]) -> None:
    import trio

    from ..hub.hub import run_hub
    from ..hub.shutdown_limit import ShutdownLimit

    raise_file_limit()
    with logging_to_stderr(options["log_format"], options["log_level"], access_log=options["access_log"]):
        config = find_config(context)
        for sentence in unread_variables(os.environ, serve.variables().values(), config.file.text):
            logger.warning("%s", sentence)

        def started(hub: RunningHub) -> None:
            click.echo(welcome(config, hub.url, hub.addresses, secrets=bool(sys.stdout and sys.stdout.isatty())))

        limit = ShutdownLimit()
        try:
            trio.run(run_hub, config, started, partial(find_config_again, context), limit)
        finally:
            limit.stop()


def find_config_again(context: click.Context) -> Config:
    """Configuration for a reload: the same arguments, with the files as they are now; raises `ConfigError`."""
    try:
        with serve.make_context("serve", list(context.meta[ARGUMENTS]), parent=context.parent) as again:
            return find_config(again, make=False)
    except click.ClickException as error:
        raise ConfigError(error.format_message()) from None


def raise_file_limit() -> None:
    """Raise the limit of open files to the hard limit, if the system allows that: every connection is an open file."""
    try:
        import resource
    # Windows has no such limit.
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS refuses "unlimited", although it reports that as the hard limit.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
