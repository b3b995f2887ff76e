"""Signed requests, and what is found at the places in them.

Requests come from untrusted clients: whatever they contain, reading a valid place raises only `BadSignature`, or
`BodyTooLarge` if the place is in a body that would take too much time or memory to parse. A body is parsed once.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, quote, unquote_plus, urlsplit

from ..errors import BadSignature, BodyTooLarge, ConfigError
from ..protocol.bodies import FORM, UNVERIFIED, RepeatedKey, parse_form, parse_json
from ..protocol.charsets import decode
from ..protocol.fields import Fields
from ..protocol.json_text import read_json, write_json
from ..protocol.message import Headers
from ..protocol.request import Request
from .places import alternatives, describe, parse_place

_VISIBLE = re.compile(r"[!-~]+", re.ASCII)
_ITEM = re.compile(r"[,;]")


# As `Draft`.
@dataclass(unsafe_hash=True)
class SignedRequest:
    """A request to be verified, as the sender sent it. Immutable by convention: only `found` changes.

    `url` is the whole address that the sender posted to, query included, or empty if unknown. Some senders sign it.
    Behind a proxy it differs from the one that reaches the hub, and has to be configured.
    """

    body: bytes = b""
    headers: Headers = ()
    method: str = "POST"
    url: str = ""
    found: tuple[object, Sequence[bytes]] = field(default=(None, ()), init=False, repr=False, compare=False)
    """The provider that has found signatures in the head, and these, so that it need not find them again."""

    @classmethod
    def head(cls, request: Request, url: str) -> "SignedRequest":
        """A request without its body, which the sender posted to `url`."""
        head = cls(b"", request.headers, request.method, url)
        if len(request.fields) == len(request.headers):
            head._by_name = request.fields
        return head

    @property
    def query(self) -> str:
        """Query of the URL, as sent."""
        return self.url.partition("?")[2]

    def find(self, place: str) -> str | None:
        """Value at a place, None if there is none; raises `BadSignature` if there are several."""
        values = self.find_all(place)
        if len(values) > 1:
            raise BadSignature(f"{describe(place)} occurs {len(values)} times, and must be unique")
        return values[0] if values else None

    def need(self, place: str) -> str:
        """Value at a place; raises `BadSignature`, which names the place, if it is missing, empty or repeated."""
        value = self.find(place)
        if not value:
            raise BadSignature(f"{describe(place)} is {'missing' if value is None else 'empty'}")
        return value

    def find_all(self, place: str) -> list[str]:
        """All values at a place, in order; of alternative places, at the first that has any."""
        for alternative in alternatives(place):
            if values := self._values(*alternative):
                return values
        return []

    def first(self, place: str) -> str | None:
        """First value at a place; None if there is none, `place` is empty, or the body is too large to parse."""
        try:
            return next(iter(self.find_all(place)), None) if place else None
        except BodyTooLarge:
            return None

    def need_after(self, prefix: str, place: str) -> str:
        """Value at a place without `prefix`, which may be in any case; raises `BadSignature` if either is missing."""
        value = self.need(place)
        if value[: len(prefix)].lower() != prefix.lower():
            raise BadSignature(f"{describe(place)} does not begin with {prefix!r}")
        return value[len(prefix) :]

    def need_url(self) -> str:
        """The URL; raises `BadSignature` if it is unknown."""
        if not self.url:
            raise BadSignature(
                "the signature covers the URL, and this source does not know the URL that the sender posts to"
            )
        return self.url

    def json(self) -> Any:
        """The body parsed as JSON.

        Raises `BadSignature` if it is not JSON or has a key twice in one object, and `BodyTooLarge` if it is beyond the
        ceiling `UNVERIFIED`.
        """
        try:
            return self._json
        except RepeatedKey as error:
            raise BadSignature(str(error)) from None
        except ValueError:
            raise BadSignature("the body is not JSON") from None

    def editable_json(self) -> Any:
        """The body parsed as JSON, to be changed for `with_json`: numbers keep their text. Raises as `json`."""
        self.json()
        return read_json(decode(self.body) or "")

    def with_json(self, document: Any) -> "SignedRequest":
        """The same request with another body, of this JSON."""
        return replace(self, body=write_json(document).encode())

    def form(self) -> list[tuple[str, str]]:
        """Fields of a URL-encoded form, in order; empty for any other Content-Type.

        Raises `BadSignature` if there are several Content-Types, and `BodyTooLarge` as `json` does.
        """
        return self._form if self.is_form else []

    @property
    def is_form(self) -> bool:
        """True if the Content-Type is that of a URL-encoded form; raises `BadSignature` if there are several."""
        return (self.find("Content-Type") or "").lower().startswith(FORM)

    def with_body(self, body: bytes) -> "SignedRequest":
        """The same request with its body; what was found of the headers stays found."""
        other = SignedRequest(body, self.headers, self.method, self.url)
        other._by_name, other.found = self._by_name, self.found
        return other

    def with_url(self, url: str) -> "SignedRequest":
        """The same request with another URL; what was parsed of the body stays parsed."""
        other = replace(self, url=url)
        vars(other).update({name: value for name, value in vars(self).items() if name in ("_json", "_form")})
        return other

    def put(self, place: str, value: str) -> "SignedRequest":
        """The same request with a value at a place, or at the first of alternative places.

        Replaces a whole header, appends a query parameter, and writes decimal digits into JSON as a number. Raises
        `ConfigError` if the body is not a JSON object that can hold the value.
        """
        kind, name, suffix = parse_place(place.partition("|")[0])
        if kind == "json":
            return replace(self, body=_with_field(self.body, name.split("."), value))
        if kind == "query":
            return self.with_url(f"{self.url}{'&' if '?' in self.url else '?'}{quote(name)}={quote(value)}")
        if suffix == "*":
            name += "1"
        elif suffix:
            value = f"{suffix[1:-1]}={value}"
        others = tuple(pair for pair in self.headers if pair[0].lower() != name.lower())
        return replace(self, headers=(*others, (name, value)))

    def without(self, places: Collection[str]) -> "SignedRequest":
        """The same request without the headers and query parameters at these places; fields of the body stay."""
        if not places:
            return self
        parsed = [parse_place(place) for place in places]
        secret = [(name, suffix) for kind, name, suffix in parsed if not kind]
        parameters = {name for kind, name, _ in parsed if kind == "query"}
        path, mark, query = self.url.partition("?")
        kept = "&".join(item for item in query.split("&") if unquote_plus(item.partition("=")[0]) not in parameters)
        headers = tuple(pair for pair in self.headers if not any(_is_named(pair[0], *header) for header in secret))
        return replace(self, headers=headers, url=f"{path}{mark if kept else ''}{kept}")

    @cached_property
    def _json(self) -> Any:
        return parse_json(self.body, UNVERIFIED, unique=True)

    @cached_property
    def _form(self) -> list[tuple[str, str]]:
        return parse_form(self.body, UNVERIFIED)

    @cached_property
    def _by_name(self) -> Mapping[str, list[str]] | Fields:
        """Values of the headers, by their names in lower case; each without a list if no name is repeated."""
        values: dict[str, list[str]] = {}
        for name, value in self.headers:
            values.setdefault(name.lower(), []).append(value)
        return values

    def _values(self, kind: str, name: str, suffix: str) -> list[str]:
        if kind == "json":
            value = self._json_field(name.split("."))
            return [] if value is None else [value]
        if kind == "query":
            return [value for key, value in parse_qsl(self.query, keep_blank_values=True) if key == name]
        if suffix == "*":
            return [value for key, value in self.headers if _is_named(key, name, suffix)]
        found = self._by_name.get(name.lower(), [])
        values = [found] if isinstance(found, str) else [*found]
        return [item for value in values for item in _items(value, suffix)] if suffix else values

    def _json_field(self, path: list[str]) -> str | None:
        try:
            value = self.json()
        except BadSignature:
            return None
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def _is_named(header: str, name: str, suffix: str) -> bool:
    """True if a header has this name or, with the suffix ``*``, one that begins with it."""
    found, wanted = header.lower(), name.lower()
    return found.startswith(wanted) if suffix == "*" else found == wanted


def check_names(fields: Iterable[str], signed: Iterable[str]) -> None:
    """Raise `BadSignature` if one of the fields of an object passes for a signed one where case does not matter.

    Readers in Go and C# ignore it. For fields that are signed one by one: anybody could add another.
    """
    folded = {name.casefold(): name for name in signed}
    for name in fields:
        if folded.get(name.casefold(), name) != name:
            raise BadSignature(f"the body has the field {name[:40]!r}, which could be taken for a signed one")


def split_url(url: str) -> tuple[str, str, str]:
    """Scheme, authority (RFC 3986, port included) in lower case, and path of a URL from an untrusted client.

    Raises `BadSignature` if the URL is malformed or not visible ASCII.
    """
    try:
        if not _VISIBLE.fullmatch(url):
            # urlsplit silently drops tabs and line feeds, which the fetching client might not.
            raise ValueError("not visible ASCII")
        parts = urlsplit(url)
        return parts.scheme, parts.netloc.lower(), parts.path
    except ValueError:
        raise BadSignature(f"not a URL: {url[:200]!r}") from None


def _items(value: str, suffix: str) -> Iterator[str]:
    for item in _ITEM.split(value):
        name, equals, rest = item.strip().partition("=")
        if equals and name == suffix[1:-1]:
            yield rest


def _with_field(body: bytes, path: list[str], value: str) -> bytes:
    try:
        document = read_json(decode(body) or "")
        inner = document
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = int(value) if value.isdecimal() else value
    except (ValueError, AttributeError, TypeError):
        raise ConfigError(f"{'.'.join(path)!r} is put into the body, which must be a JSON object") from None
    return write_json(document).encode()
