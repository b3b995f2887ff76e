"""Requests on the fast path: publishes and websocket handshakes are answered, others handed over to the app."""

import logging
import socket
from collections.abc import Sequence
from http import HTTPStatus

import trio

from ...access.admitted import AdmittedPublish, AdmittedSubscription
from ...broker.starts import Start
from ...errors import Unavailable, describe
from ...log.deduplication import Outcome
from ...protocol.http1 import MAX_HEAD_BYTES, Head
from ...protocol.message import Draft
from ...protocol.paths import is_for_app
from ...protocol.request import Request
from ...protocol.websocket import accept_handshake, check_handshake, is_handshake
from .. import access_log
from ..limits import HALF_CLOSE_S
from ..publish import publish
from ..replies import Question
from ..tls import TlsSocket
from .context import Context, Exchange
from .http_connection import HttpConnection
from .nonblocking import connection_bytes
from .usual_head import UsualHead

logger = logging.getLogger(__package__)

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class FastPathConnection(HttpConnection):
    """A connection that publishes messages, until it becomes a subscriber or is handed over to the app."""

    __slots__ = ("_authenticated", "_client", "_usual")

    def __init__(self, context: Context, sock: socket.socket, peer: str) -> None:
        super().__init__(context, sock, peer)
        certificate = sock.certificate() if isinstance(sock, TlsSocket) else None
        self._client = (peer, isinstance(sock, TlsSocket), certificate)
        """Address of the client, True if the connection is encrypted, and the client's certificate, for `Head`."""
        self._authenticated = False
        """True once it has shown a good token or signature."""
        self._usual: UsualHead | None = None
        context.services.unauthenticated.add(self, peer, connection_bytes(sock))

    @property
    def deadline(self) -> float:
        """As of any connection; but a client that has closed its side, and is probably gone, is not waited for."""
        if self._ended_by_client and self._verifying:
            return self.moved_at + HALF_CLOSE_S
        return super().deadline

    def received(self, data: bytes) -> None:
        """As of any connection; but first, a publish with a head like an earlier one is recognised."""
        usual = self._usual if data and self._exchange is None and self._reading else None
        try:
            recognised = usual and self._publish_again(usual, data)
        # As in `_step`.
        except Exception as error:  # noqa: BLE001
            self._finish(error)
        else:
            if not recognised:
                super().received(data)

    def gone(self, reason: str) -> None:
        """Release what the connection holds. A body that waits to be verified is dropped."""
        if self._verifying:
            self._verifying.cancel()
        super().gone(reason)

    @property
    def _verifying(self) -> trio.CancelScope | None:
        """Scope of the task that verifies the body of the waiting request, and then stores it."""
        return self._exchange.verifying if self._exchange and self._waiting else None

    def _read_head(self, data: bytes) -> None:
        head = Head(data, *self._client)
        request = head.request
        # Other upgrades and requests from web pages (CORS) need the app.
        publishes = request.method == "POST" and "upgrade" not in request.fields and "origin" not in request.fields
        websocket = not publishes and is_handshake(request) and head.version == "1.1"
        if is_for_app(request.raw_path) or not (websocket or publishes):
            self.hand_over(data)
            return
        self._exchange = Exchange(head)
        access = self._context.services.access
        access.clients.resolve(request)
        if websocket:
            self._subscribe(head, data)
            return
        admitted = access.admit_publish(request)
        self._note_authentication(request)
        self._exchange.admitted = admitted
        self._exchange.body = body = self._context.services.open_body(admitted)
        # One that only had no permit yet is still the usual one.
        is_like = self._usual and self._usual.read(data, access)
        # Of one that is only like another, the access log would not know enough.
        if not is_like and not self._exchange.began_s and UsualHead.suits(data, head, admitted):
            self._usual = UsualHead(data, self._exchange, body, admitted.request, access.clients.proxies)
        # A client that has begun to send its body needs no invitation (RFC 9110, section 10.1.1).
        if head.expects_continue and head.has_body and not self._buffer:
            self.transmit(CONTINUE)
        self._read_body(self._exchange)

    def _publish_again(self, usual: UsualHead, data: bytes) -> bool:
        """Publish a request with a head like an earlier one, once it is whole; False for any other, or a large one.

        Raises what refuses it.
        """
        services, before = self._context.services, len(self._buffer)
        sent = bytes(self._buffer) + data if before else data
        head_size = sent.find(b"\r\n\r\n") + 4
        like = usual.read(sent[:head_size], services.access) if 3 < head_size <= MAX_HEAD_BYTES else None
        if like is None:
            return False
        permit, length, headers = like
        size = head_size + length
        # Many clients send the head first. A body so small makes no progress before its end.
        if len(sent) < size <= self._context.limits.min_body_bytes:
            self.moved_at = trio.current_time() if before < head_size else self.moved_at
            self._buffer += data
            return True
        if len(sent) != size:
            return False
        self._buffer.clear()
        self._exchange, self._waiting = usual.exchange, True
        services.access.count_publish(usual.publish.http)
        usual.body.hold(length)
        services.access.verifier.count_publish(permit.quotas, length)
        draft = Draft(permit.topic, sent[head_size:], headers, permit.query, hops=usual.publish.hops)
        services.broker.submit((draft,), self._stored)
        return True

    def _read_body(self, exchange: Exchange) -> None:
        """Take the received part of the body; publish when it is complete."""
        body = exchange.take(self._buffer)
        if body is not None and exchange.admitted:
            self._publish(exchange, exchange.admitted, body)

    def _publish(self, exchange: Exchange, admitted: AdmittedPublish, body: bytes) -> None:
        # Before it is submitted: the outcome may come at once.
        self._waiting = True
        accepted = self._context.services.access.verifier.verify_now(admitted, body)
        if isinstance(accepted, Draft):
            self._context.services.broker.submit((accepted,), self._stored)
        elif accepted:
            self._finish(accepted)
        else:
            # Verifying may take a thread or fetch a certificate, or the sender wait for a reply: that needs a task.
            exchange.verifying = trio.CancelScope()
            self._context.start_soon(self._publish_later, exchange, exchange.verifying, admitted, body)
        self._note_authentication(admitted.request.http)

    def _stored(self, result: Sequence[Outcome] | Unavailable) -> None:
        self._finish(result if isinstance(result, Unavailable) else result[0])

    async def _publish_later(
        self, exchange: Exchange, scope: trio.CancelScope, admitted: AdmittedPublish, body: bytes
    ) -> None:
        try:
            with scope:
                response = await publish(self._context.services, admitted, body)
                self._note_authentication(admitted.request.http)
                if isinstance(response, Question):
                    del body
                    exchange.close()
                    response = await self._context.services.replies.wait(response)
                self._finish(response)
            if scope.cancelled_caught:
                exchange.close()
        # As in `_step`: a bug ends this connection, not the nursery of all.
        except Exception as error:  # noqa: BLE001
            self._finish(error)

    def _note_authentication(self, request: Request) -> None:
        if request.authenticated and not self._authenticated:
            self._authenticated = True
            self._context.services.unauthenticated.remove(self)

    def _subscribe(self, head: Head, data: bytes) -> None:
        # If it is refused: a proxy that expects a websocket passes on what its client sends, and that is no request.
        head.keep_alive = False
        check_handshake(head)
        services = self._context.services
        admitted = services.access.admit_subscription(head.request, websocket=True)
        self._note_authentication(head.request)
        if admitted.request.needs_app:
            self.hand_over(data)
            return
        upgrade = accept_handshake(head.request, admitted.request.subprotocol)
        if admitted.request.since is None:
            self._become_subscriber(upgrade, admitted, Start(services.broker.head))
        else:
            self._waiting = True
            self._context.start_soon(self._resume, upgrade, admitted)

    async def _resume(self, upgrade: bytes, admitted: AdmittedSubscription) -> None:
        try:
            start = await self._context.services.find_start(admitted)
            # The client may have left while the log was read.
            if self.open:
                self._become_subscriber(upgrade, admitted, start)
        # As in `_step`: a bug ends this connection, not the nursery of all.
        except Exception as error:  # noqa: BLE001
            self._finish(error)

    def _become_subscriber(self, upgrade: bytes, admitted: AdmittedSubscription, start: Start) -> None:
        if self._exchange and self._exchange.began_s:
            status, request = HTTPStatus.SWITCHING_PROTOCOLS, self._exchange.head.request
            access_log.log_request(request, status, 0, self._exchange.began_s)
        sock = self.release()
        self._context.leave(self)
        try:
            self._context.fanout.adopt(sock, admitted, start, upgrade=upgrade, early=bytes(self._buffer))
        # The connection can no longer answer: it has given up its socket.
        except Exception as error:
            why = describe(error)
            logger.error("a websocket could not become a subscriber and is cut: %s", why, exc_info=error)
            sock.close()
