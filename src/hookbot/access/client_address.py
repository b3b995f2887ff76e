"""The address of a client, also where the hub is behind proxies."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from ..errors import ConfigError

Network = IPv4Network | IPv6Network

_ADDRESS = re.compile(r"([0-9.]+):[0-9]+|\[(.+)\](?::[0-9]+)?|(.+)")
"""An address as proxies write it: some add the port, and an IPv6 address has brackets then."""


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """The proxies whose ``X-Forwarded-For`` is believed: so many of them, or those in these networks."""

    count: int = 0
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "TrustedProxies":
        """Read ``2`` or ``10.0.0.0/8,fd00::/8``; raises `ConfigError`."""
        if text.isdecimal():
            return cls(count=int(text))
        try:
            return cls(networks=tuple(ip_network(part.strip()) for part in text.split(",")))
        except ValueError as error:
            raise ConfigError(f"trusted proxies are a number, or networks such as 10.0.0.0/8: {error}") from None

    def client(self, peer: str, forwarded_for: str) -> str:
        """The client's address, the rightmost that is not a trusted proxy's: anybody can forge those to the left of it.

        An entry that is no address is not believed: the address is that of the proxy that passed it on.
        """
        hops = forwarded_for.split(",")
        trusted = 0
        while hops and (trusted < self.count or is_within(peer, self.networks)):
            address = read_address(hops.pop().strip())
            if address is None:
                break
            peer = str(address)
            trusted += 1
        return peer


def read_address(text: str) -> IPv4Address | IPv6Address | None:
    """An address as a proxy writes it, with or without port; None if it is none."""
    match = _ADDRESS.fullmatch(text)
    try:
        address = ip_address(match[match.lastindex or 0] if match else "")
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_within(client: str, networks: tuple[Network, ...]) -> bool:
    """Whether the address lies in one of the networks."""
    if not networks:
        return False
    address = read_address(client)
    return address is not None and any(address in network for network in networks)


def client_network(client: str) -> str:
    """The network that is rate-limited as one client: an IPv4 address, or the /64 that one IPv6 customer has."""
    address = read_address(client)
    return str(ip_network((address, 64), strict=False)) if isinstance(address, IPv6Address) else client
