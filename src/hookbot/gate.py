"""The gate: what a request asks for, and whether it may.

The door and the app take requests in; both ask here, so that there is one answer. Nothing here waits or reads.
"""

from base64 import b64decode
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Literal
from urllib.parse import parse_qsl

from .authority import Action, Authority, Grant
from .errors import BodyTooLarge, Forbidden, InvalidTopic, MethodNotAllowed, NotFound, Refused, Unauthorized
from .listening import Listening, offered, read_listening
from .places import METHODS, Place, find
from .proxies import TrustedProxies
from .publishing import Publishing
from .request import Request
from .signatures import Reply
from .sources import Source, Sources
from .standing import Standing
from .throttle import FAILURES, Rate, Throttle
from .topics import RECURSIVE, UNSAFE, TopicFilter, is_own, is_unsafe

MAX_HOPS = 16
MAX_KEY = 255
UNSAFE_HEADER = "x-hookbot-unsafe-is-ok"
UNSAFE_HEADER_VALUE = "I understand the security implications"
TOKEN_PROTOCOL = "hookbot.token."  # noqa: S105 - a prefix, not a token


class Gate:
    """Decides about requests, by the hub's keys and limits.

    Every refusal is a `Refused`, whose text is the answer. In this order: the path (400, 404, 405), the address
    and the token (403, 401), the query and the headers (400), the declared length (413).
    """

    def __init__(
        self,
        authority: Authority,
        *,
        clock_us: Callable[[], int],
        sources: Sources | None = None,
        standing: Standing | None = None,
        proxies: TrustedProxies | None = None,
        failures: Rate = FAILURES,
        publishes: Rate | None = None,
        unsafe_prefixes: Sequence[str] = ("",),
        max_body_bytes: int = 25 << 20,
        origins: Sequence[str] = (),
    ) -> None:
        self.authority = authority
        self.max_body_bytes = max_body_bytes
        self.origins = frozenset(origin.lower() for origin in origins)
        self.sources = sources or Sources()
        self.standing = standing or Standing()
        self._proxies = proxies or TrustedProxies()
        self._failures = Throttle(failures)
        self._publishes = Throttle(publishes) if publishes else None
        self._clock_us = clock_us
        beneath = [TopicFilter.parse(f"{UNSAFE}{prefix}{RECURSIVE}") for prefix in unsafe_prefixes]
        self._unsafe = TopicFilter(tuple(pattern for wanted in beneath for pattern in wanted.patterns))

    @property
    def now_s(self) -> float:
        """Seconds since 1970."""
        return self._clock_us() / 1e6

    def publishing(self, request: Request) -> Publishing:
        """Let a publish in, before its body is read."""
        place = self.place(request, "publish")
        if is_own(place.topic):
            raise InvalidTopic(f"topics beneath hookbot/ are the hub's own: {place.topic!r}")
        safe = not is_unsafe(place.topic)
        if safe:
            self.authorize(request, place.path, "publish")
        _check_metadata(request.query)
        self.check_length(request)
        self._check_rate(request)
        return Publishing(
            request,
            place.topic,
            _hops(request) if safe else (),
            _idempotency_key(request),
            self._source(request, place.topic),
            partial(self._count_failure, request),
        )

    def handshake(self, request: Request) -> Reply | None:
        """The answer to a sender who asks by GET who is there; None if the request is nothing of the kind."""
        if not self.sources:
            return None
        try:
            place = find("POST", request.raw_path)
        except MethodNotAllowed:  # a subscription
            return None
        source = self._source(request, place.topic)
        if source is None:
            return None
        if not is_unsafe(place.topic):
            self.authorize(request, place.path, "publish")
        return source.handshake(source.signed(request, b""), now_s=self.now_s)

    def listening(self, request: Request, *, websocket: bool) -> Listening:
        """Let a subscription in, with everything its query and headers ask for."""
        place = self.place(request, "subscribe")
        if is_unsafe(place.topic) and request.header(UNSAFE_HEADER) != UNSAFE_HEADER_VALUE:
            raise Refused("400 Bad Request. X-Hookbot-Unsafe-Is-Ok header required.")
        grant = self.authorize(request, place.path, "subscribe")
        listening = read_listening(request, place, websocket=websocket, now_us=self._clock_us())
        _check_grant(grant, listening)
        self.standing.check(grant)
        return replace(listening, grant=grant)

    def place(self, request: Request, action: Literal["publish", "subscribe"]) -> Place:
        """What the path means for this method; raises `InvalidTopic`, `NotFound` or `MethodNotAllowed`."""
        place = find(request.method, request.raw_path)
        if is_unsafe(place.topic) and not self._may_exist(place):
            raise NotFound(f"this hub has no such unsafe topic: {place.topic!r}")
        if place.action != action:
            raise MethodNotAllowed(f"{request.method} is not for {place.path!r}", allow=METHODS[place.action])
        return place

    def authorize(self, request: Request, path: str, action: Action) -> Grant:
        """What the request's token grants; raises `Unauthorized`, or `Forbidden` if a foreign page borrowed it."""
        grants = (self.authority.grant(token, path, action, now_s=self.now_s) for token in _tokens(request))
        grant = next((grant for grant in grants if grant), None)
        if grant is None:
            self._count_failure(request)
            raise Unauthorized
        if request.header("authorization").lower().startswith("basic ") and self._is_foreign(request):
            raise Forbidden(f"pages of {request.header('origin')[:80]!r} may not use this hub with saved credentials")
        return grant

    def check_length(self, request: Request) -> None:
        """Raises `BodyTooLarge` by the declared length, so that nothing has to be read."""
        declared = request.header("content-length")
        if declared.isdecimal() and int(declared[:18]) > self.max_body_bytes:
            raise BodyTooLarge(f"a body has at most {self.max_body_bytes} bytes")

    def _may_exist(self, unsafe: Place) -> bool:
        """Whether the hub has this unsafe topic, or some of those that a subscription asks for."""
        if unsafe.action == "publish":
            return self._unsafe.matches(unsafe.topic)
        asked = TopicFilter.parse(unsafe.topic)
        return any(map(self._unsafe.matches, asked.patterns)) or any(map(asked.matches, self._unsafe.patterns))

    def _client(self, request: Request) -> str:
        return self._proxies.client(request.client, request.header("x-forwarded-for"))

    def _source(self, request: Request, topic: str) -> Source | None:
        source = self.sources.find(topic)
        if source:
            source.check_sender(self._client(request), request.certificate)
        return source

    def _check_rate(self, request: Request) -> None:
        if self._publishes:
            self._publishes.use(self._client(request), "publishes", now_s=self.now_s)

    def _count_failure(self, request: Request) -> None:
        """Whoever fails too often is told to wait; what they send with a good token or signature still comes in."""
        self._failures.use(self._client(request), "requests without a good token or signature", now_s=self.now_s)

    def _is_foreign(self, request: Request) -> bool:
        origin = request.header("origin").lower()
        own = f"//{request.header('host').lower()}"
        return bool(origin) and not origin.endswith(own) and origin not in self.origins


def _tokens(request: Request) -> Sequence[str]:
    """All tokens that a request shows: Basic user name, Bearer, a websocket's subprotocol, ``?token=`` of a GET."""
    scheme, _, credentials = request.header("authorization").partition(" ")
    tokens = []
    if scheme.lower() == "bearer":
        tokens.append(credentials.strip())
    elif scheme.lower() == "basic":
        with suppress(ValueError):
            tokens.append(b64decode(credentials.strip(), validate=True).decode("latin-1").partition(":")[0])
    for protocol in offered(request):
        if protocol.startswith(TOKEN_PROTOCOL):
            tokens.append(protocol.removeprefix(TOKEN_PROTOCOL))
    if request.method == "GET" and "token=" in request.query:
        tokens.append(request.parameters.get("token", ""))
    return tokens


def _check_grant(grant: Grant, listening: Listening) -> None:
    name = listening.cursor or listening.group
    if grant.cursor and name != grant.cursor:
        raise Forbidden(f"this token is for the cursor or group {grant.cursor!r}")
    if grant.live_only and (listening.since or name or not listening.follow):
        raise Forbidden("this token shows what is new, and no history")
    if grant.since_us and name and name != grant.cursor:
        raise Forbidden("this token shows a part of the history, and so cannot use any cursor or group")


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
