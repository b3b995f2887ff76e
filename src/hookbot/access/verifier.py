"""Verification of signatures: at which time, in which thread, and what its result counts."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

import trio

from ..errors import BadSignature
from ..log.trusted_clock import TrustedClock
from ..protocol.envelope import LARGE_BODY
from ..protocol.message import Draft
from ..protocol.request import Request
from ..protocol.response import Response
from ..protocol.topics import is_unsafe
from ..signatures import CertificateNeeded, SignedRequest
from ..threads import hub_threads
from .admitted import Accepted, AdmittedPublish, Genuine
from .client_address import client_network
from .fetching import Fetches
from .quotas import Quota, count_publish
from .rate_limits import RateLimiter
from .senders import RETRIED_S, SeenDeliveries, Standing, VerifiedNetworks
from .sources import Source

# One for each core of a small machine: what is parsed holds the interpreter's lock for most of the time.
VERIFYING_THREADS = 2

# Parsing takes up to a hundred times as long as hashing.
SMALL_BODY = 16 << 10

T = TypeVar("T")


class Verifier:
    """Verifier of signed requests.

    Each invalid signature is counted against the rate of `failures` for the client's network; the network of a genuine
    publish that is new is remembered for an hour.
    """

    def __init__(self, clock: TrustedClock, failures: RateLimiter, fetches: Fetches) -> None:
        self.failures = failures
        """Limit on requests without a valid token or signature, by client network."""
        # Two, so that a body that only has to be hashed does not wait for one that has to be parsed.
        self.hashing = trio.CapacityLimiter(VERIFYING_THREADS)
        self.parsing = trio.CapacityLimiter(VERIFYING_THREADS)
        self._clock = clock
        self._fetches = fetches
        self._verified = VerifiedNetworks()
        self._seen = SeenDeliveries()

    def standing(self, network: str) -> Standing:
        """Standing of a sender without a token, given its `client_network`."""
        return Standing.VERIFIED if self._verified.has(network, now_s=self._clock.monotonic_s) else Standing.UNKNOWN

    def check_head(self, request: Request, source: Source) -> SignedRequest:
        """The head of a request as its sender has signed it.

        Raises `BadSignature` if it shows that the request is not genuine, and `TooManyRequests` after too many.
        """
        signed = source.signed(request)
        try:
            self._check_now(lambda now_s: source.check_head(signed, now_s=now_s))
        except BadSignature:
            self._count_failure(request)
            raise
        return signed

    def handshake(self, request: Request, source: Source) -> Response | None:
        """Response to a challenge without a body, or None for any other request. Raises as `check_head`."""
        signed = source.signed(request)
        try:
            return self._check_now(lambda now_s: source.handshake(signed, now_s=now_s))
        except BadSignature:
            self._count_failure(request)
            raise

    def verify_now(self, admitted: AdmittedPublish, body: bytes) -> Draft | Response | None:
        """As `verify`, without a task; None if that, or the response, has to wait: then call `verify`."""
        source = admitted.source
        if not _is_small(admitted, body) or admitted.has_own_answer:
            return None
        if source is None:
            self.count_publish(admitted.quotas, len(body))
            return admitted.draft(body)
        try:
            accepted = self._accept(admitted, body)
            # It is verified once more before its URL is fetched; only few requests have one.
            if isinstance(accepted, Genuine) and accepted.confirm_url:
                return None
            return self._count_genuine(admitted, source, accepted)
        except CertificateNeeded:
            return None
        except BadSignature:
            self._count_failure(admitted.request.http)
            raise

    async def verify(self, admitted: AdmittedPublish, body: bytes) -> Draft | Response:
        """The draft to store, or the response to a provider's challenge, without blocking the loop.

        Large bodies are verified in threads; what waits for a thread is dropped if it is cancelled. Fetches a
        certificate or a confirmation URL where the provider's scheme needs one. Raises `BadSignature`, `BodyTooLarge`
        if the body would have to be parsed and is beyond the ceiling, `Forbidden` if it names an owner that is not the
        source's, `TooManyRequests` after too many bad signatures, publishes or fetches, and `Unavailable` if a fetch
        fails.
        """
        source, request = admitted.source, admitted.request.http
        if source is None:
            self.count_publish(admitted.quotas, len(body))
            return await self._run(admitted, body, lambda: admitted.draft(body))
        client = client_network(request.client)
        accept = partial(self._accept, admitted, body)
        try:
            try:
                accepted = await self._run(admitted, body, accept)
            except CertificateNeeded as needed:
                # Verification is pure and cannot fetch: it names the certificate, and runs again once the cache has it.
                await self._fetches.fill(needed.cache, needed.url, client, now_s=self._clock.monotonic_s)
                accepted = await self._run(admitted, body, accept)
            verified = self._count_genuine(admitted, source, accepted)
        except BadSignature:
            self._count_failure(request)
            raise
        if isinstance(accepted, Genuine) and accepted.confirm_url:
            await self._fetches.get(accepted.confirm_url, client, now_s=self._clock.monotonic_s)
        return verified

    async def _run(self, admitted: AdmittedPublish, body: bytes, work: Callable[[], T]) -> T:
        """Result of work on the body of an admitted publish: in a thread if the body is large."""
        if _is_small(admitted, body):
            await trio.lowlevel.checkpoint()
            return work()
        # Unknown senders have few threads, so that others do not wait for them; requests with a token have the hub's.
        limited = self.parsing if _is_parsed(admitted) else self.hashing
        limiter = limited if is_unsafe(admitted.request.topic) else hub_threads()
        # Abandoned if the client leaves or the hub shuts down: the ceilings keep short what a thread still does.
        return await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=limiter)

    def _accept(self, admitted: AdmittedPublish, body: bytes) -> Accepted:
        return self._check_now(lambda now_s: admitted.accept(body, now_s=now_s))

    def _check_now(self, check: Callable[[float], T]) -> T:
        """Result of a check of a signature at the current time, in seconds since 1970. Raises what the check raises.

        While the machine's clock is ahead, perhaps rightly, a signature that is not fresh may be so by that clock.
        """
        times = self._clock.possible_s
        for now_s in times[:-1]:
            with suppress(BadSignature):
                return check(now_s)
        return check(times[-1])

    def _count_failure(self, request: Request) -> None:
        """Count an invalid signature; raise `TooManyRequests` beyond the limit."""
        self.failures.use(client_network(request.client), now_s=self._clock.monotonic_s)

    def count_publish(self, quotas: Sequence[Quota], size: int) -> None:
        """Count a publish whose body, of this size, is there and genuine. Raises `QuotaReached` beyond a quota."""
        # Mostly there are none, and asking for the time would cost more than all the rest.
        if quotas:
            count_publish(quotas, size, now_s=self._clock.monotonic_s)

    def _count_genuine(self, admitted: AdmittedPublish, source: Source, accepted: Accepted) -> Draft | Response:
        """Draft or response that is accepted; the network of a genuine publish is remembered.

        It is counted against its source's rate and its quotas; raises `TooManyRequests` beyond them. After
        verification, because otherwise anybody could use them up. A repeat shows only that its sender saw the delivery:
        it makes no network known, and does not use up the rate of what is new. Those that are stored are counted by
        network, and in the quotas. Raises `BadSignature` for one with a signed time that is fresh again, since the
        clock was set back for good.
        """
        if not isinstance(accepted, Genuine):
            return accepted
        genuine, request = accepted, admitted.request.http
        network, now_s = client_network(request.client), self._clock.monotonic_s
        delivery = None if genuine.signed is None else (source.topic, genuine.signed)
        age_s = delivery and self._seen.age_s(delivery, now_s=now_s)
        is_stored = age_s is None or not any(once.exclusive for once in genuine.draft.once)
        if age_s is None:
            request.authenticated = True
            self._verified.add(network, now_s=now_s)
            if source.publishes:
                source.publishes.use(source.topic, now_s=now_s)
        # The `max_age` of the source may be some days.
        elif genuine.signed_at is not None and age_s > max(RETRIED_S, source.provider.window_s):
            raise BadSignature(f"the same request came {age_s:.0f} seconds ago, so that its signature cannot be fresh")
        elif source.publishes and is_stored:
            source.publishes.use(f"{source.topic} from {network}", now_s=now_s)
        if is_stored:
            self.count_publish(admitted.quotas, len(genuine.draft.body))
        source.activity.accept(now_s, is_repeat=age_s is not None)
        if delivery:
            self._seen.add(delivery, now_s=now_s)
        return genuine.draft


def _is_parsed(admitted: AdmittedPublish) -> bool:
    return admitted.source is not None and admitted.source.parses_body


def _is_small(admitted: AdmittedPublish, body: bytes) -> bool:
    """True if hashing or parsing the body takes about a millisecond at most: a thread is only worth it above."""
    if admitted.source is None and not admitted.request.idempotency_key:
        return True
    return len(body) <= (SMALL_BODY if _is_parsed(admitted) else LARGE_BODY)
