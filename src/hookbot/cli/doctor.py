"""``hookbot doctor``: which hop to a hub is broken."""

import sys
from pathlib import Path

import click

from ..client.address import Address
from ..delivery.shutdown import Stop
from .diagnosis import Diagnosis, Finding
from .parameters import DURATION
from .subscribe_options import cafile, find_publish_token, find_token, run, set_up_saying, token_file

_SHOWN = {True: ("ok", "green"), False: ("failed", "red"), None: ("-", "bright_black")}


@click.command()
@click.argument("url", envvar="HOOKBOT_URL", metavar="URL")
@click.option("--pub-url", metavar="URL", help="Publishes to what URL hears: a message is sent around.")
@click.option("--wait", type=DURATION, default="20s", show_default=True, help="For a heartbeat; 0: do not.")
@click.option("--unsafe", is_flag=True, help="Needed for /unsafe/sub/...")
@token_file
@cafile
def doctor(
    url: str, pub_url: str | None, wait: float, unsafe: bool, token_file: Path | None, cafile: Path | None
) -> None:
    """Walk the hops to a subscription, and name the one that is broken. The exit code says which.

    10 name, 11 TCP, 12 TLS, 13 HTTP, 14 not a hookbot, 15 token, 16 websocket, 17 frames, 18 heartbeat, 19 clock

    \b
    Example:
      hookbot doctor https://TOKEN@hub.example.com/sub/deploy --pub-url https://TOKEN@hub.example.com/pub/deploy
    """
    set_up_saying()
    checkup = Diagnosis(
        Address.parse(url, find_token(url, token_file)),
        _tell,
        unsafe=unsafe,
        ca_file=cafile,
        publish_to=Address.parse(pub_url, find_publish_token(pub_url)) if pub_url else None,
        wait_s=wait,
    )

    async def main(stop: Stop) -> None:
        await checkup.run()

    run(main)
    if checkup.broken:
        sys.exit(checkup.broken.value)


def _tell(finding: Finding) -> None:
    word, colour = _SHOWN[finding.good]
    shown = click.style(f"{word:7}", fg=colour)
    click.echo(f"{shown} {finding.hop.name.lower():9}  {finding.text}")
    if finding.advice:
        click.echo(f"{'':17}  {finding.advice}")
