"""Senders that sign nothing and show a shared secret instead. Who reads one request can send any other."""

import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import parse_qs

from ..errors import BadSignature, ConfigError
from ..protocol.response import Response
from .provider import Proof, Provider
from .request import SignedRequest, describe, parse_place


@dataclass(frozen=True, kw_only=True)
class SharedSecret(Provider):
    """The secret itself, behind `prefix`, at the place `header`: an API key."""

    header: str = "X-Api-Key"
    prefix: str = ""
    delivery: str = ""

    def __post_init__(self) -> None:
        """Raises `ConfigError` if a field does not name a place."""
        for place in filter(None, (self.header, self.delivery)):
            parse_place(place)

    @property
    def covers(self) -> tuple[str, ...]:
        """Nothing."""
        return ()

    @property
    def secret_in(self) -> tuple[str, ...]:
        """The header or query parameter."""
        return (self.header,)

    def check(self, secret: str) -> None:
        """Raises `ConfigError` if the secret is empty."""
        if not secret:
            raise ConfigError(f"a secret of {self.name} is empty")

    def verify(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Proof:
        """Raises `BadSignature` unless the request shows one of the secrets."""
        return Proof(
            key=self.match(self._shown(request.need_after(self.prefix, self.header)), secrets),
            fingerprint=sha256(request.body).hexdigest(),
            delivery_id=self.delivery_of(request),
        )

    def delivery_of(self, request: SignedRequest) -> str | None:
        """What stands at `delivery`."""
        return request.first(self.delivery)

    def sign(self, request: SignedRequest, secret: str, *, now: float) -> SignedRequest:
        """The request with the secret in it."""
        self.check(secret)
        return request.put(self.header, self.prefix + secret)

    def match(self, shown: bytes, secrets: Sequence[str]) -> int:
        """Which of the secrets was shown; raises `BadSignature` if none."""
        for index, secret in enumerate(secrets):
            self.check(secret)
            if hmac.compare_digest(shown, _to_bytes(secret)):
                return index
        raise BadSignature(f"the secret in {describe(self.header)} is not the right one")

    def _shown(self, value: str) -> bytes:
        # a header is latin-1 text for whatever bytes came, a query is text already
        return _shown(value) if self.header.startswith("query:") else value.encode("latin-1", "replace")


class Header(SharedSecret):
    """The generic API key, at a place that the user names."""

    @property
    def options(self) -> tuple[str, ...]:
        """The place of the key, what stands before it, and the place of a delivery id."""
        return ("header", "prefix", "delivery")


class Basic(SharedSecret):
    """HTTP Basic credentials (RFC 7617); the secret is ``user:password``."""

    def check(self, secret: str) -> None:
        """Raises `ConfigError` unless the secret is ``user:password``."""
        if not secret.partition(":")[1]:
            raise ConfigError(f"a secret of {self.name} is user:password")

    def sign(self, request: SignedRequest, secret: str, *, now: float) -> SignedRequest:
        """The request with the credentials in it."""
        self.check(secret)
        return request.put(self.header, self.prefix + b64encode(_to_bytes(secret)).decode())

    def _shown(self, value: str) -> bytes:
        try:
            return b64decode(value, validate=True)
        except ValueError:
            raise BadSignature("the Basic credentials are not base64") from None


class MicrosoftGraph(SharedSecret):
    """Change notifications: each carries the ``clientState`` that its subscription was made with."""

    @property
    def secret_in(self) -> tuple[str, ...]:
        """Nowhere that could be taken out: it is in the body."""
        return ()

    def verify(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Proof:
        """Raises `BadSignature` unless every notification in the body shows one of the secrets."""
        document = request.json()
        notifications = document.get("value") if isinstance(document, dict) else None
        if not isinstance(notifications, list) or not notifications:
            raise BadSignature("the body has no notifications in 'value'")
        states = [item.get("clientState") if isinstance(item, dict) else None for item in notifications]
        keys = [self.match(_shown(state) if isinstance(state, str) else b"", secrets) for state in states]
        return Proof(key=keys[0], fingerprint=sha256(request.body).hexdigest())

    def sign(self, request: SignedRequest, secret: str, *, now: float) -> SignedRequest:
        """Raises `ConfigError`: the secret stands in the notifications, which are the body."""
        return Provider.sign(self, request, secret, now=now)

    def handshake(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Response | None:
        """The ``validationToken`` of a new subscription, as plain text."""
        tokens = parse_qs(request.query).get("validationToken")
        return Response(_shown(tokens[0])) if tokens else None


def _to_bytes(secret: str) -> bytes:
    return secret.encode("utf-8", "surrogateescape")


def _shown(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
