"""Findings of ``hookbot doctor``: the checks, their results, and advice for those that failed."""

import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import IntEnum

import click

from ..terminal import one_line

# Date has whole seconds, and the response took time to arrive.
MAX_SKEW_S = 5.0
_SHOWN = {True: ("ok", "green"), False: ("failed", "red"), None: ("-", "bright_black")}


class Check(IntEnum):
    """Step of subscribing; its value is the exit code of ``hookbot doctor`` if it is the first that fails."""

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
    Check.NAME: "Is it spelled correctly? Does this machine use the right name server?",
    Check.TCP: "Is the hub running? Does a firewall block outgoing connections? HTTPS_PROXY names a proxy.",
    Check.TLS: "Use --cafile for a private certificate authority, http:// for a port without TLS. Is the clock right?",
    Check.HTTP: "Does this port speak HTTP? If a proxy answers, can it reach the hub behind it?",
    Check.HUB: "Is this the right host and port? Does a proxy in front of the hub forward every path?",
    Check.TOKEN: "A token opens one path, or all paths beneath it: hookbot make-tokens makes one.",
    Check.UPGRADE: "Every proxy must forward websockets: the headers Upgrade and Connection, over HTTP/1.1.",
    Check.FRAMES: "A proxy may be buffering the response: turn its buffering off.",
    Check.HEARTBEAT: "A proxy may close or hold back idle connections: set its timeout to more than a minute.",
    Check.CLOCK: "Synchronise the clocks by NTP: signatures, certificates and tokens depend on the time.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of a check: `good` is True if it passed, False if it failed, None if it was skipped or is inconclusive."""

    check: Check
    good: bool | None
    text: str
    advice: str = ""

    def show(self) -> None:
        """Print the finding and, on the next line, its advice if it has any."""
        word, colour = _SHOWN[self.good]
        click.echo(f"{click.style(f'{word:7}', fg=colour)} {self.check.name.lower():9}  {one_line(self.text)}")
        if self.advice:
            click.echo(f"{'':17}  {self.advice}")


def compare_clocks(date: str) -> tuple[bool | None, str]:
    """Compare our clock with the ``Date`` of a response; return a verdict and its description.

    The verdict is True within `MAX_SKEW_S`, False beyond it, and None if the date is invalid.
    """
    try:
        skew_s = time.time() - parsedate_to_datetime(date).timestamp()
    # A date that no calendar has may raise any of these.
    except (ValueError, TypeError, OverflowError, OSError):
        return None, "the response has no valid Date"
    if abs(skew_s) <= MAX_SKEW_S:
        return True, "the clocks agree"
    return False, f"the clock here is {abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} the hub's"
