"""Relays: a client of this hub is served by another one of its family, and notices nothing.

Where many hubs share a log, each cursor and each group is served by one of them. A client that connects to another one
is relayed: that hub asks the first with the client's own request, and passes on messages and close frames both ways.
Pings are answered by whoever receives them. What is relayed is not relayed again, and takes nothing over: it may be
late, and the hub that has relayed it may have done that itself meanwhile.
"""

import logging

import trio
from quart import request, websocket

from ..access import relayed
from ..access.admitted import AdmittedSubscription
from ..access.session import session_fields
from ..client.address import Address
from ..errors import Ended, HeldElsewhere, HookbotError, Lost, Unavailable
from ..protocol.message import Headers
from ..protocol.request import Request
from ..protocol.response import Response
from ..protocol.subscribe import UNSAFE_HEADER, offered_subprotocols
from ..protocol.websocket import TRY_AGAIN_LATER
from .asgi import abort_of, plain_request, send_message
from .held_bytes import Abort, HeldBytes, Holder
from .services import Services
from .upstream import ANSWER_S, CLOSE_S, Upstream, open_upstream

# What decides about a subscription, except the origin of a web page: that was compared with the name of this hub.
_PASSED = ("authorization", UNSAFE_HEADER.lower(), "last-event-id", "accept")

# Of a response to an operator, which is small.
_ANSWERED = ("content-type", "www-authenticate", "retry-after")
MAX_ANSWER_BYTES = 64 << 10

logger = logging.getLogger(__package__)


def is_relayed(plain: Request) -> bool:
    """True if another hub has relayed a request, or somebody says so."""
    return relayed.HEADER in plain.fields


async def relay(services: Services, admitted: AdmittedSubscription, held: HeldElsewhere) -> None:
    """Have the websocket served by the hub that `held` names, until either side closes.

    Before the handshake is answered, raises `TooManyRequests` at a limit of this hub, `Answered` with the refusal of
    the other one, and `Unavailable` if that cannot be reached.
    """
    plain = plain_request(websocket)
    if not held.url or is_relayed(plain):
        raise held
    link = _Link(admitted, services.streams.held, held.what, abort_of(websocket))
    with services.streams.attach(link):
        try:
            async with open_upstream(
                held.url, plain.relative_target, _passed_fields(services, plain), offered_subprotocols(plain)
            ) as upstream:
                await websocket.accept(subprotocol=upstream.subprotocol)
                await link.run(upstream)
        # Only from `open_upstream`.
        except HookbotError as error:
            logger.warning("the %s, which %s serves, cannot be relayed: %s", held.what, held.url, error)
            why = f"the hub that serves the {held.what} cannot be reached; try again later"
            raise Unavailable(why, retry_after_s=held.retry_after_s) from None


async def relay_request(services: Services, held: HeldElsewhere) -> Response:
    """Response of the hub that `held` names to an operator's request, which is passed on to it.

    Raises `Unavailable` if that hub cannot be reached, or does not answer within `ANSWER_S`.
    """
    # It takes httpcore, whose import takes a fifth of a second.
    from ..client.http import fetch, open_client  # noqa: PLC0415

    plain = plain_request(request)
    if not held.url:
        raise held
    address = Address.parse(held.url)
    with trio.move_on_after(ANSWER_S):
        async with open_client(address, direct=True) as client:
            url = f"{address.origin}{plain.relative_target}"
            passed = client.build_request(plain.method, url, headers=_passed_fields(services, plain))
            status, fields, body = await fetch(client, passed, address, max_bytes=MAX_ANSWER_BYTES)
            return Response(body, status, tuple((name, value) for name, value in fields.items() if name in _ANSWERED))
    raise Lost(f"no response from {address} within {ANSWER_S:g} s")


def _passed_fields(services: Services, plain: Request) -> Headers:
    fields = [(name, value) for name in _PASSED if (value := plain.sent(name)) is not None]
    return (*fields, *session_fields(plain), services.access.clients.relayed_field(plain))


class _Link(Holder):
    """Link between a client and the hub that serves it: at most one message is on the way in each direction."""

    def __init__(self, admitted: AdmittedSubscription, held: HeldBytes, what: str, abort: Abort) -> None:
        super().__init__(held, admitted, abort)
        self._what = what
        self._receiving = trio.CancelScope()
        self._ended: Ended | None = None

    def dismiss(self, reason: Ended) -> None:
        """Close the client's websocket for this reason, as soon as it has what is being sent."""
        self._ended = self._ended or reason
        self._receiving.cancel()

    def skip_unwanted(self) -> None:
        """None: the other hub knows the position."""

    async def run(self, upstream: Upstream) -> None:
        """Pass messages both ways until one side closes, or the connection to the other hub breaks.

        As long as the client has not answered the close frame, its acknowledgements are passed on.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(upstream.keep_pinging)
            nursery.start_soon(_pass_up, upstream)
            end = await self._pass_down(upstream)
            await websocket.close(end.code, str(end))
            await trio.sleep(CLOSE_S)
            nursery.cancel_scope.cancel()

    async def _pass_down(self, upstream: Upstream) -> Ended:
        try:
            while not self._ended:
                await self._pass_next(upstream)
        except Ended as closed:
            return closed
        except Unavailable as error:
            logger.warning(
                "a subscriber is closed with 1013: no longer relayed to the hub of its %s: %s", self._what, error
            )
            return Ended(TRY_AGAIN_LATER, f"the hub that serves the {self._what} went away; reconnect")
        return self._ended

    async def _pass_next(self, upstream: Upstream) -> None:
        received: str | bytes = ""
        with trio.CancelScope() as self._receiving:
            received = await upstream.receive()
        if self._receiving.cancelled_caught:
            return
        is_text = isinstance(received, str)
        data = received.encode() if isinstance(received, str) else received
        self._hold([data])
        try:
            if not self._ended:
                self._sending = True
                await send_message(websocket, data, text=is_text)
        finally:
            self.release()


async def _pass_up(upstream: Upstream) -> None:
    while True:
        await upstream.send(await websocket.receive())
