"""The URL of a hub as programs outside of it are given it. Imports no server: commands that only ask a hub use it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote

from ..access.tokens import make_token
from ..client.address import Address
from ..protocol.message import Draft, Headers
from ..protocol.paths import path_to

_NOT_QUOTED = "/:@!$&'()*+,;=~"


@dataclass(frozen=True, slots=True)
class HubUrl:
    """The URL of a hub with its credentials: the token in it, or the key that all tokens are made of."""

    address: Address
    """The address of the hub, or of a subscription there, which then is the only one."""
    key: str | None = field(default=None, repr=False)
    publish_token: str | None = field(default=None, repr=False)
    headers: Headers = field(default=(), repr=False)
    """More headers for the handshake of a subscription."""
    ca_file: Path | None = None

    def subscriptions(self, topics: Sequence[str]) -> list[Address]:
        """The addresses of subscriptions to these topics."""
        if self.address.path != "/":
            return [self.address if self.address.authorization else self.at(unquote(self.address.path))]
        return [self.at(path_to("subscribe", topic)) for topic in topics]

    def publishing(self, draft: Draft) -> Address:
        """The address to publish a draft to. The URL's token is for listening: used only where there is no other."""
        path = path_to("publish", draft.topic)
        address = self._address(path, self.publish_token or self._made_token(path))
        return replace(address, query=dict(parse_qsl(draft.query, keep_blank_values=True)))

    def at(self, path: str) -> Address:
        """The address of a path, with the URL's token, or with one that is made."""
        return self._address(path, None if self.address.authorization else self._made_token(path))

    def _made_token(self, path: str) -> str | None:
        return make_token(self.key, path) if self.key else None

    def _address(self, path: str, token: str | None) -> Address:
        address = Address.parse(self.address.origin + quote(path, safe=_NOT_QUOTED), token)
        return address if token else replace(address, authorization=self.address.authorization)
