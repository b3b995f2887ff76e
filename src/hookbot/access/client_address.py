"""Client addresses, also behind reverse proxies."""

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from ..errors import ConfigError

# Most of a thousand listeners that reconnect at once, behind one proxy or NAT, have sent nothing yet when they are
# accepted. An idle connection costs a few kilobytes, so that a small number would protect little.
DEFAULT_CONNECTIONS_PER_ADDRESS = 4096

Network = IPv4Network | IPv6Network

_LOOPBACK: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))

_ADDRESS = re.compile(r"([0-9.]+):[0-9]+|\[(.+)\](?::[0-9]+)?|(.+)")
"""Address as proxies write it: some append the port, and then put an IPv6 address in brackets."""


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """Proxies whose ``X-Forwarded-For`` is trusted: the last `count` of them, and those in `networks`."""

    count: int = 0
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "TrustedProxies":
        """Parse a count (``2``) or networks (``10.0.0.0/8,fd00::/8``). Raises `ConfigError`."""
        if text.isdecimal():
            return cls(count=int(text))
        try:
            return cls(networks=tuple(ip_network(part.strip()) for part in text.split(",")))
        except ValueError as error:
            raise ConfigError(f"trusted proxies must be a number or networks such as 10.0.0.0/8: {error}") from None

    def __bool__(self) -> bool:
        """True if any proxy is trusted."""
        return self.count > 0 or bool(self.networks)

    def trusts(self, peer: str) -> bool:
        """True if a connection from this address comes from a trusted proxy: with a `count`, all connections do."""
        return self.count > 0 or is_within(peer, self.networks)

    def doubt(self, peer: str, forwarded_for: str) -> str:
        """Reason to doubt that the operator's proxy and configuration agree, judged by one request; "" without one."""
        is_trusted = self.trusts(peer)
        at = f"at {peer}" if peer else "at a Unix socket"
        if is_trusted and not forwarded_for:
            return (
                f"the trusted proxy {at} sends no X-Forwarded-For, so that all of its clients are taken for one: "
                "make it add the address of the client"
            )
        if forwarded_for and not is_trusted and (not peer or is_within(peer, _LOOPBACK)):
            return (
                f"a proxy {at} sends X-Forwarded-For, which is ignored, so that all of its clients are taken for "
                "one: set --trust-proxy"
            )
        return ""

    def client(self, peer: str, forwarded_for: str) -> str:
        """Address of the client: the rightmost one that is not a trusted proxy's. Entries left of it can be forged.

        An entry that is not an address is ignored, and the proxy that forwarded it counts as the client.
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
    """Parse an address as a proxy writes it, with or without port; None if it is not one. IPv4-mapped becomes IPv4."""
    match = _ADDRESS.fullmatch(text)
    try:
        address = ip_address(match[match.lastindex or 0] if match else "")
    except ValueError:
        return None
    # A dual-stack socket reports an IPv4 client as ::ffff:192.0.2.1, which no IPv4 network would contain.
    return getattr(address, "ipv4_mapped", None) or address


def is_within(client: str, networks: tuple[Network, ...]) -> bool:
    """True if the client's address is in one of the networks."""
    if not networks:
        return False
    address = read_address(client)
    return address is not None and any(address in network for network in networks)


# Looked up for each publish: parsing an address takes longer than the rest of its admission.
@lru_cache(maxsize=1024)
def client_network(client: str) -> str:
    """Network that is rate-limited as one client: an IPv4 address, or the /64 that a single IPv6 customer is given."""
    address = read_address(client)
    if isinstance(address, IPv6Address):
        return str(ip_network((address, 64), strict=False))
    return client if address is None else str(address)
