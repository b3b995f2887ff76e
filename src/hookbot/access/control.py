"""The gate: what a request asks for, and whether it may.

The door and the app take requests in; both ask here, so that there is one answer. Nothing here waits or reads.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal
from urllib.parse import parse_qsl

from ..errors import (
    BadSignature,
    BodyTooLarge,
    Forbidden,
    InvalidTopic,
    MethodNotAllowed,
    NotFound,
    Refused,
    Unauthorized,
)
from ..protocol.message import format_time
from ..protocol.paths import METHODS, Route, find
from ..protocol.request import Request
from ..protocol.since import AfterId
from ..protocol.subscribe import UNSAFE_HEADER, UNSAFE_HEADER_VALUE, SubscribeRequest, read_subscribe_request
from ..protocol.topics import RECURSIVE, UNSAFE, TopicFilter, decode_path, is_own, is_unsafe
from ..signatures import Reply
from .active_subscriptions import ActiveSubscriptions
from .admitted import AdmittedPublish
from .authorizer import Action, Authorizer, Grant
from .client_address import TrustedProxies, neighbourhood
from .credentials import tokens_of
from .fetching import Fetches
from .rate_limits import FAILURES, Rate, RateLimiter
from .sources import Source, Sources

MAX_HOPS = 16
MAX_KEY = 255
MESSAGES = "/hookbot/v1/messages/"
FAILED = "requests without a good token or signature"

logger = logging.getLogger("hookbot.gate")


class AccessControl:
    """Decides about requests, by the hub's keys and limits.

    Every refusal is a `Refused`, whose text is the answer. In this order: the path (400, 404, 405), the address
    and the token (403, 401), the query and the headers (400), the declared length (413).
    """

    def __init__(
        self,
        authorizer: Authorizer,
        *,
        clock_us: Callable[[], int],
        sources: Sources | None = None,
        active: ActiveSubscriptions | None = None,
        fetches: Fetches | None = None,
        proxies: TrustedProxies | None = None,
        failures: Rate = FAILURES,
        publishes: Rate | None = None,
        unsafe_prefixes: Sequence[str] = ("",),
        max_body_bytes: int = 25 << 20,
        origins: Sequence[str] = (),
    ) -> None:
        self.authorizer = authorizer
        self.max_body_bytes = max_body_bytes
        self.origins = frozenset(origin.lower() for origin in origins)
        self.sources = sources or Sources()
        self.active = ActiveSubscriptions() if active is None else active  # one without subscriptions is empty
        self.active.is_granted = lambda grant: self.authorizer.stands(grant, now_s=self.now_s)
        self.fetches = fetches or Fetches()
        self._proxies = proxies or TrustedProxies()
        self._failures = RateLimiter(failures)
        self._publishes = RateLimiter(publishes) if publishes else None
        self._clock_us = clock_us
        beneath = [TopicFilter.parse(f"{UNSAFE}{prefix}{RECURSIVE}") for prefix in unsafe_prefixes]
        self._unsafe = TopicFilter(tuple(pattern for wanted in beneath for pattern in wanted.patterns))

    def adopt(self, other: "AccessControl") -> None:
        """Decide as `other` does from now on, but for the size of bodies; the subscriptions that stand are kept."""
        self.authorizer, self.sources, self.origins = other.authorizer, other.sources, other.origins
        self._proxies, self._unsafe = other._proxies, other._unsafe
        self._failures, self._publishes = other._failures, other._publishes
        self.active.max_subscribers = other.active.max_subscribers
        self.active.max_per_token = other.active.max_per_token
        self.active.review()

    @property
    def now_s(self) -> float:
        """Seconds since 1970."""
        return self._clock_us() / 1e6

    def publishing(self, request: Request) -> AdmittedPublish:
        """Let a publish in, before its body is read."""
        place = self.place(request, "publish")
        if is_own(place.topic):
            raise InvalidTopic(f"topics beneath hookbot/ are the hub's own: {place.topic!r}")
        source = self._source(request, place.topic)
        safe = not is_unsafe(place.topic)
        grant = self.authorize(request, place.path, "publish") if safe else Grant()
        self._count_publish(request)
        _check_metadata(request.query)
        return AdmittedPublish(
            request,
            place.topic,
            self._neighbourhood(request) if source else "",
            self._check_length(request, source),
            _hops(request) if safe else (),
            _idempotency_key(request),
            source,
            self.authorizer,
            grant.expires_s,
        )

    def admits_again(self, publishing: AdmittedPublish) -> bool:
        """Whether the same head, on the same connection, is still let in as it was; then it is counted."""
        if publishing.authorizer is not self.authorizer or publishing.expires_s <= self.now_s:
            return False
        self._count_publish(publishing.request)
        return True

    def handshake(self, request: Request) -> Reply | None:
        """The answer to a sender who asks by GET who is there; None if the request is nothing of the kind."""
        try:
            place = find("POST", request.raw_path)
        except MethodNotAllowed:  # a subscription
            return None
        source = self.sources.find(place.topic)
        if source is None:
            return None
        publishing = AdmittedPublish(request, place.topic, self._neighbourhood(request), source=source)
        try:
            reply = source.handshake(source.signed(request, b""), now_s=self.now_s)
        except BadSignature as error:
            self.distrust(publishing, error)
            raise
        if reply is not None:
            self._check_existence(place)
            self._source(request, place.topic)
            if not is_unsafe(place.topic):
                self.authorize(request, place.path, "publish")
        return reply

    def distrust(self, publishing: AdmittedPublish, error: BadSignature) -> None:
        """A sender could not prove who it is. Raises `TooManyRequests` for whom that happens too often."""
        self._failures.use(publishing.client, FAILED, now_s=self.now_s)
        if source := publishing.source:
            delivery = source.provider.delivery_of(source.signed(publishing.request, b""))
            named = f" (delivery {delivery[:80]!r})" if delivery else ""
            logger.warning("not from %s, refused on %s%s: %s", source.provider.name, publishing.topic, named, error)

    def count_genuine(self, publishing: AdmittedPublish) -> None:
        """A sender has proved who it is. Raises `TooManyRequests` if it publishes too often."""
        source = publishing.source
        if source and source.publishes:
            source.publishes.use(source.topic, "publishes", now_s=self.now_s)

    def listening(self, request: Request, *, websocket: bool) -> SubscribeRequest:
        """Let a subscription in, with everything its query and headers ask for."""
        place = self.place(request, "subscribe")
        if is_unsafe(place.topic) and request.header(UNSAFE_HEADER.lower()) != UNSAFE_HEADER_VALUE:
            raise Refused("400 Bad Request. X-Hookbot-Unsafe-Is-Ok header required.")
        grant = self.authorize(request, place.path, "subscribe")
        listening = read_subscribe_request(request, place, websocket=websocket, now_us=self._clock_us())
        listening = _within(grant, listening, now_us=self._clock_us())
        self.active.check(grant)
        return listening

    def operating(self, request: Request) -> None:
        """Let an operator in, to one of the hub's own paths."""
        path = decode_path(request.raw_path)
        grant = self.authorize(request, path, "operate")
        if grant.live_only and path.startswith(MESSAGES):
            raise Forbidden("this token shows what is new, and no history")

    def place(self, request: Request, action: Literal["publish", "subscribe"]) -> Route:
        """What the path means for this method; raises `InvalidTopic`, `NotFound` or `MethodNotAllowed`."""
        place = find(request.method, request.raw_path)
        self._check_existence(place)
        if place.action != action:
            raise MethodNotAllowed(f"{request.method} is not for {place.path!r}", allow=METHODS[place.action])
        return place

    def authorize(self, request: Request, path: str, action: Action) -> Grant:
        """What the request's token grants; raises `Unauthorized`, or `Forbidden` if a foreign page borrowed it."""
        now_s = self.now_s
        for token in tokens_of(request):
            if grant := self.authorizer.grant(token, path, action, now_s=now_s):
                break
        else:
            self._failures.use(self._neighbourhood(request), FAILED, now_s=now_s)
            raise Unauthorized
        if (
            request.sent("origin")
            and request.header("authorization").lower().startswith("basic ")
            and self._is_foreign(request)
        ):
            raise Forbidden(f"pages of {request.header('origin')[:80]!r} may not use this hub with saved credentials")
        return grant

    def _check_existence(self, place: Route) -> None:
        if is_unsafe(place.topic) and not self._may_exist(place):
            raise NotFound(f"this hub has no such unsafe topic: {place.topic!r}")

    def _may_exist(self, unsafe: Route) -> bool:
        """Whether the hub has this unsafe topic, or some of those that a subscription asks for."""
        if unsafe.action == "publish":
            return self._unsafe.matches(unsafe.topic)
        asked = TopicFilter.parse(unsafe.topic)
        return any(map(self._unsafe.matches, asked.patterns)) or any(map(asked.matches, self._unsafe.patterns))

    def _count_publish(self, request: Request) -> None:
        if self._publishes:
            self._publishes.use(self._neighbourhood(request), "publishes", now_s=self.now_s)

    def _client(self, request: Request) -> str:
        return self._proxies.client(request.client, request.header("x-forwarded-for"))

    def _neighbourhood(self, request: Request) -> str:
        """Whom to count a request for."""
        return neighbourhood(self._client(request))

    def _source(self, request: Request, topic: str) -> Source | None:
        """The source of a topic; raises `Forbidden` for who is none of its senders."""
        source = self.sources.find(topic)
        if source:
            source.check_sender(self._client(request), request.certificate)
        return source

    def _check_length(self, request: Request, source: Source | None) -> int:
        """How long a body may be; raises `BodyTooLarge` by the declared length, so that nothing has to be read."""
        at_most = self.max_body_bytes
        if source and source.max_body_bytes:
            at_most = min(at_most, source.max_body_bytes)
        declared = request.header("content-length")
        if declared.isdecimal() and int(declared[:18]) > at_most:
            raise BodyTooLarge(f"a body has at most {at_most} bytes")
        return at_most

    def _is_foreign(self, request: Request) -> bool:
        origin = request.header("origin").lower()
        own = f"//{request.header('host').lower()}"
        return bool(origin) and not origin.endswith(own) and origin not in self.origins


def _within(grant: Grant, listening: SubscribeRequest, *, now_us: int) -> SubscribeRequest:
    """The subscription as the grant allows it; raises `Forbidden` for more than that."""
    name = listening.cursor or listening.group
    if grant.cursor and name != grant.cursor:
        raise Forbidden(f"this token is for the cursor or group {grant.cursor!r}")
    if grant.since_us > now_us:
        raise Forbidden(f"this token shows nothing before {format_time(grant.since_us)}")
    if name and (grant.since_us or grant.live_only):
        raise Forbidden("this token does not show all of the history, and so cannot use a cursor or group")
    if grant.live_only and isinstance(listening.since, AfterId):  # who comes back goes on with what is new
        listening = replace(listening, since=None)
    if grant.live_only and (listening.since or not listening.follow):
        raise Forbidden("this token shows what is new, and no history")
    return replace(listening, grant=grant)


def _check_metadata(query: str) -> None:
    for name, value in parse_qsl(query, keep_blank_values=True) if query else ():
        if name == "extra-metadata" and value != "github":
            raise Refused(f"400 Bad Request (bad ?extra-metadata=): it can be 'github', not {value[:40]!r}")


def _idempotency_key(request: Request) -> str:
    key = request.header("idempotency-key")
    if len(key) > MAX_KEY:
        raise Refused(f"an Idempotency-Key has at most {MAX_KEY} characters, not {len(key)}")
    return key


def _hops(request: Request) -> tuple[str, ...]:
    sent = request.sent("hookbot-hops")
    hops = tuple(hop.strip() for hop in sent.split(",") if hop.strip()) if sent else ()
    if len(hops) > MAX_HOPS:
        raise Refused(f"a message goes through at most {MAX_HOPS} routers, this one came through {len(hops)}")
    return hops
