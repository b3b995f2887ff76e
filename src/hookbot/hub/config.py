"""The configuration of a hub: everything that it is started with, checked."""

from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from ..access.client_address import TrustedProxies
from ..access.rate_limits import FAILURES, Rate
from ..errors import ConfigError
from ..log.retention import Retention
from ..protocol.publish import DEFAULT_MAX_BODY_BYTES
from .config_file import ConfigFile
from .secret_store import StoredSecret

RANGES_FILE = "ranges.json"


@dataclass(frozen=True, slots=True)
class Config:
    """The options, secrets and sections that a hub runs with."""

    key: StoredSecret
    data_dir: Path
    old_keys: tuple[str, ...] = field(default=(), repr=False)
    github_secrets: tuple[StoredSecret, ...] = ()
    bind: str = ":8080"
    store: str = "sqlite:"
    routers: tuple[str, ...] = ()
    file: ConfigFile = field(default_factory=ConfigFile)
    retention: Retention = field(default_factory=Retention)
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_authorities: Path | None = None
    """The authorities of certificates that clients may show."""
    revoked: frozenset[str] = frozenset()
    """Names of narrowed tokens that are revoked."""
    sha1_tokens_live_only: bool = False
    """Whether tokens as the ancestor makes them, and what is narrowed from them, show no history."""
    trusted_proxies: TrustedProxies = field(default_factory=TrustedProxies)
    failure_rate: Rate = FAILURES
    """The limit for one client on requests without a valid token or signature."""
    publish_rate: Rate | None = None
    """The limit for one client on publishes."""
    max_subscribers: int | None = None
    max_subscribers_per_token: int | None = None
    unsafe_prefixes: tuple[str, ...] = ("",)
    sha1_tokens: bool = True
    cors_origins: tuple[str, ...] = ()
    door: bool = True
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES
    max_receiving_bytes: int = 256 << 20
    """The limit on all bodies that are being received at once."""
    heartbeat_s: float = 15
    ping_s: float = 30
    deaf_s: float = 90
    """A websocket subscriber that sends nothing for so long is disconnected."""
    stall_s: float = 90
    """A subscriber that reads nothing for so long is disconnected (the ancestor's write deadline)."""
    slow_s: float = 10
    """A client that sends nothing for so long in the middle of a request is disconnected."""
    grace_s: float = 10

    @property
    def leave_s(self) -> float:
        """The part of the grace in which connections have to close. The rest of it is for saving."""
        return 0.9 * self.grace_s

    @property
    def keys(self) -> tuple[str, ...]:
        """The key that makes tokens, then the old ones, whose tokens are still valid."""
        return (self.key.value, *self.old_keys)


def parse_address(text: str) -> tuple[str, int]:
    """Host (empty: every address) and port of ``:PORT``, ``HOST:PORT`` or ``[IPV6]:PORT``; raises `ConfigError`."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"an address to listen on is [HOST]:PORT, not {text!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def default_data_dir() -> Path:
    """The platform's directory for the state of a program, for example ``~/.local/state/hookbot``."""
    return Path(platformdirs.user_state_dir("hookbot"))
