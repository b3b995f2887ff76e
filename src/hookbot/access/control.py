"""Access control: decides whether a client may publish or subscribe.

The fast path and the app share it, so that both decide alike. Nothing here waits, and nothing is parsed here:
`hookbot.protocol` reads requests, `TokenChecks` checks their tokens, and `Verifier` verifies their signatures.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from typing import Literal

from ..errors import BodyTooLarge, InvalidTopic, MethodNotAllowed, NotFound, Refused
from ..log.trusted_clock import TrustedClock
from ..protocol.paths import METHODS, Route, find_route
from ..protocol.publish import DEFAULT_MAX_BODY_BYTES, PublishRequest
from ..protocol.replies import asks_reply
from ..protocol.request import Request
from ..protocol.response import Response
from ..protocol.subscribe import UNSAFE_HEADER, UNSAFE_HEADER_VALUE, SubscribeRequest
from ..protocol.topics import TopicFilter, check_owner, decode_path, is_unsafe, unsafe_filter
from ..signatures import SignedRequest
from ..signatures.permission import permission
from .active_subscriptions import ActiveSubscriptions
from .admitted import AdmittedPublish, AdmittedSubscription, without_token
from .authorizer import Action, Authorizer
from .client_address import TrustedProxies, client_network
from .clients import Clients
from .fetching import Fetches
from .near_misses import NearMisses
from .permits import Key, Permit, Permits, key_of
from .quotas import Quotas, check_publish
from .rate_limits import FAILURES, Rate, RateLimiter
from .refusals import Refusals
from .reply_rules import NO_REPLIES, ReplyRules
from .senders import Standing
from .sources import Sources
from .token_checks import TokenChecks
from .verifier import Verifier

logger = logging.getLogger(__package__)


class AccessControl:
    """Decisions about requests, by the hub's keys, sources and limits.

    Every refusal is a `Refused`, whose text becomes the response. A publish is checked in this order: path (400, 404,
    405), address and certificate (403), token (401, 403, or 429 after too many failures), the signature as far as it is
    in the head (401 or 429), rate (429), query and headers (400), declared length (413), quotas (429). A subscription:
    path, header for unsafe topics (400), token, query and headers (400, 426), restrictions of the token (403), numbers
    of subscriptions (429).
    """

    def __init__(
        self,
        authorizer: Authorizer,
        *,
        clock_us: Callable[[], int],
        sources: Sources | None = None,
        fetches: Fetches | None = None,
        proxies: TrustedProxies | None = None,
        failures: Rate = FAILURES,
        publishes: Rate | None = None,
        max_subscribers: int | None = None,
        max_subscribers_per_token: int | None = None,
        quotas: Quotas | None = None,
        unsafe_prefixes: Sequence[str] = ("",),
        max_body_bytes: int = DEFAULT_MAX_BODY_BYTES,
        origins: Sequence[str] = (),
        public_url: str = "",
        replies: ReplyRules = NO_REPLIES,
    ) -> None:
        self.max_body_bytes = max_body_bytes
        self._clock = TrustedClock.of(clock_us)
        self.public_url = public_url
        """URL of the hub as senders and browsers see it, without a slash at the end; empty if that is not known."""
        self.replies = replies
        self.sources = sources or Sources()
        self.near_misses = NearMisses(self.sources.topics)
        self.refusals = Refusals(lambda topic: self.sources.find(topic), self._clock)  # noqa: PLW0108 - others later
        """Requests refused lately, here and wherever else requests are answered."""
        self._permits = Permits[Permit](self.sources.targets)
        self._subscriptions = Permits[AdmittedSubscription]()
        limits = {"max_subscribers": max_subscribers, "max_per_token": max_subscribers_per_token}
        self.active = ActiveSubscriptions(authorizer, clock_us=clock_us, quotas=quotas, **limits)
        self.quotas = self.active.quotas
        limiter = RateLimiter(failures, "requests without a valid token or signature")
        self.tokens = TokenChecks(authorizer, self._clock, limiter, frozenset(origin.lower() for origin in origins))
        self.verifier = Verifier(self._clock, limiter, fetches or Fetches())
        self._publishes = RateLimiter(publishes, "publishes") if publishes else None
        self.clients = Clients(proxies or TrustedProxies(), self.tokens, self._clock)
        self.unsafe = unsafe_filter(unsafe_prefixes)
        """Unsafe topics that there are."""

    def adopt(self, other: "AccessControl") -> None:
        """Take over the rules of `other`, except for the size of bodies.

        Active subscriptions are kept until the next sweep checks them, verified networks for their hour. Rate limits
        start to count anew, but for quotas that are as before.
        """
        self.sources, self.public_url = other.sources.after(self.sources), other.public_url
        self.unsafe, self.replies = other.unsafe, other.replies
        self._publishes, self.verifier.failures = other._publishes, other.verifier.failures
        self.tokens.adopt(other.tokens)
        self.clients.adopt(other.clients)
        self.active.adopt(other.active)
        self.near_misses.adopt(other.near_misses)
        self._permits = Permits[Permit](self.sources.targets)
        self._subscriptions = Permits[AdmittedSubscription]()

    @property
    def now_s(self) -> float:
        """Current time, in seconds since 1970: by the hub's clock, which does not follow a jump of the machine's."""
        return self._clock() / 1e6

    def admit_publish(self, request: Request) -> AdmittedPublish:
        """Admit a publish before its body is read. Raises `Refused`."""
        return self._admit(request, self._recall(request) or self._permit(request))

    def admit_sample(self, request: Request) -> AdmittedPublish:
        """Admit a delivery that the hub itself has signed: without a token, from anywhere. Raises `Refused`."""
        route = self._route(request, "publish")
        check_owner(route.topic)
        source, has_token = self.sources.find(route.topic), not is_unsafe(route.topic)
        query = without_token(request.query)
        return self._admit(request, Permit(route.topic, source, self.max_body_bytes, query, inf, has_token))

    def _admit(self, request: Request, permit: Permit) -> AdmittedPublish:
        signed = self.verifier.check_head(request, permit.source) if permit.source else None
        # Counted after the token is checked, so that requests without one do not use up a sender's rate.
        self.count_publish(request)
        publish = PublishRequest.read(request, permit.topic)
        if permit.asks_reply:
            self.replies.check(request, permit.topic)
        # Refused by its Content-Length, before a byte of the body is read; what is read is counted by `BodyBudget`.
        if publish.declared_bytes > permit.max_body_bytes:
            raise BodyTooLarge.than(permit.max_body_bytes)
        # Counted once the body is there, and genuine: until then, anybody could use up the quota of a source.
        if permit.quotas:
            check_publish(permit.quotas, publish.declared_bytes, now_s=self._clock.monotonic_s)
        source, has_token = permit.source, permit.has_token
        rest = permit.query, signed, permit.quotas, permit.asks_reply
        return AdmittedPublish(publish, permit.max_body_bytes, source, has_token, *rest)

    def find_permit(self, key: Key, client: str, length: int) -> Permit | None:
        """Permit of a publish with this key and body length; None if it has to be admitted, as each to a source has."""
        permit = self._find_permit(key, client)
        return None if permit is None or permit.source or length > permit.max_body_bytes else permit

    def _find_permit(self, key: Key, client: str) -> Permit | None:
        permit = self._permits.find(key)
        if permit is None or self._is_over(permit.expires_s):
            return None
        if not permit.noted:
            self._note_topic(permit.topic, client)
            permit.noted = permit.topic in self.near_misses
        return permit

    def count_publish(self, request: Request) -> None:
        """Count an admitted publish. Raises `TooManyRequests` beyond the rate of its client."""
        if self._publishes:
            self._publishes.use(client_network(request.client), now_s=self._clock.monotonic_s)

    def _recall(self, request: Request) -> Permit | None:
        """The permit of an earlier request with the same target and token, if it would be given again."""
        permit = None if request.sent("origin") else self._find_permit(key_of(request), request.client)
        if permit is None:
            return None
        if permit.source:
            permit.source.check_sender(request.client, request.certificate)
        request.authenticated = permit.has_token
        return permit

    def _is_over(self, expires_s: float) -> bool:
        # Most tokens never expire, and asking for the time would cost more than all the rest.
        return expires_s < inf and expires_s <= self.now_s

    def _permit(self, request: Request) -> Permit:
        """The permit of a request, by its path, its sender and its token. Raises `Refused`."""
        route = self._route(request, "publish")
        check_owner(route.topic)
        source, unsafe = self.sources.find(route.topic), is_unsafe(route.topic)
        if source:
            source.check_sender(request.client, request.certificate)
        expires_s = inf if unsafe else self.tokens.authorize(request, route.path, "publish").expires_s
        quotas = self.quotas.of(route.topic)
        limits = [source.max_body_bytes if source else None, *(quota.max_body_bytes for quota in quotas)]
        max_body_bytes = 0 if request.method == "GET" else min(filter(None, [self.max_body_bytes, *limits]))
        query = without_token(request.query)
        asks = asks_reply(request.query)
        permit = Permit(route.topic, source, max_body_bytes, query, expires_s, not unsafe, quotas, asks)
        self._permits.add(request, permit)
        return permit

    def respond_to_challenge(self, request: Request) -> Response | None:
        """Response to a sender that verifies the endpoint by GET, HEAD or OPTIONS; None for any other such request.

        Raises `Refused` if path, address, token or challenge is not accepted.
        """
        try:
            route = find_route("POST", request.raw_path)
        # What could not be published to is checked once more as the subscription that it may be.
        except (MethodNotAllowed, InvalidTopic):
            return None
        source = self.sources.find(route.topic)
        # Nobody vouches for the senders of an unsafe topic without a source.
        if source is None and is_unsafe(route.topic):
            return None
        response = self.verifier.handshake(request, source) if source else None
        # The token, which is checked below, vouches for the sender.
        if response is None and not is_unsafe(route.topic):
            response = permission(SignedRequest(b"", request.headers, request.method))
        # Checked only now, because a request that is not a challenge gets the response of any other.
        if response is not None:
            self._check_existence(route)
            check_owner(route.topic)
            if source:
                source.check_sender(request.client, request.certificate)
            if not is_unsafe(route.topic):
                self.tokens.authorize(request, route.path, "publish")
        return response

    def admit_subscription(self, request: Request, *, websocket: bool) -> AdmittedSubscription:
        """Admit a subscription, restricted to what its token grants. Raises `Refused`."""
        admitted = self._recall_subscription(request, websocket) or self._admit_subscription(request, websocket)
        self.active.check(admitted.grant, admitted.request.wanted)
        return admitted.of(request.client)

    def _recall_subscription(self, request: Request, websocket: bool) -> AdmittedSubscription | None:
        """Decision about an earlier websocket with the same target and token, if it would be the same again."""
        if not websocket or request.sent("last-event-id") is not None or request.sent("origin") is not None:
            return None
        admitted = self._subscriptions.find(key_of(request))
        if admitted is None or self._is_over(admitted.grant.expires_s):
            return None
        request.authenticated = True
        return admitted

    def _admit_subscription(self, request: Request, websocket: bool) -> AdmittedSubscription:
        route = self._route(request, "subscribe")
        if is_unsafe(route.topic) and request.header(UNSAFE_HEADER.lower()) != UNSAFE_HEADER_VALUE:
            raise Refused("400 Bad Request. X-Hookbot-Unsafe-Is-Ok header required.")
        grant = self.tokens.authorize(request, route.path, "subscribe")
        now_us = self._clock()
        subscribe = SubscribeRequest.read(request, route, websocket=websocket, now_us=now_us)
        admitted = AdmittedSubscription.admit(subscribe, grant, now_us=now_us)
        # Without what may differ next time: a start that counts back from now, or the header for unsafe topics.
        if websocket and not (is_unsafe(route.topic) or subscribe.since):
            self._subscriptions.add(request, admitted)
        return admitted

    def standing(self, request: Request) -> Standing:
        """Standing of the sender of a request that is not admitted yet, to serve the known first. Counts nothing."""
        publishes = request.method == "POST" or self.replies.is_asked_by_get(request)
        action: Action = "publish" if publishes else "subscribe"
        with suppress(Refused):
            if self.tokens.find_grant(request, decode_path(request.raw_path), action):
                return Standing.TOKEN
        client = self.clients.proxies.client(request.client, request.header("x-forwarded-for"))
        return self.verifier.standing(client_network(client))

    def _route(self, request: Request, action: Literal["publish", "subscribe"]) -> Route:
        """Route of the request. Raises `InvalidTopic`, `NotFound`, or `MethodNotAllowed` for another action."""
        by_get = action == "publish" and self.replies.is_asked_by_get(request)
        route = find_route("POST" if by_get else request.method, request.raw_path)
        if route.action == "publish":
            self._note_topic(route.topic, request.client)
        self._check_existence(route)
        if route.action != action:
            raise MethodNotAllowed(f"{request.method} is not allowed for {route.path!r}", allow=METHODS[route.action])
        return route

    def _check_existence(self, route: Route) -> None:
        """Raise `NotFound` if the hub has no such unsafe topic, or none of those that a subscription selects."""
        if is_unsafe(route.topic):
            publishes, topic = route.action == "publish", route.topic
            if not (self.unsafe.matches(topic) if publishes else self.unsafe.overlaps(TopicFilter.parse(topic))):
                raise NotFound(f"this hub has no such unsafe topic: {topic!r}")

    def _note_topic(self, topic: str, client: str) -> None:
        if topic not in self.near_misses:
            self.near_misses.note(topic, client, now_s=self._clock.monotonic_s)
