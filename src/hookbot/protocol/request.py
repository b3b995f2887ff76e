"""HTTP requests as clients send them, the same from the fast path and from the app."""

from collections.abc import Collection
from urllib.parse import parse_qsl

from ..errors import Refused, did_you_mean
from .fields import Fields, join_fields
from .message import Headers

MAX_PARAMETERS = 200
"""Parameters of a query. No known sender has more than a few dozen, and parsing 16,000, as fit into a head, takes tens
of milliseconds."""


class Request:
    """An HTTP request: method, target and headers as sent, and the address of the client.

    Read-only except `client` and `authenticated`, which access control sets. A plain class with slots: there is one
    for every publish, and a frozen dataclass takes three times as long to make.
    """

    __slots__ = (
        "_parameters",
        "authenticated",
        "certificate",
        "client",
        "fields",
        "headers",
        "method",
        "query",
        "raw_path",
        "secure",
        "target",
    )

    def __init__(
        self,
        method: str,
        target: bytes,
        headers: Headers,
        client: str = "",
        secure: bool = False,
        certificate: bytes | None = None,
        fields: Fields | None = None,
    ) -> None:
        """`fields`: the headers by name, if they are known already."""
        path, _, query = target.partition(b"?")
        # A whole URL, as clients of a proxy send it.
        if path[:1] != b"/" and b"://" in path:
            path = b"/" + path.partition(b"://")[2].partition(b"/")[2]
        self.method = method
        self.target = target
        """The request target, undecoded: usually path and query, or a whole URL (RFC 9112, section 3.2.2)."""
        self.headers = headers
        self.client = client
        """The address of the peer; access control replaces that of a trusted proxy."""
        self.authenticated = False
        """True once access control has found a good token or signature in it."""
        self.secure = secure
        """True if the connection to the hub is encrypted."""
        self.certificate = certificate
        """The client's TLS certificate in DER, if it presented one that the hub's authorities signed."""
        self.raw_path = path
        """The path of the target, still percent-encoded."""
        self.query = query.decode("latin-1")
        """Everything after the first ``?``, as sent."""
        self.fields = join_fields(headers) if fields is None else fields
        self._parameters: dict[str, str] | None = None

    def check_parameters(self) -> None:
        """Raise `Refused` if the query has more than `MAX_PARAMETERS`. Call it before anything parses the query."""
        if self.query.count("&") >= MAX_PARAMETERS:
            raise Refused(f"the query has more than {MAX_PARAMETERS} parameters")

    @property
    def relative_target(self) -> str:
        """Path and query, still encoded, without scheme and host."""
        return self.raw_path.decode("latin-1") + (f"?{self.query}" if self.query else "")

    @property
    def parameters(self) -> dict[str, str]:
        """Parameters of the query, decoded; raises `Refused` if one occurs twice with different values."""
        if self._parameters is None:
            parameters: dict[str, str] = {}
            for name, value in parse_qsl(self.query, keep_blank_values=True):
                if parameters.setdefault(name, value) != value:
                    raise Refused(f"the query has the parameter {name[:40]!r} twice, with different values")
            self._parameters = parameters
        return self._parameters

    def check_names(self, known: Collection[str]) -> None:
        """Raise `Refused` if the query has a parameter that is not `known`: a misspelt one would have no effect."""
        for name in self.parameters:
            if name not in known:
                hint = did_you_mean(name, known) or f"the parameters are {', '.join(sorted(known))}"
                raise Refused(f"unknown query parameter {name[:40]!r}: {hint}")

    def header(self, name: str) -> str:
        """Value of the header with this lower-case name, repeated ones joined by ``, ``; empty if there is none."""
        return self.fields.get(name, "")

    def sent(self, name: str) -> str | None:
        """As `header`, but None if the header was not sent."""
        return self.fields.get(name)

    def is_foreign(self, origins: Collection[str]) -> bool:
        """True if a web page sent it that is neither of this hub nor of one of these origins, in lower case."""
        origin = self.header("origin").lower()
        return bool(origin) and not origin.endswith(f"//{self.header('host').lower()}") and origin not in origins

    @property
    def accepts_json(self) -> bool:
        """True if the client prefers a response in JSON."""
        return "json" in self.header("accept").lower()

    def tokens(self, name: str) -> frozenset[str]:
        """Elements of a header that is a list of tokens, in lower case (RFC 9110, section 5.6.1)."""
        value = self.fields.get(name)
        if not value:
            return frozenset()
        return frozenset(token.strip() for token in value.lower().split(",")) - {""}
