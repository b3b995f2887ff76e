"""Sources: senders that prove who they are, each kind beneath a topic of its own.

A publish beneath a source's topic has to verify before it is stored. What the hub decided is in the message, with
the body and the headers as they came, so that a listener may trust it or check again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.x509 import load_der_x509_certificate

from ..errors import Forbidden
from ..protocol.message import Once, Verified
from ..protocol.request import Request
from ..protocol.response import Response
from ..protocol.topics import patterns_of
from ..signatures import Proof, Provider, SignedRequest
from .client_address import Network, is_within
from .rate_limits import RateLimiter


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of sender: how it signs, with which secrets, and from where it may come."""

    topic: str
    """A topic or, ending in ``/``, everything beneath it; as stored, so unsafe ones begin with ``/unsafe/``."""
    provider: Provider
    secrets: Sequence[str] = field(repr=False)
    url: str = ""
    """The scheme and host that the sender knows the hub by, where it signs the URL; empty: those of the request."""
    single_use: bool = False
    """Whether a signature counts once, although it covers neither an id nor a time."""
    allow_from: tuple[Network, ...] = ()
    certificates: Sequence[str] = ()
    """SHA-256 fingerprints (hex) or subjects (RFC 4514) of client certificates of which one has to be shown."""
    max_body_bytes: int | None = None
    publishes: RateLimiter | None = None
    """Limits how often it may publish."""
    confirm: bool = False
    """Whether to fetch what a sender wants fetched before it begins (AWS SNS)."""

    def check_sender(self, client: str, certificate: bytes | None) -> None:
        """Raises `Forbidden` unless a request comes from an address, and with a certificate, that may."""
        if self.allow_from and not is_within(client, self.allow_from):
            raise Forbidden(f"{client} may not publish here")
        if self.certificates and not _is_shown(certificate, self.certificates):
            raise Forbidden("publishing here needs a client certificate that this hub knows")

    def signed(self, request: Request, body: bytes) -> SignedRequest:
        """The request as its signer saw it."""
        base = self.url or f"{'https' if request.secure else 'http'}://{request.header('host')}"
        return SignedRequest(body, request.headers, request.method, base + request.relative_target)

    def handshake(self, signed: SignedRequest, *, now_s: float) -> Response | None:
        """The response to a challenge, None for any other request; raises `BadSignature`."""
        return self.provider.handshake(signed, self.secrets, now=now_s)

    def verify(self, signed: SignedRequest, *, now_s: float) -> "Verification":
        """What is known of a genuine request; raises `BadSignature` or `CertificateNeeded`."""
        proof = self.provider.verify(signed, self.secrets, now=now_s)
        stripped = signed.without(self.provider.secret_in)
        verified = Verified(self.provider.name, str(proof.key), proof.signed_at)
        return Verification(verified, stripped, self._once(proof), proof.confirm_url if self.confirm else None)

    def _once(self, proof: Proof) -> tuple[Once, ...]:
        if proof.replay_key is not None:
            return (Once(f"replay {self.topic}", proof.replay_key),)
        if self.single_use:
            return (Once(f"single use {self.topic}", proof.fingerprint),)
        if proof.delivery_id is not None:
            return (Once(f"delivery {self.topic}", proof.delivery_id, exclusive=False),)
        return ()


@dataclass(frozen=True, slots=True)
class Verification:
    """The result for a genuine request: its proof, the request without secrets, and what marks a repeat of it."""

    verified: Verified
    stripped: SignedRequest
    once: tuple[Once, ...]
    confirm_url: str | None


class Sources:
    """All sources of a hub; for a topic the one with the longest match counts."""

    def __init__(self, sources: Iterable[Source] = ()) -> None:
        self._sources = {source.topic: source for source in sources}

    def find(self, topic: str) -> Source | None:
        """The source that a publish to the topic has to come from, if any."""
        if not self._sources:
            return None
        matching = (pattern for pattern in patterns_of(topic) if pattern in self._sources)
        longest = max(matching, key=len, default=None)
        return None if longest is None else self._sources[longest]


def _is_shown(certificate: bytes | None, wanted: Sequence[str]) -> bool:
    if certificate is None:
        return False
    subject = load_der_x509_certificate(certificate).subject.rfc4514_string()
    return sha256(certificate).hexdigest() in wanted or subject in wanted
