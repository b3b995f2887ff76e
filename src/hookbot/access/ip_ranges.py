"""Networks that senders publish as theirs, kept in a file of the data directory."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from ..errors import ConfigError, Unavailable
from .client_address import Network

MAX_BYTES = 8 << 20
WIDEST = {4: 8, 6: 16}
"""The shortest prefix for each IP version: no sender has a wider network, and a list with one would admit everybody."""


@dataclass(frozen=True, slots=True)
class RangeList:
    """A list of networks that a sender publishes: its URL, the part of it, and its content when last fetched."""

    url: str
    select: str
    """The networks in the JSON at `url`, as a JMESPath expression."""
    networks: tuple[str, ...] = ()
    updated: str = ""
    """When it was fetched, RFC 3339."""


_ATLASSIAN = "items[?contains(product, '%s') && (!direction || contains(direction, 'egress'))].cidr"

KNOWN = {
    "github": RangeList("https://api.github.com/meta", "hooks"),
    "bitbucket": RangeList("https://ip-ranges.atlassian.com/", _ATLASSIAN % "bitbucket"),
    "jira": RangeList("https://ip-ranges.atlassian.com/", _ATLASSIAN % "jira"),
    "stripe": RangeList("https://stripe.com/files/ips/ips_webhooks.json", "WEBHOOKS"),
    "pagerduty": RangeList("https://app.pagerduty.com/webhook_ips", "@"),
}
"""Lists that senders document."""


def read_ranges(path: Path) -> dict[str, RangeList]:
    """All lists in a file, none if there is no file; raises `ConfigError`."""
    try:
        document = json.loads(path.read_text()) if path.exists() else {}
        return {
            name: RangeList(**{**fields, "networks": tuple(fields["networks"])}) for name, fields in document.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"{path} is not as `hookbot update-ranges` writes it: {error!r}") from None


def write_ranges(path: Path, ranges: Mapping[str, RangeList]) -> None:
    """Write all lists to a file, which is replaced atomically; raises `ConfigError`."""
    new = path.with_suffix(".new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new.write_text(json.dumps({name: asdict(one) for name, one in ranges.items()}, indent=1) + "\n")
        new.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error}") from None


def networks_of(ranges: Mapping[str, RangeList]) -> dict[str, Sequence[Network]]:
    """The networks of each list; raises `ConfigError`."""
    try:
        return {name: [ip_network(text) for text in one.networks] for name, one in ranges.items()}
    except ValueError as error:
        raise ConfigError(f"the ranges have what is no network: {error}") from None


def select_networks(document: bytes, select: str, url: str) -> tuple[str, ...]:
    """The networks in a published list; raises `Unavailable` for what cannot be one."""
    try:
        found: Any = _compile(select)(json.loads(document))
        networks = sorted(set(map(_network, found)), key=lambda network: (network.version, network))
    except (ValueError, TypeError, RecursionError, JMESPathError) as error:
        raise Unavailable(f"at {url} there are no networks where {select!r} says: {error}") from None
    if not networks:
        raise Unavailable(f"at {url} there are no networks where {select!r} says")
    for network in networks:
        if network.prefixlen < WIDEST[network.version]:
            raise Unavailable(f"at {url} there is {network}, which is wider than anybody's")
    return tuple(map(str, networks))


def _network(text: object) -> Network:
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is no text")
    return ip_network(text)


def _compile(select: str) -> Callable[[Any], Any]:
    search: Callable[[Any], Any] = jmespath.compile(select).search
    return search
