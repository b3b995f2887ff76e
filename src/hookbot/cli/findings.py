"""Findings of ``hookbot doctor``: what is checked on the way to a hub, and what to do about what is broken."""

import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import IntEnum

import click

MAX_SKEW_S = 5.0  # Date has whole seconds, and the answer took its time
_SHOWN = {True: ("ok", "green"), False: ("failed", "red"), None: ("-", "bright_black")}


class Check(IntEnum):
    """Check of one step on the way to a hub; its value is the exit code of `hookbot doctor` if it fails."""

    NAME = 10
    TCP = 11
    TLS = 12
    HTTP = 13
    HUB = 14
    TOKEN = 15
    UPGRADE = 16
    FRAMES = 17
    HEARTBEAT = 18
    CLOCK = 19


ADVICE = {
    Check.NAME: "Is it spelled correctly? Does this machine ask the right name server?",
    Check.TCP: "Is it running? Does a firewall let this machine out? A proxy is named by HTTPS_PROXY.",
    Check.TLS: "--cafile names an authority of your own; http:// is for a port without TLS. Is the clock right?",
    Check.HTTP: "Does this port speak HTTP? If a proxy answers, can it reach the hub behind it?",
    Check.HUB: "Is this the right host and port? Does a proxy in front pass every path on?",
    Check.TOKEN: "A token is for one path, or for what is beneath it: hookbot make-tokens makes one.",
    Check.UPGRADE: "A proxy on the way has to pass websockets on: the headers Upgrade and Connection, over HTTP/1.1.",
    Check.FRAMES: "A proxy on the way may hold back what passes: turn its buffering off.",
    Check.HEARTBEAT: "A proxy on the way may cut or hold quiet connections: give it a timeout of over a minute.",
    Check.CLOCK: "Set the clocks by NTP: signatures, certificates and tokens have times.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Outcome of a check: it is good, bad, or (None) there was nothing to look at."""

    check: Check
    good: bool | None
    text: str
    advice: str = ""

    def show(self) -> None:
        """Print it, with the advice below."""
        word, colour = _SHOWN[self.good]
        click.echo(f"{click.style(f'{word:7}', fg=colour)} {self.check.name.lower():9}  {self.text}")
        if self.advice:
            click.echo(f"{'':17}  {self.advice}")


def compare_clocks(date: str) -> tuple[bool | None, str]:
    """Comparison of our clock with the ``Date`` of an answer: good or not, and in words."""
    try:
        skew_s = time.time() - parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None, "the hub does not say what time it has"
    if abs(skew_s) <= MAX_SKEW_S:
        return True, "the clocks agree"
    return False, f"the clock here is {abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} the hub's"
