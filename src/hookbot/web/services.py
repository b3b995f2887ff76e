"""Services: the parts of a running hub that answer requests, shared by the app and the fast path."""

from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from ..access.admitted import AdmittedPublish, AdmittedSubscription
from ..access.client_address import client_network
from ..access.control import AccessControl
from ..access.senders import Standing
from ..alerts.watching import Alerts
from ..broker.broker import Broker
from ..broker.consumers import Consumers
from ..broker.starts import Start
from ..errors import HookbotError, Unavailable
from ..log.contract import Log
from ..log.trusted_clock import TrustedClock
from ..protocol.request import Request
from ..protocol.response import Response, error_response
from .bodies import BodyBudget, IncomingBody
from .metrics import Metrics, RouterStates
from .replies import Replies
from .streams import Streams
from .unauthenticated import UnauthenticatedConnections

# ``/readyz`` needs no token, and each probe is a write that is synced to disk.
CHECK_INTERVAL_S = 1.0


class Readiness:
    """The check behind ``/readyz``: the log can be written to, all routers run, and the clock has not jumped."""

    def __init__(self, log: Log, problem_of_routers: Callable[[], str], clock: TrustedClock) -> None:
        self._log = log
        self._problem_of_routers = problem_of_routers
        self._clock = clock
        self._lock = trio.Lock()
        self._checked_until = -CHECK_INTERVAL_S
        self._problem = ""

    async def check(self) -> None:
        """Raise `Unavailable` unless the hub is ready. The log is probed, by a real write, at most once a second."""
        # Concurrent checks wait for one probe.
        async with self._lock:
            await self._probe()
        if self._problem:
            raise Unavailable(self._problem)
        if problem := self._problem_of_routers():
            raise Unavailable(problem)
        if jump_s := self._clock.jump_s:
            raise Unavailable(f"the clock of this machine jumped by {jump_s:+.0f} seconds: check its time service")

    async def _probe(self) -> None:
        if trio.current_time() < self._checked_until:
            return
        self._problem = ""
        try:
            await self._log.probe()
        except Unavailable as error:
            self._problem = str(error)
        self._checked_until = trio.current_time() + CHECK_INTERVAL_S


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of a running hub that the app and the fast path share."""

    broker: Broker
    access: AccessControl
    bodies: BodyBudget
    unauthenticated: UnauthenticatedConnections
    consumers: Consumers
    streams: Streams
    readiness: Readiness
    metrics: Metrics
    alerts: Alerts
    routers: RouterStates
    replies: Replies
    console: bool = True
    """True if the hub has a console."""
    connections: dict[str, Callable[[], int]] = field(default_factory=dict)
    """Functions that count the open connections, by who serves them."""

    def refuse(self, error: HookbotError, request: Request, status: int | None = None) -> Response:
        """The response to a request that is refused or failed, which is noted. `status` overrides that of the error."""
        self.broker.counts.count_refusal(error)
        self.access.refusals.note(request, str(error), status or error.status)
        return error_response(error, request, status)

    def open_body(self, admitted: AdmittedPublish) -> IncomingBody:
        """The body of an admitted publish, which is now received. Use it as a context manager, or close it."""
        network = client_network(admitted.request.http.client)
        standing = Standing.TOKEN if admitted.has_token else self.access.verifier.standing(network)
        return self.bodies.open(admitted.max_body_bytes, standing, network)

    async def find_start(self, admitted: AdmittedSubscription) -> Start:
        """The start of a subscription in the log. Raises `Unavailable` if the log cannot be read.

        Raises `TooManyRequests` if a limit is reached, and `Unauthorized` if the grant is no longer valid.
        """
        request, grant = admitted.request, admitted.grant
        start = await self.broker.starts.at(request.since, request.wanted, not_before_us=grant.since_us)
        # Checked again: while the log was read, others may have subscribed, and the token may have been revoked.
        self.access.active.check(grant, request.wanted)
        return start
