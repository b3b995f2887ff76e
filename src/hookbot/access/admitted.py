"""Admitted publishes and subscriptions, with what they were granted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from urllib.parse import unquote_plus

from ..errors import Forbidden
from ..protocol.message import METHOD_HEADER, Draft, Headers, Once, format_time
from ..protocol.publish import PublishRequest
from ..protocol.request import Request
from ..protocol.response import Response
from ..protocol.since import AfterId
from ..protocol.subscribe import SubscribeRequest
from ..signatures import SignedRequest
from .authorizer import Grant
from .quotas import NO_QUOTAS, Quota
from .sources import Source

SECRET_HEADERS = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "cookie",
        "x-gitlab-token",
        "x-telegram-bot-api-secret-token",
        "x-goog-channel-token",
        # Some clients put the token of a subscription there.
        "sec-websocket-protocol",
    }
)
"""Headers that hold a reusable secret. They are never stored: a subscriber could pose as the sender with them."""

NEVER_STORED = SECRET_HEADERS | {METHOD_HEADER.lower()}
"""Headers that are left out of what is stored: secrets, and the one that the hub itself sets."""


@dataclass(frozen=True, slots=True)
class AdmittedSubscription:
    """An admitted subscription: the request, restricted to what its grant allows."""

    request: SubscribeRequest
    grant: Grant
    client: str = ""
    """Address of the client; empty in what is remembered for any client."""

    @classmethod
    def admit(cls, request: SubscribeRequest, grant: Grant, *, now_us: int) -> "AdmittedSubscription":
        """Admit what the grant allows. Raises `Forbidden` if the history, cursor or group is not granted.

        Messages before `Grant.since_us` are excluded later, when the start is looked up in the log.
        """
        name = request.cursor or request.group
        if grant.cursor and name != grant.cursor:
            raise Forbidden(f"this token is limited to the cursor or group {grant.cursor!r}")
        if grant.since_us > now_us:
            raise Forbidden(f"this token is not valid before {format_time(grant.since_us)}")
        if name and (grant.since_us or grant.live_only):
            raise Forbidden("this token grants only a part of the history, so it cannot use a cursor or group")
        # A client that reconnects sends the last id it has seen. It is not refused, but starts with new messages.
        if grant.live_only and isinstance(request.since, AfterId):
            request = replace(request, since=None)
        if grant.live_only and (request.since or not request.follow):
            raise Forbidden("this token grants only new messages, not the history")
        return cls(request, grant)

    def of(self, client: str) -> "AdmittedSubscription":
        """The same for the client with this address."""
        return AdmittedSubscription(self.request, self.grant, client)


# As `Draft`.
@dataclass(slots=True)
class Genuine:
    """A draft whose signature is valid. Immutable by convention."""

    draft: Draft
    signed: str | None
    """Fingerprint of what is signed, equal if the request is repeated; None if nothing is."""
    signed_at: float | None
    """Signing time in Unix seconds; None if it is not signed."""
    confirm_url: str | None
    """URL to fetch before the sender starts to deliver (AWS SNS), if any."""


Accepted = Draft | Genuine | Response
"""Result of verifying a publish: a draft to store, from a source or not, or the response to a challenge."""


class AdmittedPublish:
    """An admitted publish, whose body may now be read. Read-only; a plain class as `Request` is."""

    __slots__ = (
        "asks_reply",
        "has_own_answer",
        "has_token",
        "max_body_bytes",
        "query",
        "quotas",
        "request",
        "signed",
        "source",
    )

    def __init__(
        self,
        request: PublishRequest,
        max_body_bytes: int | None = None,
        source: Source | None = None,
        has_token: bool = False,
        query: str | None = None,
        signed: SignedRequest | None = None,
        quotas: Sequence[Quota] = NO_QUOTAS,
        asks_reply: bool = False,
    ) -> None:
        self.request = request
        self.max_body_bytes = max_body_bytes
        self.source = source
        """Source whose signature `accept` verifies; None if the topic has no source."""
        self.has_token = has_token
        """True if it has shown a valid token; topics that take none are unsafe."""
        self.query = without_token(request.http.query) if query is None else query
        """The query as it is stored."""
        self.signed = signed
        """Head as the sender has signed it; None only if the topic has no source."""
        self.quotas = quotas
        """Quotas of which its topic is; it is counted once it is genuine."""
        self.asks_reply = asks_reply
        """True if its sender waits for a reply."""
        self.has_own_answer = asks_reply or (source is not None and source.answer is not None)
        """True if its sender gets another response than ``OK``, for which it may have to wait."""

    def accept(self, body: bytes, *, now_s: float) -> Accepted:
        """Verify the complete publish, unless it has no source, and return the result.

        CPU-bound: run it in a thread if the body is large. Raises as `Source.verify`.
        """
        if self.source is None:
            return self.draft(body)
        assert self.signed
        publish, signed = self.request, self.signed.with_body(body)
        # Challenges first: most providers do not sign them the way they sign deliveries.
        response = self.source.handshake(signed, now_s=now_s)
        if response is not None:
            return response
        verification = self.source.verify(signed, now_s=now_s)
        stripped = verification.stripped
        # Mostly nothing of it is secret.
        query = self.query if stripped is signed else without_token(stripped.query)
        # Only the provider identifies repeats: no sender signs an Idempotency-Key header, so a replay could vary it.
        headers = _stored(stripped.headers, publish.http)
        draft = Draft(publish.topic, body, headers, query, verification.verified, publish.hops, verification.once)
        return Genuine(draft, verification.signed, verification.verified.signed_at, verification.confirm_url)

    def draft(self, body: bytes) -> Draft:
        """Draft of a publish to a topic without a source."""
        publish = self.request
        key = publish.idempotency_key
        # The fingerprint distinguishes a retry, which is a duplicate, from a reuse of the key for another body.
        once = (Once("idempotency", publish.topic, key, fingerprint=sha256(body).digest()),) if key else ()
        headers = _stored(publish.http.headers, publish.http)
        return Draft(publish.topic, body, headers, self.query, hops=publish.hops, once=once)


def _stored(headers: Headers, request: Request) -> Headers:
    """The headers as they are stored. None of them has another name than those of the request."""
    if not NEVER_STORED.isdisjoint(request.fields):
        headers = tuple([pair for pair in headers if pair[0].lower() not in NEVER_STORED])
    return headers if request.method == "POST" else (*headers, (METHOD_HEADER, request.method))


def without_token(query: str) -> str:
    """The query without a token, which is never stored."""
    if not query:
        return query
    return "&".join(part for part in query.split("&") if unquote_plus(part.partition("=")[0]) != "token")
