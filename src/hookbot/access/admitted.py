"""A publish, from being let in until it is a draft."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from math import inf
from urllib.parse import unquote_plus

from ..protocol.message import Draft, Headers, Once
from ..protocol.request import Request
from ..signatures import Reply
from .authorizer import Authorizer
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
class Confirmation:
    """A draft whose sender begins to send once somebody has fetched a URL."""

    draft: Draft
    url: str


Accepted = Draft | Confirmation | Reply
"""What a publish comes to; a `Reply` answers a sender who only asks who is there."""


@dataclass(frozen=True)
class AdmittedPublish:
    """A publish that was let in and may now send its body."""

    request: Request
    topic: str
    client: str = ""
    """Whom to count it for."""
    max_body_bytes: int | None = None
    hops: tuple[str, ...] = ()
    idempotency_key: str = ""
    source: Source | None = None
    """Where it has to come from; then `accept` verifies it."""
    authorizer: Authorizer | None = None
    """Whose word it was let in by; that of another has to be asked for anew."""
    expires_s: float = inf
    """Until when its token is good, in seconds since 1970."""

    def accept(self, body: bytes, *, now_s: float) -> Accepted:
        """What the whole publish comes to; takes long for a large body that is signed.

        Raises `BadSignature` or `CertificateNeeded`.
        """
        if self.source is None:
            return self.draft(body)
        signed = self.source.signed(self.request, body)
        reply = self.source.handshake(signed, now_s=now_s)
        if reply is not None:
            return reply
        verification = self.source.verify(signed, now_s=now_s)
        stripped = verification.stripped
        # What makes a repeat is for the provider to say: an Idempotency-Key beside a signature is anybody's to write.
        headers, query = _without_secrets(stripped.headers, stripped.query)
        draft = Draft(self.topic, body, headers, query, verification.verified, self.hops, verification.once)
        return Confirmation(draft, verification.confirm_url) if verification.confirm_url else draft

    def draft(self, body: bytes) -> Draft:
        """The draft, of a publish that does not have to come from anywhere."""
        key = self.idempotency_key
        once = (Once(self.topic, key, fingerprint=sha256(body).digest()),) if key else ()
        headers, query = self._kept
        return Draft(self.topic, body, headers, query, hops=self.hops, once=once)

    @cached_property
    def _kept(self) -> tuple[Headers, str]:
        return _without_secrets(self.request.headers, self.request.query)


def _without_secrets(headers: Headers, query: str) -> tuple[Headers, str]:
    return tuple(pair for pair in headers if pair[0].lower() not in SECRET_HEADERS), _without_token(query)


def _without_token(query: str) -> str:
    if not query:
        return query
    return "&".join(part for part in query.split("&") if unquote_plus(part.partition("=")[0]) != "token")
