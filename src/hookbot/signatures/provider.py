"""Providers: the rule by which one kind of sender signs, and the proof that a signature gives.

Verifying uses no clock, file or socket: the caller passes the time, and fetches certificates on
`CertificateNeeded`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, TypeVar

from ..errors import BadSignature, ConfigError, Refused, Unavailable, kind_of
from ..protocol.message import Message
from ..protocol.pasted import check_seen
from ..protocol.response import Response
from ..protocol.topics import patterns_of
from .owners import Ownership
from .pings import BY_PROVIDER, Ping
from .request import SignedRequest

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Proof:
    """Result of a successful verification, and what the signature says about the delivery."""

    key: int
    """Index of the secret that matched."""
    fingerprint: str
    """SHA-256 in hex of the signed content, or of the body if none is signed; equal if the same request is repeated."""
    signed_at: float | None = None
    """Signing time in Unix seconds, or None if it is not signed."""
    replay_key: str | None = None
    """Signed key by which repeats are dropped: the id, or else the fingerprint, which a newly signed retry changes.
    None if an equal request may be another delivery, as when neither id nor time is signed."""
    delivery_id: str | None = None
    """Id by which a repeat is marked but not dropped: it is unsigned, or may return with newer details."""
    bearer: bool = False
    """True if the request shows a secret and nothing of it is signed: who sends an equal one has the secret, too."""
    confirm_url: str | None = None
    """Address to fetch before the sender starts to deliver; its host is verified to be the sender's."""


class CertificateNeeded(Unavailable):
    """Verification needs the certificate at `url`, an address that only the sender controls.

    Fetch it over verified TLS, store it in `cache[url]`, and verify again. If it cannot be fetched, let the error
    reach the sender, which retries.
    """

    def __init__(self, url: str, cache: MutableMapping[str, bytes]) -> None:
        super().__init__(f"the certificate at {url} is needed to verify the signature, and could not be fetched")
        self.url = url
        self.cache = cache


@dataclass(frozen=True, kw_only=True)
class Provider(ABC):
    """The rule by which one kind of sender signs its requests. Plugins subclass it.

    Anybody can send a request, so what is cheap comes first: `check_head` before the body is received, then
    `handshake` and `verify`, in a thread if the body is large. Parse a body with `SignedRequest.json` or `form`, which
    parse it once and only up to a ceiling, and after its signature is verified wherever the signature allows it.
    """

    signs_every_post: ClassVar[bool] = True
    """False if a challenge may be posted without a signature; then `check_head` is not called. It is False in a class
    that defines `handshake`, unless that class sets it."""

    name: str
    documentation: str
    """Address of the page where the sender describes its rule."""
    ownership: Ownership | None = None
    """Rule by which its bodies name their owners, so that a source can be bound to some; None if there is none."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Set `signs_every_post` to False in a class that defines `handshake` and does not set it."""
        super().__init_subclass__(**kwargs)
        if "handshake" in vars(cls) and "signs_every_post" not in vars(cls):
            cls.signs_every_post = False

    @property
    @abstractmethod
    def covers(self) -> tuple[str, ...]:
        """Parts that the signature covers: method, url, query, body, its fields or checksum, timestamp, id."""

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the fields that users can set."""
        return ()

    @property
    def window_s(self) -> float:
        """Seconds for which a request is valid: from `max_age` before its signing time until `max_age` after it.

        0 if the time is not signed. The ``exp`` of a JSON Web Token is not considered.
        """
        return 2 * getattr(self, "max_age", 0.0) if "timestamp" in self.covers else 0.0

    @property
    def secret_in(self) -> tuple[str, ...]:
        """Places whose values are secrets. Remove them (`SignedRequest.without`) before a message is stored."""
        return ()

    @property
    def signed_in(self) -> tuple[str, ...]:
        """Places that a signature takes, which is removed (`SignedRequest.without`) before a request is signed anew."""
        return self.secret_in

    @property
    def ping(self) -> Ping | None:
        """The ping by which its sender tries an address without a signature; None if it has none."""
        return BY_PROVIDER.get(self.name)

    @property
    def parses_body(self) -> bool:
        """True if a body may have to be parsed before it is verified, which costs more than hashing it."""
        return True

    @abstractmethod
    def check(self, secret: str) -> None:
        """Raise `ConfigError` if `secret` cannot be a secret of this provider."""

    def check_alone(self, secret: str, prefix: str) -> None:
        """Raise `ConfigError` if `secret` begins with the prefix of what the sender presents: it was copied with it."""
        # A prefix of letters alone may well be the beginning of a secret.
        if prefix and not prefix[-1].isalnum() and secret.startswith(prefix):
            raise ConfigError(f"a secret of {self.name} begins with {prefix!r}, as what it sends does: give it alone")

    def check_head(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> None:  # noqa: B027 -- optional
        """Raise `BadSignature` if the head shows that the request is not genuine, before its body is received.

        The signature or another signed part is missing, malformed, or from another time. `request.body` is empty.
        """

    @abstractmethod
    def verify(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Proof:
        """Proof that one of the secrets signed the request, recently if the time is signed.

        Raises `BadSignature` with the reason, `ConfigError` if a secret is unusable, and `CertificateNeeded` if the
        sender's certificate has to be fetched first.
        """

    def delivery_of(self, request: SignedRequest) -> str | None:
        """Id of the delivery, read without verification; None if there is none."""
        return None

    def sign(self, request: SignedRequest, secret: str, *, now: float) -> SignedRequest:
        """The request as the sender would sign it.

        Raises `ConfigError` if only the sender can or the secret is unusable, and `BadSignature` if the request lacks a
        signed part.
        """
        raise ConfigError(f"a request of {self.name} cannot be signed here: only the sender has the key")

    def sign_anew(self, request: SignedRequest, secret: str, *, now: float, id: str) -> SignedRequest:
        """The request without the signature that it may have, as the sender would sign it now.

        `id`, unless it is empty, becomes that of the delivery if one is signed and the request has none. Raises as
        `sign` does.
        """
        return self.sign(request.without(self.signed_in), secret, now=now)

    def handshake(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Response | None:
        """The response to a challenge, None if the request is not one; raises `BadSignature` if it is not genuine."""
        return None

    def vouches_for(self, message: Message) -> bool:
        """True if the hub has verified the message by this rule, with a secret of the source of its topic.

        Older hubs neither stored the source nor checked owners: a message of theirs must not name another owner than
        its topic does.
        """
        verified = message.verified
        if verified is None or verified.provider != self.name:
            return False
        if verified.source is not None:
            return verified.source in patterns_of(message.topic)
        if self.ownership is None or (owner := self.ownership.owner_in(message.topic)) is None:
            return True
        try:
            self.ownership.check(SignedRequest(message.body, message.headers), [owner])
        except Refused:
            return False
        return True

    def with_options(self, options: Mapping[str, Any]) -> Self:
        """The same provider with some options set; raises `ConfigError` for an unknown option or a wrong value."""
        return replace(self, **{name: self._option(name, value) for name, value in options.items()})

    def _option(self, name: str, value: Any) -> Any:
        if name not in self.options:
            known = ", ".join(self.options) or "none"
            raise ConfigError(f"{self.name} has no option {name!r}; it has: {known}")
        current = getattr(self, name)
        if isinstance(current, float) and isinstance(value, int | float) and not isinstance(value, bool):
            return self._positive(name, float(value))
        if type(value) is not type(current):
            raise ConfigError(f"the option {name} of {self.name} must be {kind_of(current)}, not {kind_of(value)}")
        if isinstance(value, str):
            check_seen(value, f"the option {name} of {self.name}", allowed=" \t\r\n")
        return value

    def _positive(self, name: str, value: float) -> float:
        if not value > 0:
            raise ConfigError(f"the option {name} of {self.name} must be more than 0, not {value:g}")
        return value


@dataclass(frozen=True, kw_only=True)
class Choice(Provider):
    """Provider with several rules: a secret belongs to the first of `rules` whose prefix it begins with.

    The last prefix must be empty.
    """

    rules: tuple[tuple[str, Provider], ...]

    @property
    def covers(self) -> tuple[str, ...]:
        """The parts that the first rule covers, which is the preferred one."""
        return self.rules[0][1].covers

    @property
    def options(self) -> tuple[str, ...]:
        """The options of all rules."""
        return tuple(dict.fromkeys(option for _, provider in self.rules for option in provider.options))

    @property
    def window_s(self) -> float:
        """The longest of the windows of its rules."""
        return max(provider.window_s for _, provider in self.rules)

    @property
    def secret_in(self) -> tuple[str, ...]:
        """The places of all rules, whichever was used."""
        return tuple(place for _, provider in self.rules for place in provider.secret_in)

    def with_options(self, options: Mapping[str, Any]) -> "Choice":
        """The same provider, each rule with those of the options that it has; raises `ConfigError`."""
        if unknown := [name for name in options if name not in self.options]:
            raise ConfigError(f"{self.name} has no option {unknown[0]!r}; it has: {', '.join(self.options)}")
        return replace(self, rules=tuple((prefix, _set(provider, options)) for prefix, provider in self.rules))

    @property
    def signed_in(self) -> tuple[str, ...]:
        """The places of all rules, whichever was used."""
        return tuple(place for _, provider in self.rules for place in provider.signed_in)

    @property
    def parses_body(self) -> bool:
        """True if one of the rules may have to parse a body."""
        return any(provider.parses_body for _, provider in self.rules)

    def check(self, secret: str) -> None:
        """Raise `ConfigError` if `secret` cannot be a secret of its rule."""
        self._rule(secret).check(secret)

    def check_head(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> None:
        """Raise the first `BadSignature` if the rule of no secret accepts the head."""
        self._first(secrets, lambda rule, secret: rule.check_head(request, [secret], now=now))

    def verify(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Proof:
        """Proof by the first secret that matches by its rule; if none does, raises the first `BadSignature`."""
        index, proof = self._first(secrets, lambda rule, secret: rule.verify(request, [secret], now=now))
        return replace(proof, key=index)

    def delivery_of(self, request: SignedRequest) -> str | None:
        """First id that one of the rules finds; None if none does."""
        return next(filter(None, (provider.delivery_of(request) for _, provider in self.rules)), None)

    def sign(self, request: SignedRequest, secret: str, *, now: float) -> SignedRequest:
        """The request signed by the rule of the secret."""
        return self._rule(secret).sign(request, secret, now=now)

    def sign_anew(self, request: SignedRequest, secret: str, *, now: float, id: str) -> SignedRequest:
        """The request, without a signature by any of the rules, signed by that of the secret."""
        rule = self._rule(secret)
        return rule.sign_anew(request.without({*self.signed_in} - {*rule.signed_in}), secret, now=now, id=id)

    def _first(self, secrets: Sequence[str], attempt: Callable[[Provider, str], T]) -> tuple[int, T]:
        """Index of the first secret with which an attempt by its rule succeeds, and the result.

        Raises the first `BadSignature` if none does.
        """
        refusals = []
        for index, secret in enumerate(secrets):
            try:
                return index, attempt(self._rule(secret), secret)
            except BadSignature as refusal:
                refusals.append(refusal)
        raise refusals[0] if refusals else BadSignature("this source has no secret to verify with")

    def _rule(self, secret: str) -> Provider:
        return next(provider for prefix, provider in self.rules if secret.startswith(prefix))


def _set(provider: Provider, options: Mapping[str, Any]) -> Provider:
    return provider.with_options({name: value for name, value in options.items() if name in provider.options})
