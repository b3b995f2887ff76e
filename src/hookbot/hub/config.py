"""The configuration of a hub: options, secrets and sections."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..access.client_address import DEFAULT_CONNECTIONS_PER_ADDRESS, TrustedProxies
from ..access.rate_limits import FAILURES, Rate
from ..errors import ConfigError, InvalidTopic, Refused
from ..log.postgres_address import PostgresAddress
from ..log.retention import Retention
from ..protocol.paths import topic_meant
from ..protocol.publish import DEFAULT_MAX_BODY_BYTES
from ..protocol.replies import MAX_WAIT_S
from ..protocol.topics import UNSAFE, check_topic
from ..protocol.urls import encode_host, split_url, without_secrets
from .config_file import ConfigFile
from .secret_store import StoredSecret

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@*\s]+", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}
# Anything else may be a password, such as that of a connection string without a scheme.
_KIND = re.compile(r"[a-zA-Z0-9+-]{0,40}")

RANGES_FILE = "ranges.json"


@dataclass(frozen=True, slots=True)
class Config:
    """Options, secrets and sections of a hub. Durations are in seconds; a limit of None means no limit."""

    key: StoredSecret
    data_dir: Path
    old_keys: tuple[str, ...] = field(default=(), repr=False)
    github_secrets: tuple[StoredSecret, ...] = ()
    bind: tuple[str, ...] = ()
    """Addresses to listen on; without any, the sockets that systemd hands over, or else the default."""
    at_rest_keys: tuple[bytes, ...] = field(default=(), repr=False)
    """Keys by which stored messages are encrypted: the first encrypts new ones, all decrypt."""
    store: str | PostgresAddress = "sqlite:"
    advertise: str | None = None
    """URL at which the other hubs of a shared store reach this one; None if they cannot."""
    routers: tuple[str, ...] = ()
    file: ConfigFile = field(default_factory=ConfigFile)
    places: Mapping[str, str] = field(default_factory=dict)
    """Place of each option that is not set on the command line: as ``hookbot.toml:3: keep`` or ``HOOKBOT_KEEP``."""
    retention: Retention = field(default_factory=Retention)
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_authorities: Path | None = None
    """PEM file with the certificate authorities of client certificates."""
    revoked: frozenset[str] = frozenset()
    """Names of revoked narrowed tokens."""
    sha1_tokens_live_only: bool = False
    """True if SHA-1 tokens, and tokens narrowed from them, show no history."""
    trusted_proxies: TrustedProxies = field(default_factory=TrustedProxies)
    failure_rate: Rate = FAILURES
    """Limit for one client on requests without a valid token or signature."""
    publish_rate: Rate | None = None
    """Limit for one client on publishes."""
    max_subscribers: int | None = None
    max_subscribers_per_token: int | None = None
    max_connections_per_address: int = DEFAULT_CONNECTIONS_PER_ADDRESS
    """Limit on the connections of one address that have shown no good token or signature."""
    unsafe_prefixes: tuple[str, ...] = ("",)
    """Unsafe topics that exist, each with everything beneath it, without ``/unsafe/``; by default all of them."""
    reply_prefixes: tuple[str, ...] = ()
    """Topics, each with everything beneath it if it ends in ``/``, whose senders may wait for a reply."""
    reply_timeout_s: float = MAX_WAIT_S
    sha1_tokens: bool = True
    """False if SHA-1 tokens, which are those of the ancestor, are not valid."""
    cors_origins: tuple[str, ...] = ()
    public_url: str = ""
    """URL of the hub as senders and browsers see it, without a slash at the end; empty if requests tell it."""
    console: bool = True
    """False if there are no pages at ``/hookbot/``."""
    door: bool = True
    """False if the app serves all connections, and the fast path none."""
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES
    max_receiving_bytes: int = 128 << 20
    """Limit on the bytes of all bodies that are being received, verified or stored at the same time."""
    heartbeat_s: float = 15
    ping_s: float = 30
    deaf_s: float = 90
    """Timeout of a websocket subscriber that sends nothing, not even a pong."""
    stall_s: float = 90
    """Timeout of a subscriber that reads nothing; the ancestor's write deadline."""
    slow_s: float = 10
    """Timeout of a TLS handshake, of a whole request head, and of each `min_body_bytes` of a body."""
    grace_s: float = 10
    """Time allowed for a shutdown."""

    def error(self, option: str, reason: str) -> ConfigError:
        """Error about an option, with the place where it is set."""
        return ConfigError(f"{self.places.get(option, f'--{option}')}: {reason}")

    @property
    def shared(self) -> bool:
        """True if other hubs may use the same store. All need the same secrets, so that none of them makes its own."""
        return isinstance(self.store, PostgresAddress)

    @property
    def leave_s(self) -> float:
        """The part of `grace_s` in which connections have to close. The rest is for saving positions."""
        return 0.9 * self.grace_s

    @property
    def keys(self) -> tuple[str, ...]:
        """The key that makes new tokens, then the old keys, whose tokens are still valid."""
        return (self.key.value, *self.old_keys)


def parse_store(text: str) -> str | PostgresAddress:
    """A store of this version: the text, or an address. Raises `ConfigError`, which never shows a password."""
    if text in ("sqlite:", "memory:"):
        return text
    kind, _, rest = text.partition(":")
    if kind in ("postgresql", "postgres"):
        return PostgresAddress.parse(text)
    if kind == "sqlite" and rest:
        raise ConfigError("the store 'sqlite:' takes no path: its file is in the data directory (--data-dir)")
    found = f"no store {kind!r}" if _KIND.fullmatch(kind) else "no such store"
    raise ConfigError(
        f"the store must be 'sqlite:', 'memory:' or 'postgresql://HOST/DATABASE'; this version of hookbot has {found}"
    )


def parse_public(text: str) -> str:
    """The URL of a hub for senders and browsers, without a slash at the end. Raises `ConfigError`."""
    with suppress(Refused):
        parts = split_url(text)
        if parts.scheme in _PORTS and parts.hostname and not ("@" in parts.netloc or parts.query or parts.fragment):
            return f"{parts.scheme}://{encode_host(parts.hostname, parts.port)}{parts.path.rstrip('/')}"
    raise ConfigError(
        "the public URL of a hub is like https://hooks.example.com or https://example.com/hooks, without token and "
        f"query, not {without_secrets(text)!r}"
    )


def parse_advertised(text: str) -> str:
    """The URL of a hub, without a path, as the other hubs of its store connect to it. Raises `ConfigError`."""
    with suppress(Refused):
        parts = split_url(text)
        more = "@" in parts.netloc or parts.path.strip("/") or parts.query or parts.fragment
        if parts.scheme in _PORTS and parts.hostname and not more:
            return f"{parts.scheme}://{encode_host(parts.hostname, parts.port)}"
    raise ConfigError(
        "the URL of a hub is like http://10.0.0.5:8080, with http or https and without token and path, "
        f"not {without_secrets(text)!r}"
    )


def parse_unsafe(text: str) -> str:
    """Unsafe topic of ``--unsafe`` without ``/unsafe/``, or ``none``. Raises `ConfigError`."""
    topic = topic_meant(text).removeprefix(UNSAFE)
    if topic.casefold() == "none":
        return "none"
    if text.casefold() in ("all", "*", ""):
        raise ConfigError(f"{text!r} is not an unsafe topic; all of them are allowed where nothing is set")
    if re.search(r"[\[\],]", text):
        raise ConfigError(f"{text!r} is not one unsafe topic: repeat --unsafe, or set blanks between in its variable")
    try:
        check_topic(UNSAFE + topic)
    except InvalidTopic as error:
        raise ConfigError(str(error)) from None
    return topic


def parse_origin(text: str) -> str:
    """The text, if browsers send it as the ``Origin`` of a page (RFC 6454, section 7). Raises `ConfigError`."""
    if text != "null" and not _ORIGIN.fullmatch(text):
        raise ConfigError(
            f"an origin is like https://pages.example.com, with a scheme and without a path, not {text!r}"
        )
    scheme, _, authority = text.lower().partition("://")
    # Of other schemes, each browser and framework has rules of its own.
    if scheme in ("http", "https") and (sent := _origin(scheme, authority)) != text.lower():
        raise ConfigError(f"no browser sends the origin {text!r}{sent and f', but {sent!r}'}")
    return text


def _origin(scheme: str, authority: str) -> str:
    """Origin as browsers send it: with the host in ASCII, and without the scheme's own port; "" if it is invalid."""
    with suppress(Refused):
        parts = split_url(f"{scheme}://{authority}")
        return f"{scheme}://{encode_host(parts.hostname or '', None if parts.port == _PORTS[scheme] else parts.port)}"
    return ""
