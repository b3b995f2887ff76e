"""The provider: the rule by which one kind of sender signs, and what its signature proves.

Pure: no clock, file or socket. Whoever verifies passes the time, and what a provider would like to fetch it asks for
with `CertificateNeeded`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from ..errors import BadSignature, ConfigError, Unavailable
from ..protocol.response import Response
from .request import SignedRequest


@dataclass(frozen=True, slots=True)
class Proof:
    """The result of a verification: the request is genuine, and this is known of it."""

    key: int
    """Which of the secrets fitted, counting from 0."""
    fingerprint: str
    """SHA-256, in hex, of all that was signed (of the body, where nothing was): equal for a repeat."""
    signed_at: float | None = None
    """Unix seconds, where the signature covers the time."""
    replay_key: str | None = None
    """The same for every repeat of one delivery, and beyond anybody's reach, since it is signed; None where neither
    an id nor the time is signed, so that an equal request may well be another delivery."""
    delivery_id: str | None = None
    """An id that the sender gave without signing it: enough to mark a repeat, not enough to drop one."""
    confirm_url: str | None = None
    """What the sender wants fetched before it begins, at a host that is known to be the sender's."""


class CertificateNeeded(Unavailable):
    """A signature can only be checked with the certificate at `url`, a place that only the sender can write to.

    Fetch it over verified TLS, put what came into `cache[url]`, and verify again. When it cannot be
    fetched, this error is the answer: the sender will try again.
    """

    def __init__(self, url: str, cache: MutableMapping[str, bytes]) -> None:
        super().__init__(f"the certificate at {url} is needed to check this signature, and not there")
        self.url = url
        self.cache = cache


@dataclass(frozen=True, kw_only=True)
class Provider(ABC):
    """The rule by which one kind of sender signs its requests. A plugin subclasses it."""

    name: str
    documentation: str
    """Where the sender describes its rule."""

    @property
    @abstractmethod
    def covers(self) -> tuple[str, ...]:
        """The parts that the signature covers: method, url, body, fields or checksum (of the body), timestamp, id."""

    @property
    def options(self) -> tuple[str, ...]:
        """The names of the fields that a user may set."""
        return ()

    @property
    def window_s(self) -> float:
        """Seconds for which a request is valid, counting from the earliest moment: `max_age` before its time."""
        return 2 * getattr(self, "max_age", 0.0) if "timestamp" in self.covers else 0.0

    @property
    def secret_in(self) -> tuple[str, ...]:
        """Places that carry a secret by themselves: whoever reads them can pose as the sender."""
        return ()

    @abstractmethod
    def check(self, secret: str) -> None:
        """Raises `ConfigError` if `secret` cannot be one of this provider."""

    @abstractmethod
    def verify(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Proof:
        """Raises `BadSignature`, which says why, unless one of the secrets signed the request, and lately.

        Two providers raise `CertificateNeeded`. An unusable secret is a `ConfigError`.
        """

    def delivery_of(self, request: SignedRequest) -> str | None:
        """The id that the sender gave this delivery without signing it; None if it gave none."""
        return None

    def sign(self, request: SignedRequest, secret: str, *, now: float) -> SignedRequest:
        """The request as the sender would send it; raises `ConfigError` where only the sender can do that."""
        raise ConfigError(f"{self.name} signs with a key that only the sender has")

    def handshake(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Response | None:
        """The response if the request is a challenge, None for anything else; raises `BadSignature`."""
        return None

    def with_options(self, options: Mapping[str, Any]) -> Self:
        """The same provider with some options set; raises `ConfigError` for a name or value that it does not know."""
        return replace(self, **{name: self._option(name, value) for name, value in options.items()})

    def _option(self, name: str, value: Any) -> Any:
        if name not in self.options:
            known = ", ".join(self.options) or "none"
            raise ConfigError(f"{self.name} has no option {name!r} (it has: {known})")
        current = getattr(self, name)
        if isinstance(current, float) and isinstance(value, int | float) and not isinstance(value, bool):
            return self._positive(name, float(value))
        if type(value) is not type(current):
            kinds = (type(current).__name__, type(value).__name__)
            raise ConfigError(f"the option {name} of {self.name} is a {kinds[0]}, not a {kinds[1]}")
        return value

    def _positive(self, name: str, value: float) -> float:
        if not value > 0:
            raise ConfigError(f"the option {name} of {self.name} is more than 0, not {value}")
        return value


@dataclass(frozen=True, kw_only=True)
class Choice(Provider):
    """A provider with several rules: each secret is tried by the first of `rules` whose prefix it has."""

    rules: tuple[tuple[str, Provider], ...]

    @property
    def covers(self) -> tuple[str, ...]:
        """What the first rule covers, the one to prefer."""
        return self.rules[0][1].covers

    @property
    def options(self) -> tuple[str, ...]:
        """Every option of one of the rules."""
        return tuple(dict.fromkeys(option for _, provider in self.rules for option in provider.options))

    @property
    def window_s(self) -> float:
        """The longest window of the rules."""
        return max(provider.window_s for _, provider in self.rules)

    @property
    def secret_in(self) -> tuple[str, ...]:
        """The places of the secrets of all rules, whichever was used."""
        return tuple(place for _, provider in self.rules for place in provider.secret_in)

    def with_options(self, options: Mapping[str, Any]) -> "Choice":
        """The same choice, each rule with those of the options that it has; raises `ConfigError`."""
        if unknown := [name for name in options if name not in self.options]:
            raise ConfigError(f"{self.name} has no option {unknown[0]!r} (it has: {', '.join(self.options)})")
        return replace(self, rules=tuple((prefix, _set(provider, options)) for prefix, provider in self.rules))

    def check(self, secret: str) -> None:
        """Raises `ConfigError` if `secret` is none for the rule that its prefix chooses."""
        self._rule(secret).check(secret)

    def verify(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Proof:
        """Raises `BadSignature`, the one of the first secret, unless one of the secrets fits by its rule."""
        refusals = []
        for index, secret in enumerate(secrets):
            try:
                proof = self._rule(secret).verify(request, [secret], now=now)
            except BadSignature as refusal:
                refusals.append(refusal)
            else:
                return replace(proof, key=index)
        raise refusals[0] if refusals else BadSignature("there is no secret to check with")

    def delivery_of(self, request: SignedRequest) -> str | None:
        """The id that the first rule finds."""
        return next(filter(None, (provider.delivery_of(request) for _, provider in self.rules)), None)

    def sign(self, request: SignedRequest, secret: str, *, now: float) -> SignedRequest:
        """The request signed by the rule that the secret's prefix chooses."""
        return self._rule(secret).sign(request, secret, now=now)

    def _rule(self, secret: str) -> Provider:
        return next(provider for prefix, provider in self.rules if secret.startswith(prefix))


def _set(provider: Provider, options: Mapping[str, Any]) -> Provider:
    return provider.with_options({name: value for name, value in options.items() if name in provider.options})
