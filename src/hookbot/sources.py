"""Sources: senders who prove themselves, each kind beneath a topic of its own.

A publish beneath a source's topic has to verify before it is stored. What the hub decided is in the message, with
the body and the headers as they came, so that a listener may trust it or check again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Network, ip_address

from cryptography.x509 import load_der_x509_certificate

from .errors import BodyTooLarge, Forbidden
from .message import Once, Verified
from .request import Request
from .signatures import Proof, Provider, Reply, SignedRequest
from .topics import patterns_of

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of sender: how it signs, with which secrets, and from where it may come."""

    topic: str
    """A topic or, ending in ``/``, everything beneath it; as stored, so unsafe ones begin with ``/unsafe/``."""
    provider: Provider
    secrets: Sequence[str] = field(repr=False)
    single_use: bool = False
    """Whether a signature counts once, although it covers neither an id nor a time."""
    url: str = ""
    """The scheme and host that the sender knows the hub by, where it signs the URL; empty: those of the request."""
    allow_from: Sequence[Network] = ()
    certificates: Sequence[str] = ()
    """SHA-256 fingerprints (hex) or subjects (RFC 4514) of client certificates of which one has to be shown."""
    max_body_bytes: int | None = None

    def check_sender(self, client: str, certificate: bytes | None) -> None:
        """Raises `Forbidden` unless a request comes from an address, and with a certificate, that may."""
        if self.allow_from and not _is_within(client, self.allow_from):
            raise Forbidden(f"{client} may not publish here")
        if self.certificates and not _is_shown(certificate, self.certificates):
            raise Forbidden("publishing here needs a client certificate that this hub knows")

    def check_size(self, size: int) -> None:
        """Raises `BodyTooLarge` for more than this source may send."""
        if self.max_body_bytes is not None and size > self.max_body_bytes:
            raise BodyTooLarge(f"a body has at most {self.max_body_bytes} bytes here")

    def signed(self, request: Request, body: bytes) -> SignedRequest:
        """The request as its signer saw it."""
        base = self.url or f"{'https' if request.secure else 'http'}://{request.header('host')}"
        return SignedRequest(body, request.headers, request.method, base + request.relative_target)

    def handshake(self, signed: SignedRequest, *, now_s: float) -> Reply | None:
        """The answer to a sender who only asks who is there. Raises `BadSignature`."""
        return self.provider.handshake(signed, self.secrets, now=now_s)

    def verify(self, signed: SignedRequest, *, now_s: float) -> "Verification":
        """What is known of a genuine request; raises `BadSignature` or `CertificateNeeded`."""
        proof = self.provider.verify(signed, self.secrets, now=now_s)
        stripped = signed.without(self.provider.secret_in)
        verified = Verified(self.provider.name, str(proof.key), proof.signed_at)
        return Verification(verified, stripped, self._once(proof))

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
    """A genuine request: how that is known, the request without what is secret in it, and what makes a repeat of it."""

    verified: Verified
    stripped: SignedRequest
    once: tuple[Once, ...]


class Sources:
    """All sources of a hub; for a topic the one with the longest match counts."""

    def __init__(self, sources: Iterable[Source] = ()) -> None:
        self._sources = {source.topic: source for source in sources}

    def __bool__(self) -> bool:
        return bool(self._sources)

    def find(self, topic: str) -> Source | None:
        """The source that a publish to the topic has to come from, if any."""
        if not self._sources:
            return None
        matching = (pattern for pattern in patterns_of(topic) if pattern in self._sources)
        longest = max(matching, key=len, default=None)
        return None if longest is None else self._sources[longest]


def _is_within(client: str, networks: Sequence[Network]) -> bool:
    try:
        address = ip_address(client)
    except ValueError:
        return False
    return any(address in network for network in networks)


def _is_shown(certificate: bytes | None, wanted: Sequence[str]) -> bool:
    if certificate is None:
        return False
    subject = load_der_x509_certificate(certificate).subject.rfc4514_string()
    return sha256(certificate).hexdigest() in wanted or subject in wanted
