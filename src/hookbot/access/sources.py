"""Sources: senders who prove themselves, each kind beneath a topic of its own.

A publish beneath a source's topic has to verify before it is stored. What the hub decided is in the message, with
the body and the headers as they came, so that a listener may trust it or check again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import ip_network
from typing import Any

from cryptography.x509 import Name, load_der_x509_certificate

from ..errors import ConfigError, Forbidden, InvalidTopic
from ..hub.config_file import Table, suggestion
from ..protocol.message import Once, Verified
from ..protocol.request import Request
from ..protocol.response import Response
from ..protocol.topics import check_topic, patterns_of
from ..signatures import Proof, Provider, SignedRequest, load_provider
from .client_address import Network, is_within
from .rate_limits import Rate, RateLimiter

KEYS = (
    "topic",
    "provider",
    "secrets",
    "url",
    "single_use",
    "allow_from",
    "certificates",
    "max_body_bytes",
    "publish_rate",
    "confirm",
)
"""What a ``[[sources]]`` section may say, beside the options of its provider."""

Ranges = Mapping[str, Sequence[Network]]
"""Networks that senders publish, by the name that stands for them in `allow_from`."""


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
    """How often it may publish."""
    confirm: bool = False
    """Whether to fetch what a sender wants fetched before it begins (AWS SNS)."""

    @classmethod
    def parse(cls, section: Mapping[str, Any], resolve: Callable[[str], str], ranges: Ranges | None = None) -> "Source":
        """Read a ``[[sources]]`` section; whatever is not of every source is an option of the provider.

        `resolve` turns ``env:NAME`` and ``file:PATH`` into the secret. Raises `Mistakes`, which has all of them.
        """
        table = Table(section)
        provider = _provider(table, resolve)
        rate = table.take("publish_rate", str, Rate.parse, default=None)
        source = cls(
            topic=table.take("topic", str, _topic),
            provider=provider,
            secrets=table.take("secrets", list, lambda secrets: _secrets(secrets, provider, resolve)),
            url=table.take("url", str, _url, default=""),
            single_use=table.take("single_use", bool, default=False),
            allow_from=table.take("allow_from", list, lambda texts: _networks(texts, ranges or {}), default=()),
            certificates=table.take("certificates", list, _certificates, default=()),
            max_body_bytes=table.take("max_body_bytes", int, _positive, default=None),
            publishes=RateLimiter(rate) if rate else None,
            confirm=table.take("confirm", bool, default=False),
        )
        table.check()
        return source

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


def _provider(table: Table, resolve: Callable[[str], str]) -> Any:
    """The provider with its options, of which there is no list until it is known; None if something is wrong."""
    provider: Provider | None = table.take("provider", str, load_provider)
    options = {key: table.values.pop(key) for key in tuple(table.values) if key not in KEYS}
    if provider is None:
        return None
    for name in options.keys() - set(provider.options):
        close = suggestion(name, (*KEYS, *provider.options))
        table.wrong(name, f"neither sources nor {provider.name} have the option {name!r}{close}")
    try:
        known = {name: options[name] for name in provider.options if name in options}
        resolved = {name: resolve(value) if isinstance(value, str) else value for name, value in known.items()}
        return provider.with_options(resolved)
    except ConfigError as error:
        table.wrong(next((name for name in known if f"option {name} " in str(error)), "provider"), str(error))
        return None


def _secrets(secrets: list[Any], provider: Provider | None, resolve: Callable[[str], str]) -> Sequence[str]:
    if not secrets:
        raise ConfigError("a source has at least one secret")
    resolved = [resolve(secret) for secret in _texts(secrets)]
    if provider:
        for secret in resolved:
            provider.check(secret)
    return resolved


def _texts(values: list[Any]) -> Sequence[str]:
    if not all(isinstance(value, str) for value in values):
        raise ConfigError("this is a list of texts")
    return values


def _topic(text: str) -> str:
    for place, topic in (("/unsafe/pub/", "/unsafe/"), ("/pub/", ""), ("pub/", "")):
        if text.startswith(place):
            raise ConfigError(f"what is posted to {text} has the topic {topic}{text.removeprefix(place)}: write that")
    try:
        return check_topic(text)
    except InvalidTopic as error:
        raise ConfigError(str(error)) from None


def _url(text: str) -> str:
    if not text.startswith(("https://", "http://")):
        raise ConfigError("the URL of a hub is like https://hooks.example.com")
    return text.rstrip("/")


def _positive(number: int) -> int:
    if number < 1:
        raise ConfigError(f"this is a number from 1 on, not {number}")
    return number


def _networks(texts: list[Any], ranges: Ranges) -> tuple[Network, ...]:
    networks: list[Network] = []
    for text in _texts(texts):
        try:
            networks += ranges[text] if text in ranges else [ip_network(text)]
        except ValueError as error:
            raise ConfigError(
                f"{error}; a network is like 192.0.2.0/24, or a name that `hookbot update-ranges` was called with"
            ) from None
    return tuple(networks)


def _certificates(texts: list[Any]) -> Sequence[str]:
    return [_certificate(text) for text in _texts(texts)]


def _certificate(text: str) -> str:
    """A fingerprint in lower case and without colons, or a subject in the one spelling that `_is_shown` compares."""
    digits = text.replace(":", "").lower()
    try:
        if len(bytes.fromhex(digits)) == sha256().digest_size:
            return digits
    except ValueError:
        pass
    try:
        return Name.from_rfc4514_string(text).rfc4514_string()
    except ValueError:
        raise ConfigError(
            f"a certificate is told by its SHA-256 (64 hexadecimal digits) or its subject (CN=...): {text!r}"
        ) from None
