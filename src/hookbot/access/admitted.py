"""Publishes and subscriptions that were admitted, and what they were granted."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from math import inf
from urllib.parse import unquote_plus

from ..protocol.message import Draft, Headers, Once
from ..protocol.publish import PublishRequest
from ..protocol.response import Response
from ..protocol.subscribe import SubscribeRequest
from .authorizer import Authorizer, Grant
from .sources import Source

SECRET_HEADERS = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "cookie",
        "x-gitlab-token",
        "x-telegram-bot-api-secret-token",
        "x-goog-channel-token",
    }
)
"""Headers that are a secret by themselves: whoever reads one could pose as the sender. Never stored."""


@dataclass(frozen=True, slots=True)
class AdmittedSubscription:
    """A subscription that was admitted: what it asks for, as far as its token grants it."""

    request: SubscribeRequest
    grant: Grant


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A draft whose sender begins to send once somebody has fetched a URL."""

    draft: Draft
    url: str


Accepted = Draft | Confirmation | Response
"""The outcome of a publish; a `Response` is for a sender whose request was a challenge."""


@dataclass(frozen=True)
class AdmittedPublish:
    """A publish that was admitted and may now send its body."""

    request: PublishRequest
    max_body_bytes: int | None = None
    source: Source | None = None
    """The source that it has to come from; then `accept` verifies it."""
    authorizer: Authorizer | None = None
    """The authorizer that admitted it; another one has to be asked anew."""
    expires_s: float = inf
    """The end of its token, in seconds since 1970."""

    def accept(self, body: bytes, *, now_s: float) -> Accepted:
        """The outcome of the whole publish; takes long for a large body that is signed.

        Raises `BadSignature` or `CertificateNeeded`.
        """
        if self.source is None:
            return self.draft(body)
        publish, signed = self.request, self.source.signed(self.request.http, body)
        response = self.source.handshake(signed, now_s=now_s)
        if response is not None:
            return response
        verification = self.source.verify(signed, now_s=now_s)
        stripped = verification.stripped
        # What makes a repeat is for the provider to say: an Idempotency-Key beside a signature is anybody's to write.
        headers, query = _without_secrets(stripped.headers, stripped.query)
        draft = Draft(publish.topic, body, headers, query, verification.verified, publish.hops, verification.once)
        return Confirmation(draft, verification.confirm_url) if verification.confirm_url else draft

    def draft(self, body: bytes) -> Draft:
        """The draft of a publish that does not have to come from a source."""
        publish = self.request
        key = publish.idempotency_key
        once = (Once(publish.topic, key, fingerprint=sha256(body).digest()),) if key else ()
        headers, query = self._kept
        return Draft(publish.topic, body, headers, query, hops=publish.hops, once=once)

    @cached_property
    def _kept(self) -> tuple[Headers, str]:
        http = self.request.http
        return _without_secrets(http.headers, http.query)


def _without_secrets(headers: Headers, query: str) -> tuple[Headers, str]:
    return tuple(pair for pair in headers if pair[0].lower() not in SECRET_HEADERS), _without_token(query)


def _without_token(query: str) -> str:
    if not query:
        return query
    return "&".join(part for part in query.split("&") if unquote_plus(part.partition("=")[0]) != "token")
