"""``hookbot doctor``: the diagnosis of a subscription."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .credentials import find_publish_token, find_token
from .findings import Finding
from .log_lines import log_to_stderr
from .parameters import DURATION, cafile, token_file
from .subscribe_options import run
from .topics import PUBLICATION, SUBSCRIPTION, profile

if TYPE_CHECKING:
    from ..delivery.shutdown import Stop


@click.command()
@click.argument("url", type=SUBSCRIPTION, envvar="HOOKBOT_URL")
@click.option("--pub-url", type=PUBLICATION, help="Publish a message here, and wait until URL receives it.")
@click.option("--wait", type=DURATION, default="20s", show_default=True, help="Limit for a heartbeat; 0 skips it.")
@click.option("--unsafe", is_flag=True, help="Allow /unsafe/sub/..., where anybody may publish.")
@profile
@token_file
@cafile
def doctor(
    url: str, pub_url: str | None, wait: float, unsafe: bool, token_file: Path | None, cafile: Path | None
) -> None:
    """Check each step on the way to a subscription.

    The exit code is that of the first step that fails: 10 name, 11 TCP, 12 TLS, 13 HTTP, 14 hub, 15 token,
    16 websocket, 17 frames, 18 heartbeat, 19 clock. All subscribers of the topic receive the message of --pub-url.

    \b
    Example:
      hookbot doctor https://TOKEN@hub.example.com/sub/deploy --pub-url https://TOKEN@hub.example.com/pub/deploy
    """
    from ..client.address import Address
    from .diagnosis import Diagnosis

    log_to_stderr()
    diagnosis = Diagnosis(
        Address.parse(url, find_token(url, token_file)),
        Finding.show,
        unsafe=unsafe,
        ca_file=cafile,
        publish_to=Address.parse(pub_url, find_publish_token(pub_url)) if pub_url else None,
        wait_s=wait,
    )

    async def main(stop: Stop) -> None:
        await diagnosis.run()

    run(main)
    if diagnosis.broken:
        sys.exit(diagnosis.broken.value)
