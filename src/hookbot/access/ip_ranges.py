"""Lists of the networks that senders publish, kept in a file in the data directory."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from ..errors import ConfigError, Unavailable, system_reason
from ..protocol.pasted import read_text
from ..protocol.urls import without_secrets
from .client_address import Network

# Clouds publish lists of several MiB.
MAX_BYTES = 8 << 20
WIDEST = {4: 8, 6: 16}
"""Shortest prefix accepted for each IP version. No sender owns more; a list with 0.0.0.0/0 would admit everybody."""


@dataclass(frozen=True, slots=True)
class RangeList:
    """A published list of networks: its URL, the expression that selects them, and the networks last downloaded."""

    url: str
    select: str
    """JMESPath expression for the networks in the JSON document at `url`."""
    networks: tuple[str, ...] = ()
    updated: str = ""
    """Time of the last download (RFC 3339)."""


_ATLASSIAN = "items[?contains(product, '%s') && (!direction || contains(direction, 'egress'))].cidr"

KNOWN = {
    "github": RangeList("https://api.github.com/meta", "hooks"),
    "bitbucket": RangeList("https://ip-ranges.atlassian.com/", _ATLASSIAN % "bitbucket"),
    "jira": RangeList("https://ip-ranges.atlassian.com/", _ATLASSIAN % "jira"),
    "stripe": RangeList("https://stripe.com/files/ips/ips_webhooks.json", "WEBHOOKS"),
    "pagerduty": RangeList("https://app.pagerduty.com/webhook_ips", "@"),
}
"""Lists that the senders document, by name."""


def read_ranges(path: Path) -> dict[str, RangeList]:
    """Lists in a file, by name; empty if the file does not exist. Raises `ConfigError`."""
    try:
        document = json.loads(read_text(path)) if os.path.exists(path) else {}
        return {
            name: RangeList(**{**fields, "networks": tuple(fields["networks"])}) for name, fields in document.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ConfigError(
            f"{path} is not a file that `hookbot update-ranges` wrote; delete it and run the command again"
        ) from None


def write_ranges(path: Path, ranges: Mapping[str, RangeList]) -> None:
    """Replace the file atomically with these lists. Raises `ConfigError`."""
    new = path.with_suffix(".new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new.write_text(json.dumps({name: asdict(one) for name, one in ranges.items()}, indent=1) + "\n")
        new.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {system_reason(error)}") from None


def networks_of(ranges: Mapping[str, RangeList]) -> dict[str, Sequence[Network]]:
    """Networks of each list, parsed. Raises `ConfigError` if one is malformed."""
    try:
        return {name: [ip_network(text) for text in one.networks] for name, one in ranges.items()}
    except ValueError as error:
        raise ConfigError(f"run `hookbot update-ranges` again, a list of networks is damaged: {error}") from None


def select_networks(document: bytes, select: str, url: str) -> tuple[str, ...]:
    """Networks in a published document, sorted. Raises `Unavailable` if it has none, or a malformed or too wide one."""
    # Only `update-ranges` selects, and the hub, which reads the result, starts sooner without it.
    import jmespath  # noqa: PLC0415
    from jmespath.exceptions import JMESPathError  # noqa: PLC0415

    url = without_secrets(url)
    try:
        found: Any = jmespath.search(select, json.loads(document))
        networks = sorted(set(map(_network, found)), key=lambda network: (network.version, network))
    except (ValueError, TypeError, RecursionError, JMESPathError) as error:
        raise Unavailable(f"{url} has no list of networks at {select!r}: {error}") from None
    if not networks:
        raise Unavailable(f"{url} has no networks at {select!r}")
    for network in networks:
        if network.prefixlen < WIDEST[network.version]:
            raise Unavailable(f"{network} in {url} is too wide to be a sender's")
    return tuple(map(str, networks))


def _network(text: object) -> Network:
    # ip_network also takes numbers and bytes: 10 would be 0.0.0.10/32.
    if not isinstance(text, str):
        raise ValueError(f"{text!r:.80} is not a string")
    return ip_network(text)
