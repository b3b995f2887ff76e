"""Whose address a request came from, where proxies stand before the hub."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from .errors import ConfigError


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """Which hops of ``X-Forwarded-For`` are believed: what so many proxies, or those in these networks, added."""

    count: int = 0
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "TrustedProxies":
        """Read ``2`` or ``10.0.0.0/8,fd00::/8``; raises `ConfigError`."""
        if text.isdecimal():
            return cls(count=int(text))
        try:
            return cls(networks=tuple(ip_network(part.strip()) for part in text.split(",") if part.strip()))
        except ValueError as error:
            raise ConfigError(f"trusted proxies are a number or networks such as 10.0.0.0/8: {error}") from None

    def client(self, peer: str, forwarded_for: str) -> str:
        """The rightmost address that is not a trusted proxy's: what is to the left of it, anybody can write."""
        hops = [hop.strip() for hop in forwarded_for.split(",") if hop.strip()]
        trusted = 0
        while hops and (trusted < self.count or self._trusts(peer)):
            peer = hops.pop()
            trusted += 1
        return peer

    def _trusts(self, address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self.networks)
