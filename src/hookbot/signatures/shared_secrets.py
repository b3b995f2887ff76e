"""Providers of senders that present a shared secret and sign nothing: anyone who reads one can forge more."""

import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs

from ..errors import BadSignature, ConfigError
from ..protocol.response import JSON, Response
from .permission import permission
from .places import describe, is_in_head, parse_place
from .provider import Proof, Provider
from .request import SignedRequest


@dataclass(frozen=True, kw_only=True)
class SharedSecret(Provider):
    """Provider of senders that present the secret itself at the place `header`, after `prefix`, such as an API key."""

    signs_every_post = True

    header: str = "X-Api-Key"
    prefix: str = ""
    delivery: str = ""

    def __post_init__(self) -> None:
        """Raise `ConfigError` if `header` or `delivery` is not a place."""
        for place in filter(None, (self.header, self.delivery)):
            parse_place(place)

    @property
    def covers(self) -> tuple[str, ...]:
        """Nothing: the secret does not depend on the request."""
        return ()

    @property
    def secret_in(self) -> tuple[str, ...]:
        """Place of the secret. A secret in the body is stored all the same: listeners receive the body unchanged."""
        return (self.header,)

    @property
    def parses_body(self) -> bool:
        """True if the secret is in the body."""
        return not is_in_head(self.header)

    def check(self, secret: str) -> None:
        """Raise `ConfigError` if the secret is empty, or begins with `prefix`."""
        if not secret.strip():
            raise ConfigError(f"a secret of {self.name} is empty")
        self.check_alone(secret, self.prefix)

    def verify(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Proof:
        """Proof that the request presents one of the secrets; raises `BadSignature`."""
        return Proof(
            key=self._key(request, secrets),
            fingerprint=sha256(request.body).hexdigest(),
            delivery_id=self.delivery_of(request),
            bearer=True,
        )

    def check_head(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> None:
        """Raise `BadSignature` if the secret belongs into the head, and is missing or wrong."""
        if is_in_head(self.header):
            self._key(request, secrets)

    def delivery_of(self, request: SignedRequest) -> str | None:
        """Value at the place `delivery`."""
        return request.first(self.delivery)

    def sign(self, request: SignedRequest, secret: str, *, now: float) -> SignedRequest:
        """The request with the secret at its place."""
        self.check(secret)
        return request.put(self.header, self.prefix + secret)

    def match(self, shown: bytes, secrets: Sequence[str]) -> int:
        """Index of the secret that was presented; raises `BadSignature` if it is none of them."""
        for index, secret in enumerate(secrets):
            self.check(secret)
            if hmac.compare_digest(shown, _to_bytes(secret)):
                return index
        raise BadSignature(f"the secret in {describe(self.header)} is wrong")

    def _key(self, request: SignedRequest, secrets: Sequence[str]) -> int:
        return self.match(self._shown(request.need_after(self.prefix, self.header)), secrets)

    def _shown(self, value: str) -> bytes:
        # Header values are latin-1 text for the bytes that were sent; query and JSON are decoded text already.
        return _shown(value) if ":" in self.header else value.encode("latin-1", "replace")

    def handshake(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Response | None:
        """The response to a sender that asks whether it may deliver, and presents a secret; raises `BadSignature`.

        It asks for the `permission` by OPTIONS. By GET or HEAD with the secret in the query, as Mailchimp does, it asks
        whether the address is there.
        """
        response = permission(request) or self._presence(request)
        if response:
            self.verify(request, secrets, now=now)
        return response

    def _presence(self, request: SignedRequest) -> Response | None:
        # Not with a secret in a header, where a GET that listens has its token.
        asks = request.method in ("GET", "HEAD") and self.header.startswith("query:")
        return Response(headers=()) if asks and request.first(self.header) is not None else None


class Header(SharedSecret):
    """Provider of senders with an API key at a place that the user names."""

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the options: place and prefix of the key, and place of a delivery id."""
        return ("header", "prefix", "delivery")


class EventGrid(Header):
    """Provider of Azure Event Grid, with a secret in the query of its URL or in a header of its deliveries.

    A subscription begins with a code that is expected back or, with the schema of CloudEvents, with OPTIONS.

    https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema
    """

    signs_every_post = True

    def handshake(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Response | None:
        """The ``validationCode`` of a new subscription, or the `permission` to deliver; raises `BadSignature`."""
        if request.first("Aeg-Event-Type") != "SubscriptionValidation":
            return super().handshake(request, secrets, now=now)
        self.verify(request, secrets, now=now)
        match request.json():
            case [{"data": {"validationCode": str(code)}}]:
                return Response(json.dumps({"validationResponse": code}).encode(), headers=JSON)
        raise BadSignature("the body is not one event with a 'validationCode' in its 'data'")


class Basic(SharedSecret):
    """Provider of senders with HTTP Basic credentials (RFC 7617). A secret is ``user:password``."""

    def check(self, secret: str) -> None:
        """Raise `ConfigError` unless the secret is ``user:password``."""
        self.check_alone(secret, self.prefix)
        user, colon, password = secret.partition(":")
        if not colon or not (user + password).strip():
            raise ConfigError(f"a secret of {self.name} must be user:password")

    def sign(self, request: SignedRequest, secret: str, *, now: float) -> SignedRequest:
        """The request with the credentials in its header."""
        self.check(secret)
        return request.put(self.header, self.prefix + b64encode(_to_bytes(secret)).decode())

    def _shown(self, value: str) -> bytes:
        try:
            return b64decode(value, validate=True)
        except ValueError:
            raise BadSignature("the Basic credentials are not valid base64") from None


class MicrosoftGraph(SharedSecret):
    """Provider of Microsoft Graph: every change notification carries the ``clientState`` of its subscription."""

    @property
    def secret_in(self) -> tuple[str, ...]:
        """Nothing: the secret is in the body, which listeners need."""
        return ()

    def verify(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Proof:
        """Proof that every notification in the body presents one of the secrets; raises `BadSignature`.

        `key` is the secret of the first notification.
        """
        states = [
            item.get("clientState") if isinstance(item, dict) else None for item in _notifications(request.json())
        ]
        keys = [self.match(_shown(state) if isinstance(state, str) else b"", secrets) for state in states]
        return Proof(key=keys[0], fingerprint=sha256(request.body).hexdigest(), bearer=True)

    def sign(self, request: SignedRequest, secret: str, *, now: float) -> SignedRequest:
        """The request with the secret in every notification; raises `BadSignature` if there is none."""
        self.check(secret)
        document = request.editable_json()
        for item in _notifications(document):
            if isinstance(item, dict):
                item["clientState"] = secret
        return request.with_json(document)

    def handshake(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Response | None:
        """The ``validationToken`` of a new subscription as plain text, or None. The request is not authenticated."""
        tokens = parse_qs(request.query).get("validationToken")
        return Response(_shown(tokens[0])) if tokens else None


def _notifications(document: Any) -> list[Any]:
    notifications = document.get("value") if isinstance(document, dict) else None
    if not isinstance(notifications, list) or not notifications:
        raise BadSignature("the body has no notifications in 'value'")
    return notifications


def _to_bytes(secret: str) -> bytes:
    return secret.encode("utf-8", "surrogateescape")


def _shown(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
