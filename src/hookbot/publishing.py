"""A publish, from being let in until it is a draft."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from .errors import BadSignature
from .message import Draft, Headers, Once
from .request import Request
from .signatures import Reply
from .sources import Source

SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "x-gitlab-token"})
"""Headers that are a secret by themselves: whoever reads one could pose as the sender. Never stored."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A draft whose sender begins to send once somebody has fetched a URL."""

    draft: Draft
    url: str


Accepted = Draft | Confirmation | Reply
"""What a publish comes to; a `Reply` answers a sender who only asks who is there."""


@dataclass(frozen=True, slots=True)
class Publishing:
    """A publish that was let in and may now send its body."""

    request: Request
    topic: str
    hops: tuple[str, ...] = ()
    idempotency_key: str = ""
    source: Source | None = None
    """Where it has to come from; then `accept` verifies it."""
    count_failure: Callable[[], None] = lambda: None
    """Called for a bad signature; raises `TooManyRequests` when there were too many."""

    def accept(self, body: bytes, *, now_s: float) -> Accepted:
        """What the whole publish comes to.

        Raises `BadSignature`, `BodyTooLarge` or `CertificateNeeded`. Takes long for a large body that is signed.
        """
        if self.source is None:
            return self.draft(body)
        self.source.check_size(len(body))
        try:
            return self._verify(self.source, body, now_s)
        except BadSignature as error:
            logger.warning("not from %s, refused on %s: %s", self.source.provider.name, self.topic, error)
            self.count_failure()
            raise

    def draft(self, body: bytes) -> Draft:
        """The draft, of a publish that does not have to come from anywhere."""
        return self._draft(body, self.request.headers, self.request.query, once=self._once(body))

    def _verify(self, source: Source, body: bytes, now_s: float) -> Accepted:
        signed = source.signed(self.request, body)
        reply = source.handshake(signed, now_s=now_s)
        if reply is not None:
            return reply
        verification = source.verify(signed, now_s=now_s)
        stripped = verification.stripped
        once = verification.once + self._once(body)
        draft = self._draft(body, stripped.headers, stripped.query, once=once, verified=verification.verified)
        return Confirmation(draft, verification.confirm_url) if verification.confirm_url else draft

    def _draft(self, body: bytes, headers: Headers, query: str, **proof: Any) -> Draft:
        kept = tuple(pair for pair in headers if pair[0].lower() not in SECRET_HEADERS)
        return Draft(self.topic, body, kept, _without_token(query), hops=self.hops, **proof)

    def _once(self, body: bytes) -> tuple[Once, ...]:
        if not self.idempotency_key:
            return ()
        return (Once(self.topic, self.idempotency_key, fingerprint=sha256(body).digest()),)


def _without_token(query: str) -> str:
    return "&".join(part for part in query.split("&") if part.partition("=")[0] != "token")
