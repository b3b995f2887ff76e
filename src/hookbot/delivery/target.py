"""Targets: servers that messages are posted to, as people name them."""

import re
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import quote

from ..client.address import Address, percent_encode
from ..errors import Refused
from ..protocol.message import Message, wants_metadata
from ..protocol.pasted import trim, unquote
from ..protocol.urls import split_url

_UNIX = "unix:"
_HTTP = re.compile("https?://", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
# A port alone is one of this machine, as in the tools of Stripe and ngrok.
_PORT = re.compile(r"^:?([0-9]+)(?![^/?#])")
# A path begins with a slash, so that a colon in the name of a socket is one.
_SOCKET_END = re.compile(r":(?=[/?]|$)")
_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))


@dataclass(frozen=True, slots=True)
class Target:
    """A server that messages are posted to. `str()` leaves out credentials and query, so it is safe to log."""

    address: Address
    query: str = field(default="", repr=False)
    socket: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Target in an http or https URL, or in ``unix:/run/app.sock`` or ``unix:/run/app.sock:/path``.

        Without a scheme, ``localhost:3000/path`` or only ``3000``, it is http. Characters that may not stand in a URL
        are percent-encoded. Raises `Refused` for anything else.
        """
        text = unquote(trim(text))
        socket = None
        if text.lower().startswith(_UNIX):
            socket, *path = _SOCKET_END.split(text[len(_UNIX) :], maxsplit=1)
            if not socket.startswith("/"):
                raise Refused("behind unix: comes the path of a socket from the root, such as unix:/run/app.sock")
            text = f"http://localhost{''.join(path)}"
        url = _url(text)
        return cls(Address.parse(url), percent_encode(split_url(url).query, also="?"), socket)

    @property
    def url(self) -> str:
        """The URL with its query, without credentials."""
        return f"{self.address.origin}{self.address.path}{f'?{self.query}' if self.query else ''}"

    def request_target(self, message: Message) -> bytes:
        """Path and query of the target, followed by the query of the message, byte for byte.

        Bytes that may not stand in a request line are percent-encoded, and the hub's own parameter is left out.
        """
        sent = quote(message.query, safe=_VISIBLE, errors="surrogateescape")
        theirs = (part for part in sent.split("&") if not wants_metadata(part))
        query = "&".join(filter(None, (self.query, "&".join(theirs))))
        return (f"{self.address.path}?{query}" if query else self.address.path).encode("ascii")

    def __str__(self) -> str:
        return f"{_UNIX}{self.socket}:{self.address.path}" if self.socket else str(self.address)


def _url(text: str) -> str:
    if _HTTP.match(text):
        return text
    if not text or text.startswith("/") or _SCHEME.match(text):
        raise Refused(
            "a target is an http:// or https:// URL, a host and port such as localhost:3000, or unix: and a path"
        )
    return "http://" + _PORT.sub(r"localhost:\1", text)
