"""What a provider is: the rule by which one kind of sender signs.

Pure: no clock, file or socket. Whoever verifies passes the time, and what a provider would like to fetch it asks for
with `CertificateNeeded`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from ..errors import ConfigError, Unavailable
from ..protocol.response import Response
from .request import SignedRequest


@dataclass(frozen=True, slots=True)
class Proof:
    """That a request is genuine, and what is known from that."""

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
    """How one kind of sender signs its requests. A plugin subclasses it."""

    name: str
    documentation: str
    """Where the sender describes its rule."""

    @property
    @abstractmethod
    def covers(self) -> tuple[str, ...]:
        """What the signature covers, of: method, url, body, fields or checksum (of the body), timestamp, id."""

    @property
    def options(self) -> tuple[str, ...]:
        """The names of the fields that a user may set."""
        return ()

    @property
    def window_s(self) -> float:
        """For how long a request is good, counting from the earliest moment: `max_age` before its time."""
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
        """The answer if the sender only asks who is there, None for anything else; raises `BadSignature`."""
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
