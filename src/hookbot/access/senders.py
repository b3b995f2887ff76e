"""Senders of publishes: how well the hub knows them before a body has arrived, and what they have shown."""

from collections import OrderedDict
from enum import IntEnum

# Providers deliver in bursts with quiet hours between; an address that changes hands within an hour is rare.
REMEMBERED_S = 3600

# About 2 MiB of memory. Only a valid signature adds a network, so that nobody else can displace any.
MAX_NETWORKS = 10_000

RETRIED_S = 86_400
"""Time for which a sender that signs the time may at least repeat a request unchanged; most do so for some hours."""

# About 3 MiB of memory. Only a valid signature adds a delivery.
MAX_DELIVERIES = 10_000


class Standing(IntEnum):
    """Standing of the sender of a publish before its body has arrived, in the order of trust."""

    UNKNOWN = 0
    """Nothing: the topic is unsafe, and a signature can only be verified with the body."""
    VERIFIED = 1
    """A source verified a new request from the same network within the last hour."""
    TOKEN = 2
    """It has shown a valid token for the topic."""


class VerifiedNetworks:
    """Networks (`client_network`) from which a request was verified within the last hour; the latest `MAX_NETWORKS`."""

    def __init__(self) -> None:
        self._verified_at: OrderedDict[str, float] = OrderedDict()

    def add(self, network: str, *, now_s: float) -> None:
        """Remember a network for an hour from now."""
        self._verified_at[network] = now_s
        self._verified_at.move_to_end(network)
        if len(self._verified_at) > MAX_NETWORKS:
            self._verified_at.popitem(last=False)

    def has(self, network: str, *, now_s: float) -> bool:
        """True if a request from the network was verified within the last hour."""
        verified_at = self._verified_at.get(network)
        return verified_at is not None and now_s - verified_at < REMEMBERED_S


class SeenDeliveries:
    """Signed deliveries that have been verified; the latest `MAX_DELIVERIES`. Anybody who saw one may repeat it."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str], float] = OrderedDict()

    def age_s(self, delivery: tuple[str, str], *, now_s: float) -> float | None:
        """Seconds since a delivery, given by the topic of its source and its fingerprint, was added; None if not."""
        first_s = self._seen.get(delivery)
        return None if first_s is None else now_s - first_s

    def add(self, delivery: tuple[str, str], *, now_s: float) -> None:
        """Remember a delivery, or that it was repeated."""
        self._seen.setdefault(delivery, now_s)
        self._seen.move_to_end(delivery)
        if len(self._seen) > MAX_DELIVERIES:
            self._seen.popitem(last=False)
