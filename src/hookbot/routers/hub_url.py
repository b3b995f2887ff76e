"""The URL of a remote hub, as given to commands. Imports nothing of the server, so that commands start fast."""

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
    """URL of a hub with credentials: the token in it, or the key that all tokens are made from."""

    address: Address
    """Address of the hub, or of the only subscription there."""
    key: str | None = field(default=None, repr=False)
    publish_token: str | None = field(default=None, repr=False)
    headers: Headers = field(default=(), repr=False)
    """Additional headers for the handshake of a subscription."""
    ca_file: Path | None = None

    def subscriptions(self, topics: Sequence[str]) -> list[Address]:
        """Addresses of subscriptions to `topics`, or only that of the URL if it has a path."""
        if self.address.path != "/":
            return [self.address if self.address.authorization else self.at(unquote(self.address.path))]
        return [self.at(path_to("subscribe", topic)) for topic in topics]

    def publishing(self, draft: Draft) -> Address:
        """Address to publish a draft to, with the publish token, else one made from the key, else that of the URL."""
        path = path_to("publish", draft.topic)
        address = self._address(path, self.publish_token or self._made_token(path))
        return replace(address, query=dict(parse_qsl(draft.query, keep_blank_values=True)))

    def at(self, path: str, *, opening: str | None = None) -> Address:
        """Address of a path, with the token in the URL, or with one made from the key, for it or for `opening`."""
        return self._address(path, None if self.address.authorization else self._made_token(opening or path))

    def _made_token(self, path: str) -> str | None:
        return make_token(self.key, path) if self.key else None

    def _address(self, path: str, token: str | None) -> Address:
        address = Address.parse(self.address.origin + quote(path, safe=_NOT_QUOTED), token)
        return address if token else replace(address, authorization=self.address.authorization)
