"""Samples: deliveries that are not signed yet, and can still be changed."""

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from ...protocol.bodies import FORM
from ...protocol.json_text import write_json
from ...protocol.message import Headers
from ..places import is_in_head
from ..provider import Provider
from ..request import SignedRequest
from .paths import with_value


@dataclass(frozen=True, slots=True)
class Sample:
    """A delivery of an event, not signed yet."""

    id: str
    headers: Headers
    content: Any
    """The JSON of the body, or the fields of a form by their names; a value that is no text is JSON there."""

    @property
    def body(self) -> bytes:
        """The body, as its Content-Type says."""
        if not self.is_form:
            return write_json(self.content).encode()
        fields = {name: value if isinstance(value, str) else write_json(value) for name, value in self.content.items()}
        return urlencode(fields).encode()

    @property
    def is_form(self) -> bool:
        """True if the body is a URL-encoded form."""
        return any(name.lower() == "content-type" and value.lower().startswith(FORM) for name, value in self.headers)

    def with_value(self, path: str, value: Any) -> "Sample":
        """The same, with another value at a path such as ``data.object.amount``. Raises `Refused` as `with_value`."""
        return replace(self, content=with_value(self.content, path, value))

    def with_headers(self, headers: Headers) -> "Sample":
        """The same with some headers, which replace those of the same name."""
        names = {name.lower() for name, _ in headers}
        return replace(self, headers=(*(pair for pair in self.headers if pair[0].lower() not in names), *headers))

    def request(self, provider: Provider, url: str = "", body: bytes | None = None) -> SignedRequest:
        """The request that its sender makes of it, or of another body, with the id in the header that is for it."""
        request = SignedRequest(self.body if body is None else body, self.headers, "POST", url)
        for place in (getattr(provider, "id", ""), getattr(provider, "delivery", "")):
            # Those in bodies are in the files.
            if place and is_in_head(place) and not request.first(place):
                request = request.put(place, self.id)
        return request
