"""Whose address a request came from, where proxies stand before the hub."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from ..errors import ConfigError

Network = IPv4Network | IPv6Network

_ADDRESS = re.compile(r"([0-9.]+):[0-9]+|\[(.+)\](?::[0-9]+)?|(.+)")
"""As proxies write it: some add the port, and an IPv6 address has brackets then."""


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """Which hops of ``X-Forwarded-For`` are believed: what so many proxies, or those in these networks, added."""

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
        """The rightmost address that is not a trusted proxy's: what is to the left of it, anybody can write.

        What is no address is not believed: then the proxy that passed it on is as far as anybody knows.
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


def neighbourhood(client: str) -> str:
    """Whom to count as one: an IPv4 address, or the /64 of an IPv6 address, which one customer has whole."""
    address = read_address(client)
    return str(ip_network((address, 64), strict=False)) if isinstance(address, IPv6Address) else client
