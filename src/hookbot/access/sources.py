"""Sources: senders that sign their requests, each kind with a topic of its own.

A publish to a source's topic is stored only if its signature is valid. The message records the result, and keeps the
body and all headers but secrets, so that a listener can rely on the hub or verify again.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from urllib.parse import quote

from ..errors import Forbidden
from ..protocol.http1 import HOST
from ..protocol.message import Once, Verified
from ..protocol.paths import path_to
from ..protocol.replies import Reply
from ..protocol.request import Request
from ..protocol.response import Response
from ..protocol.topics import patterns_of
from ..signatures import Proof, Provider, SignedRequest
from ..signatures.pings import Ping
from .client_address import Network, is_within
from .rate_limits import RateLimiter
from .source_activity import SourceActivity


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of sender: its provider and secrets, and the addresses and certificates it may use."""

    topic: str
    """A topic or, ending in ``/``, everything beneath it; as stored, so unsafe ones begin with ``/unsafe/``."""
    provider: Provider
    secrets: Sequence[str] = field(repr=False)
    url: str = ""
    """Scheme and host of the hub as the sender sees them, for signatures over the URL; if empty, the request's."""
    single_use: bool = False
    """True if a signature is accepted only once although it covers neither an id nor a time."""
    allow_from: tuple[Network, ...] = ()
    certificates: Sequence[str] = ()
    """SHA-256 fingerprints (hex) or subjects (RFC 4514) of the client certificates that are accepted; empty for any."""
    max_body_bytes: int | None = None
    publishes: RateLimiter | None = None
    """Limit on its verified publishes."""
    owners: Sequence[str] = ()
    """Owners of everything that a delivery may name; empty for any."""
    confirm: bool = False
    """True if the hub fetches the URL that a sender demands before its first delivery (AWS SNS)."""
    answer: Reply | None = None
    """Answer to its senders for what is accepted, in place of ``OK``; if they wait for a reply, where there is none."""
    accept_ping: bool = False
    """True if the provider's unsigned ping is answered like a delivery. It is not stored."""
    expect_every_s: int | None = None
    """Time without a delivery after which it counts as silent; None if it never does."""
    activity: SourceActivity = field(default_factory=SourceActivity, repr=False, compare=False)

    def check_sender(self, client: str, certificate: bytes | None) -> None:
        """Raise `Forbidden` unless the client's address and certificate are among those accepted."""
        if self.allow_from and not is_within(client, self.allow_from):
            raise Forbidden(f"{client} may not publish here")
        if self.certificates and not _is_shown(certificate, self.certificates):
            raise Forbidden(f"publishing here takes {'another' if certificate else 'a'} client certificate")

    def signed(self, request: Request) -> SignedRequest:
        """The head of the request, with the URL that the sender has signed."""
        host = request.header("host")
        # Only a host: the beginning of a path in it would leave another path, and so another topic, to the request.
        base = self.url or (f"{'https' if request.secure else 'http'}://{host}" if HOST.fullmatch(host) else "")
        return SignedRequest.head(request, base + request.relative_target)

    @property
    def parses_body(self) -> bool:
        """True if a body has to be parsed to verify it, or to find the owners that it names."""
        return self.provider.parses_body or bool(self.owners)

    def check_head(self, signed: SignedRequest, *, now_s: float) -> None:
        """Raise `BadSignature` if the head shows that a request is not genuine, before its body is received."""
        if self.provider.signs_every_post and not (self._ping and self._ping.may_begin(signed)):
            self.provider.check_head(signed, self.secrets, now=now_s)

    def handshake(self, signed: SignedRequest, *, now_s: float) -> Response | None:
        """Response to a challenge or a ping, or None for any other request. Raises `BadSignature`."""
        if self._ping and self._ping.matches(signed):
            return Response(b"OK\n")
        return self.provider.handshake(signed, self.secrets, now=now_s)

    def verify(self, signed: SignedRequest, *, now_s: float) -> "Verification":
        """Verify a request.

        Raises `BadSignature`, `CertificateNeeded` if a certificate has to be fetched first, and for a genuine request
        `Forbidden` if it names another owner, and `BodyTooLarge` if it is too large to tell.
        """
        proof = self.provider.verify(signed, self.secrets, now=now_s)
        if self.owners and self.provider.ownership:
            self.provider.ownership.check(signed, self.owners)
        stripped = signed.without(self.provider.secret_in)
        verified = Verified(self.provider.name, str(proof.key), proof.signed_at, self.topic)
        fingerprint = None if proof.bearer else proof.fingerprint
        confirm_url = proof.confirm_url if self.confirm else None
        return Verification(verified, stripped, self._once(proof), fingerprint, confirm_url)

    @property
    def _ping(self) -> Ping | None:
        return self.provider.ping if self.accept_ping else None

    def _once(self, proof: Proof) -> tuple[Once, ...]:
        # Signed ids first, since an attacker cannot vary them. A delivery id in an unsigned header only marks a
        # duplicate: if it were exclusive, a forged one could suppress a genuine delivery.
        if proof.replay_key is not None:
            return (Once("replay", self.topic, proof.replay_key),)
        if self.single_use:
            return (Once("single use", self.topic, proof.fingerprint),)
        if proof.delivery_id is not None:
            return (Once("delivery", self.topic, proof.delivery_id, exclusive=False),)
        return ()


# As `Draft`.
@dataclass(slots=True)
class Verification:
    """Result for a genuine request: origin, request without secrets, deduplication keys. Immutable by convention."""

    verified: Verified
    stripped: SignedRequest
    once: tuple[Once, ...]
    signed: str | None
    """Fingerprint of what is signed, equal if the request is repeated; None if nothing is."""
    confirm_url: str | None
    """URL to fetch, if any."""


class Sources:
    """Sources of a hub, by topic; of several for the same topic, the last is used."""

    def __init__(self, sources: Iterable[Source] = ()) -> None:
        self._sources = {source.topic: source for source in sources}

    def __iter__(self) -> Iterator[Source]:
        return iter(self._sources.values())

    def after(self, earlier: "Sources") -> "Sources":
        """The same sources; those that were among the `earlier` ones, with the same provider, keep their activity."""
        return Sources(
            replace(source, activity=other.activity)
            if (other := earlier._sources.get(source.topic)) and other.provider.name == source.provider.name
            else source
            for source in self
        )

    @property
    def topics(self) -> Collection[str]:
        """Topics of the sources."""
        return self._sources.keys()

    @property
    def targets(self) -> Collection[bytes]:
        """Targets of requests that publish to the topics of the sources, one for each as it is usually written."""
        return [quote(path_to("publish", topic)).encode() for topic in self._sources]

    def find(self, topic: str) -> Source | None:
        """Source that a publish to the topic has to come from, or None. If several match, the longest topic decides."""
        if not self._sources:
            return None
        matching = [pattern for pattern in patterns_of(topic) if pattern in self._sources]
        return self._sources[max(matching, key=len)] if matching else None


def _is_shown(certificate: bytes | None, wanted: Sequence[str]) -> bool:
    if certificate is None:
        return False
    if sha256(certificate).hexdigest() in wanted:
        return True
    # Whoever configures subjects has imported it (`hookbot.hub.source_section`); a plain hub does not need it.
    from cryptography.x509 import load_der_x509_certificate  # noqa: PLC0415

    return load_der_x509_certificate(certificate).subject.rfc4514_string() in wanted
