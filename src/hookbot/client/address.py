"""The URL of a topic in its parts: where to connect, what to ask for, what may be shown. Never shows a token."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from ..errors import Refused
from ..protocol.paths import split_path
from ..protocol.topics import TopicFilter, check_topic, decode_path

_SECURE = {"http": False, "ws": False, "https": True, "wss": True}
_PORTS = {False: 80, True: 443}


@dataclass(frozen=True, slots=True)
class Address:
    """Address of a topic, or of a proxy. `str()` has neither credentials nor query, so that it is fit for any log."""

    secure: bool
    host: str
    port: int
    path: str = "/"
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    authorization: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str, token: str | None = None) -> Self:
        """Read an http, https, ws or wss URL; `token` wins over its user name. Raises `Refused`."""
        try:
            parts = urlsplit(url)
            secure, port, host = _SECURE.get(parts.scheme), parts.port, parts.hostname
        except ValueError as error:
            raise Refused(f"not a URL: {error}") from None
        if secure is None or not host:
            raise Refused("a URL begins with https://, http://, wss:// or ws:// and a host")
        return cls(
            secure,
            host,
            port or _PORTS[secure],
            quote(parts.path or "/", safe="/%:@!$&'()*+,;=~"),
            dict(parse_qsl(parts.query, keep_blank_values=True)),
            _basic(parts, token),
        )

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{'https' if self.secure else 'http'}://{self.netloc}"

    @property
    def netloc(self) -> str:
        """Host and, unless it is the usual one, port: the value of a ``Host`` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host.encode("idna").decode("ascii")
        return host if self.port == _PORTS[self.secure] else f"{host}:{self.port}"

    def authorization_header(self, name: str = "Authorization") -> tuple[tuple[str, str], ...]:
        """The header that carries the token, or a proxy's credentials; no header without them."""
        return ((name, self.authorization),) if self.authorization else ()

    def target(self, query: Mapping[str, str]) -> str:
        """Path and query, as a request line has them."""
        return f"{self.path}?{urlencode(query)}" if query else self.path

    @property
    def url(self) -> str:
        """The URL with its query, but without credentials."""
        return f"{self.origin}{self.target(self.query)}"

    def __str__(self) -> str:
        return f"{self.origin}{self.path}"


def subscription_of(address: Address) -> TopicFilter:
    """The topics that a listener at this address hears; raises `Refused` for a URL that is not for listening."""
    action, topic = split_path(decode_path(address.path.encode()))
    if action == "publish":
        raise Refused(f"{address} is for publishing; to listen, say /sub/ in place of /pub/, with a token for that")
    return TopicFilter.parse(topic)


def topic_of(address: Address) -> str:
    """The topic that a publisher to this address publishes to; raises `Refused` for a URL that is for listening."""
    check_publishable(address)
    return check_topic(split_path(decode_path(address.path.encode()))[1])


def check_publishable(address: Address) -> None:
    """Raises `Refused` for a URL that is for listening."""
    if split_path(address.path)[0] == "subscribe":
        raise Refused(f"{address} is for listening; to publish, say /pub/ in place of /sub/, with a token for that")


def _basic(parts: SplitResult, token: str | None) -> str | None:
    if token is None and parts.username is None:
        return None
    user, password = (
        (token, "") if token is not None else (unquote(parts.username or ""), unquote(parts.password or ""))
    )
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode('ascii')}"
