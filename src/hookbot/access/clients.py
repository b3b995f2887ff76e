"""Clients of requests: whose address counts, behind proxies and other hubs of the family."""

import logging

from ..log.trusted_clock import TrustedClock
from ..protocol.request import Request
from . import relayed
from .client_address import TrustedProxies
from .token_checks import TokenChecks

logger = logging.getLogger(__package__)


class Clients:
    """Addresses of the clients of requests, which only trusted proxies and hubs with the same key report."""

    def __init__(self, proxies: TrustedProxies, tokens: TokenChecks, clock: TrustedClock) -> None:
        self.proxies = proxies
        """Proxies whose word is taken; others after a reload."""
        self._tokens = tokens
        self._clock = clock
        self._doubted = False

    def adopt(self, other: "Clients") -> None:
        """Take over the proxies of `other`."""
        self.proxies, self._doubted = other.proxies, False

    def is_proxy(self, peer: str) -> bool:
        """True if connections from this address are those of a trusted proxy."""
        return self.proxies.trusts(peer)

    def resolve(self, request: Request) -> Request:
        """Set the request's client to the address that proxies or hubs report, if trusted, and return it. Call it once.

        Raises `Refused` if the query has too many parameters.
        """
        request.check_parameters()
        forwarded_for = request.header("x-forwarded-for")
        # Mostly there is neither.
        if self.proxies or forwarded_for:
            is_checked = self._doubted or request.method != "POST"
            if not is_checked and (doubt := self.proxies.doubt(request.client, forwarded_for)):
                self._doubted = True
                logger.warning("%s", doubt)
            request.client = self.proxies.client(request.client, forwarded_for)
        if relayed.HEADER in request.fields:
            client = relayed.read_client(request, self._tokens.authorizer.keys, now_s=self._clock() / 1e6)
            request.client = request.client if client is None else client
        return request

    def relayed_field(self, request: Request) -> tuple[str, str]:
        """Header field with which another hub of the family is told the client of a relayed request."""
        return relayed.HEADER, relayed.sign(request, self._tokens.authorizer.keys[0], now_s=self._clock() / 1e6)
