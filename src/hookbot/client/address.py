"""Addresses: parsed URLs of hubs, topics, proxies and targets. Error messages never show their credentials."""

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode

from ..errors import Refused
from ..protocol.pasted import trim, unseen_in
from ..protocol.paths import split_path
from ..protocol.topics import TopicFilter, check_topic, decode_path
from ..protocol.urls import ascii_host, encode_host, split_url

_SECURE = {"http": False, "ws": False, "https": True, "wss": True}
_PORTS = {False: 80, True: 443}
# RFC 3986, section 3.3, with the slash, and the percent signs that already begin an escape.
_IN_PATHS = "/%:@!$&'()*+,;=~"
_LONE_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Address:
    """Parsed URL of a server, and of a path on it. `str()` leaves out credentials and query, so it is safe to log."""

    secure: bool
    host: str
    port: int
    path: str = "/"
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    authorization: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str, token: str | None = None) -> Self:
        """Parse an http, https, ws or wss URL; `token` replaces its credentials. Raises `Refused` for any other."""
        parts = split_url(url)
        secure = _SECURE.get(parts.scheme)
        if secure is None or not parts.hostname:
            raise Refused("a URL must begin with https://, http://, wss:// or ws://, followed by a host")
        return cls(
            secure,
            ascii_host(parts.hostname),
            parts.port or _PORTS[secure],
            percent_encode(parts.path or "/"),
            dict(parse_qsl(parts.query, keep_blank_values=True, errors="surrogateescape")),
            _basic(parts, token),
        )

    @property
    def origin(self) -> str:
        """``http`` or ``https``, the host, and the port unless it is the scheme's default."""
        return f"{'https' if self.secure else 'http'}://{self.netloc}"

    @property
    def netloc(self) -> str:
        """Value of the ``Host`` header: the host, and the port unless it is the scheme's default."""
        return encode_host(self.host, None if self.port == _PORTS[self.secure] else self.port)

    def authorization_header(self, name: str = "Authorization") -> tuple[tuple[str, str], ...]:
        """Header `name` with the credentials; empty if there are none."""
        return ((name, self.authorization),) if self.authorization else ()

    def target(self, query: Mapping[str, str]) -> str:
        """Request target (RFC 9112, section 3.2.1): the path with `query`, in place of the URL's query."""
        return f"{self.path}?{urlencode(query, errors='surrogateescape')}" if query else self.path

    @property
    def url(self) -> str:
        """The URL with its query, without credentials."""
        return f"{self.origin}{self.target(self.query)}"

    def __str__(self) -> str:
        return f"{self.origin}{self.path}"


def percent_encode(text: str, *, also: str = "") -> str:
    """A path with escapes in place of what may not stand in it, or in `also`; those that it has are kept."""
    return quote(_LONE_PERCENT.sub("%25", text), safe=_IN_PATHS + also, errors="surrogateescape")


def subscription_of(address: Address) -> TopicFilter:
    """Filter of the topics that this address subscribes to. Raises `Refused` if it is for publishing, or invalid."""
    action, topic = split_path(decode_path(address.path.encode()))
    if action == "publish":
        raise Refused(f"{address} is for publishing; to listen, replace /pub/ with /sub/ and use a token for that path")
    return TopicFilter.parse(topic)


def topic_of(address: Address) -> str:
    """Topic that this address publishes to. Raises `Refused` if it is for listening, or invalid."""
    check_publishable(address)
    return check_topic(split_path(decode_path(address.path.encode()))[1])


def check_publishable(address: Address) -> None:
    """Raise `Refused` if this address is for listening."""
    if split_path(address.path)[0] == "subscribe":
        raise Refused(f"{address} is for listening; to publish, replace /sub/ with /pub/ and use a token for that path")


def _basic(parts: SplitResult, token: str | None) -> str | None:
    if token is not None:
        user, password = trim(token), ""
        if unseen := unseen_in(user, allowed=""):
            raise Refused(f"the token contains {unseen}: remove it")
    elif parts.username is not None:
        user, password = trim(unquote(parts.username)), unquote(parts.password or "")
    else:
        return None
    return f"Basic {b64encode(f'{user}:{password}'.encode('utf-8', 'surrogateescape')).decode('ascii')}"
