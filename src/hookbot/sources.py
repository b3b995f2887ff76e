"""Sources: senders who prove themselves, each kind beneath a topic of its own.

A publish beneath a source's topic has to verify before it is stored. What the hub decided is in the message, with
the body and the headers as they came, so that a listener may trust it or check again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from cryptography.x509 import load_der_x509_certificate

from .errors import BodyTooLarge, ConfigError, Forbidden, InvalidTopic
from .message import Once, Verified
from .request import Request
from .signatures import Proof, Provider, Reply, SignedRequest, load_provider
from .topics import check_topic, patterns_of

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
    confirm: bool = False
    """Whether to fetch what a sender wants fetched before it begins (AWS SNS)."""

    @classmethod
    def parse(cls, section: Mapping[str, Any], resolve: Callable[[str], str]) -> "Source":
        """Read a ``[[sources]]`` section; whatever is not of every source is an option of the provider.

        `resolve` turns ``env:NAME`` and ``file:PATH`` into the secret. Raises `ConfigError`.
        """
        options = dict(section)
        topic, name = _take(options, "topic", str), _take(options, "provider", str)
        secrets = [resolve(secret) for secret in _take_list(options, "secrets")]
        source = cls(
            topic=_topic(topic),
            secrets=secrets,
            single_use=_take(options, "single_use", bool, False),
            confirm=_take(options, "confirm", bool, False),
            url=_take(options, "url", str, "").rstrip("/"),
            allow_from=[_network(text) for text in _take_list(options, "allow_from", ())],
            certificates=[_certificate(text) for text in _take_list(options, "certificates", ())],
            max_body_bytes=_take(options, "max_body_bytes", int, None),
            provider=load_provider(name, options),
        )
        if not secrets:
            raise ConfigError(f"the source {topic!r} has no secrets")
        for secret in secrets:
            source.provider.check(secret)
        return source

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
    """A genuine request: how that is known, the request without what is secret in it, and what makes a repeat of it."""

    verified: Verified
    stripped: SignedRequest
    once: tuple[Once, ...]
    confirm_url: str | None


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


_NOT_GIVEN = object()


def _take(options: dict[str, Any], name: str, kind: type, default: Any = _NOT_GIVEN) -> Any:
    value = options.pop(name, default)
    if value is _NOT_GIVEN:
        raise ConfigError(f"a source has a {name!r}")
    if value is not default and type(value) is not kind:
        raise ConfigError(f"{name!r} of a source is a {kind.__name__}, not {value!r}")
    return value


def _take_list(options: dict[str, Any], name: str, default: Any = _NOT_GIVEN) -> Sequence[str]:
    values: Sequence[str] = _take(options, name, list, default)
    if not all(isinstance(value, str) for value in values):
        raise ConfigError(f"{name!r} of a source is a list of texts, not {values!r}")
    return values


def _topic(text: str) -> str:
    try:
        return check_topic(text)
    except InvalidTopic as error:
        raise ConfigError(str(error)) from None


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise ConfigError(f"not a network such as 192.0.2.0/24: {error}") from None


def _certificate(text: str) -> str:
    return text if "=" in text else text.replace(":", "").lower()
