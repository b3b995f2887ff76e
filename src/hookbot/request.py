"""A request as its sender wrote it, whichever way it came in."""

from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import parse_qsl

from .errors import Refused
from .message import Headers


@dataclass(frozen=True)
class Request:
    """Method, target and headers as they were sent, and the address of whoever sent them."""

    method: str
    target: bytes
    """The request target, undecoded: usually path and query, or a whole URL (RFC 9112, section 3.2.2)."""
    headers: Headers
    client: str = ""
    secure: bool = False
    certificate: bytes | None = field(default=None, repr=False)
    """The client's TLS certificate, DER, if it showed one that the hub's authorities signed."""

    @cached_property
    def raw_path(self) -> bytes:
        """The path of the target, still percent-encoded."""
        path = self.target.partition(b"?")[0]
        if path[:1] != b"/" and b"://" in path:
            return b"/" + path.partition(b"://")[2].partition(b"/")[2]
        return path

    @property
    def relative_target(self) -> str:
        """Path and query, as they were sent."""
        return self.raw_path.decode("latin-1") + (f"?{self.query}" if self.query else "")

    @cached_property
    def query(self) -> str:
        """What follows the first ``?``, as it was sent."""
        return self.target.partition(b"?")[2].decode("latin-1")

    @cached_property
    def parameters(self) -> dict[str, str]:
        """The query's parameters; raises `Refused` where one is given twice with different values."""
        parameters: dict[str, str] = {}
        for name, value in parse_qsl(self.query, keep_blank_values=True):
            if parameters.setdefault(name, value) != value:
                raise Refused(f"the query has {name[:40]!r} twice, with different values")
        return parameters

    @cached_property
    def _fields(self) -> dict[str, str]:
        fields: dict[str, str] = {}
        for name, value in self.headers:
            name = name.lower()
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
        return fields

    def header(self, name: str) -> str:
        """The value of a header given in lower case, repeated ones joined by ``, ``; empty if there is none."""
        return self._fields.get(name, "")

    def sent(self, name: str) -> str | None:
        """As `header`, but None if there is none."""
        return self._fields.get(name)

    def tokens(self, name: str) -> frozenset[str]:
        """The elements of a header that is a list of tokens, in lower case (RFC 9110, section 5.6.1)."""
        return frozenset(token.strip() for token in self.header(name).lower().split(",")) - {""}
