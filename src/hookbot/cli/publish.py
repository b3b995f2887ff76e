"""``hookbot publish``: a message from a file or from standard input."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from ..standard_files import printing_of
from .credentials import find_token
from .log_lines import log_to_stderr
from .parameters import cafile, headers, read_headers, read_input, token_file
from .subscribe_options import run
from .topics import PUBLICATION, profile

if TYPE_CHECKING:
    from ..delivery.shutdown import Stop


@click.command()
@click.argument("url", type=PUBLICATION, envvar="HOOKBOT_URL")
@click.argument("file", type=click.File("rb"), default="-")
@headers
@click.option("--type", "-t", "content_type", metavar="TYPE", help="Content-Type, such as application/json.")
@click.option("--key", metavar="TEXT", help="Idempotency-Key: under one key, a message is stored only once.")
@profile
@token_file
@cafile
def publish(
    url: str,
    file: BinaryIO,
    headers: tuple[str, ...],
    content_type: str | None,
    key: str | None,
    token_file: Path | None,
    cafile: Path | None,
) -> None:
    """Publish FILE or standard input as a message.

    Print the id of the message once it is stored. A hub that cannot be reached is retried for half a minute. Within a
    command of `hookbot exec`, the hops of its message are passed on. After `hookbot login`, URL may be a topic.

    \b
    Examples:
      echo hello | hookbot publish https://TOKEN@hub.example.com/pub/greetings
      hookbot publish --type application/json https://TOKEN@hub.example.com/pub/builds build.json
    """
    from .. import client

    log_to_stderr()
    fields = [*read_headers(headers), *([("Content-Type", content_type)] if content_type else [])]
    publishing = partial(
        client.publish,
        url,
        read_input(file),
        headers=fields,
        token=find_token(url, token_file),
        idempotency_key=key,
        hops=tuple(filter(None, os.environ.get("HOOKBOT_HOPS", "").split(","))),
        ca_file=cafile,
    )

    async def main(stop: Stop) -> None:
        id = await publishing()
        with printing_of(f"the message is stored as {id}"):
            click.echo(id)

    run(main)
