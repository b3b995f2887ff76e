"""The gate: what a request asks for, and whether it may.

The door and the app take requests in; both ask here, so that there is one answer. Nothing here waits or reads.
"""

from base64 import b64decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from hmac import compare_digest
from urllib.parse import parse_qsl, urlencode

from .errors import BodyTooLarge, Forbidden, InvalidTopic, MethodNotAllowed, NotFound, Refused, Unauthorized
from .listening import Listening, offered, read_listening
from .message import Draft, Headers, Once
from .places import METHODS, Action, Place, find
from .request import Request
from .tokens import Digest, make_token, opening_paths
from .topics import UNSAFE, is_own, is_unsafe

MAX_HOPS = 16
MAX_KEY = 255
UNSAFE_HEADER = "x-hookbot-unsafe-is-ok"
UNSAFE_HEADER_VALUE = "I understand the security implications"
TOKEN_PROTOCOL = "hookbot.token."  # noqa: S105 - a prefix, not a token
SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "x-gitlab-token"})
"""Headers that are a secret by themselves: whoever reads one could pose as the sender. Never stored."""


@dataclass(frozen=True, slots=True)
class Publishing:
    """A publish that was let in and may now send its body."""

    topic: str
    headers: Headers
    query: str
    hops: tuple[str, ...]
    idempotency_key: str

    def draft(self, body: bytes) -> Draft:
        """The draft for the log."""
        once = (Once(self.topic, key, fingerprint=sha256(body).digest()),) if (key := self.idempotency_key) else ()
        return Draft(self.topic, body, self.headers, self.query, hops=self.hops, once=once)


class Gate:
    """Decides about requests, by the hub's keys and limits.

    Every refusal is a `Refused`, whose text is the answer. In this order: the path (400, 404, 405), the address
    and the token (403, 401), the query and the headers (400), the declared length (413).
    """

    def __init__(
        self,
        keys: Sequence[str],
        *,
        clock_us: Callable[[], int],
        digests: Sequence[Digest] = ("sha1", "sha256"),
        unsafe_prefixes: Sequence[str] = ("",),
        max_body_bytes: int = 25 << 20,
        origins: Sequence[str] = (),
    ) -> None:
        self.max_body_bytes = max_body_bytes
        self.origins = frozenset(origin.lower() for origin in origins)
        self._clock_us = clock_us
        self._unsafe = tuple(UNSAFE + prefix for prefix in unsafe_prefixes)

        @lru_cache(maxsize=2048)
        def opening_tokens(path: str) -> tuple[bytes, ...]:
            return tuple(
                make_token(key, opening, digest).encode()
                for digest in digests
                for key in keys
                for opening in opening_paths(path)
            )

        self._opening_tokens = opening_tokens

    def publishing(self, request: Request) -> Publishing:
        """Let a publish in, before its body is read."""
        place = self.place(request, "publish")
        if is_own(place.topic):
            raise InvalidTopic(f"topics beneath hookbot/ are the hub's own: {place.topic!r}")
        safe = not is_unsafe(place.topic)
        if safe:
            self.authorize(request, place.path)
        _check_metadata(request.query)
        self.check_length(request)
        return Publishing(
            place.topic,
            tuple(pair for pair in request.headers if pair[0].lower() not in SECRET_HEADERS),
            _without_token(request.query),
            _hops(request) if safe else (),
            _idempotency_key(request),
        )

    def listening(self, request: Request, *, websocket: bool) -> Listening:
        """Let a subscription in, with everything its query and headers ask for."""
        place = self.place(request, "subscribe")
        if is_unsafe(place.topic) and request.header(UNSAFE_HEADER) != UNSAFE_HEADER_VALUE:
            raise Refused("400 Bad Request. X-Hookbot-Unsafe-Is-Ok header required.")
        self.authorize(request, place.path)
        return read_listening(request, place, websocket=websocket, now_us=self._clock_us())

    def place(self, request: Request, action: Action) -> Place:
        """What the path means for this method; raises `InvalidTopic`, `NotFound` or `MethodNotAllowed`."""
        place = find(request.method, request.raw_path)
        if place.topic.startswith(UNSAFE) and not place.topic.startswith(self._unsafe):
            raise NotFound(f"this hub has no such unsafe topic: {place.topic!r}")
        if place.action != action:
            raise MethodNotAllowed(f"{request.method} is not for {place.path!r}", allow=METHODS[place.action])
        return place

    def authorize(self, request: Request, path: str) -> None:
        """Raises `Unauthorized` unless a token opens `path`, and `Forbidden` if a foreign page borrowed it."""
        tokens = _tokens(request)
        if not any(self._opens(token, path) for token in tokens):
            raise Unauthorized
        if request.header("authorization").lower().startswith("basic ") and self._is_foreign(request):
            raise Forbidden(f"pages of {request.header('origin')[:80]!r} may not use this hub with saved credentials")

    def check_length(self, request: Request) -> None:
        """Raises `BodyTooLarge` by the declared length, so that nothing has to be read."""
        declared = request.header("content-length")
        if declared.isdecimal() and int(declared[:18]) > self.max_body_bytes:
            raise BodyTooLarge(f"a body has at most {self.max_body_bytes} bytes")

    def _is_foreign(self, request: Request) -> bool:
        origin = request.header("origin").lower()
        own = origin.partition("//")[2] == request.header("host").lower()
        return bool(origin) and not own and origin not in self.origins

    def _opens(self, token: bytes, path: str) -> bool:
        found = False
        for expected in self._opening_tokens(path):
            found |= compare_digest(token, expected)
        return found


def _tokens(request: Request) -> Sequence[bytes]:
    """All tokens that a request shows: Basic user name, Bearer, a websocket's subprotocol, ``?token=`` of a GET."""
    scheme, _, credentials = request.header("authorization").partition(" ")
    tokens = []
    if scheme.lower() == "bearer":
        tokens.append(credentials.strip())
    elif scheme.lower() == "basic":
        try:
            tokens.append(b64decode(credentials, validate=True).decode("latin-1").partition(":")[0])
        except ValueError:
            raise Unauthorized from None
    for protocol in offered(request):
        if protocol.startswith(TOKEN_PROTOCOL):
            tokens.append(protocol.removeprefix(TOKEN_PROTOCOL))
    if request.method == "GET" and "token=" in request.query:
        tokens.append(request.parameters.get("token", ""))
    return [token.encode("utf-8", "surrogatepass") for token in tokens]


def _check_metadata(query: str) -> None:
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name == "extra-metadata" and value != "github":
            raise Refused(f"400 Bad Request (bad ?extra-metadata=): it can be 'github', not {value[:40]!r}")


def _idempotency_key(request: Request) -> str:
    key = request.header("idempotency-key")
    if len(key) > MAX_KEY:
        raise Refused(f"an Idempotency-Key has at most {MAX_KEY} characters, not {len(key)}")
    return key


def _hops(request: Request) -> tuple[str, ...]:
    hops = tuple(hop.strip() for hop in request.header("hookbot-hops").split(",") if hop.strip())
    if len(hops) > MAX_HOPS:
        raise Refused(f"a message goes through at most {MAX_HOPS} routers, this one came through {len(hops)}")
    return hops


def _without_token(query: str) -> str:
    if "token" not in query:
        return query
    return urlencode([pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != "token"])
