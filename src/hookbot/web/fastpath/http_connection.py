"""HTTP/1.1 connections in the epoll loop: requests one at a time, each answered before the next is read."""

import logging
import socket
from abc import abstractmethod
from math import inf
from time import perf_counter

import trio

from ...errors import HookbotError, RequestTimeout, describe
from ...protocol.http1 import BadRequest, encode_response, encode_stored, head_end, skip_empty_lines
from ...protocol.message import Duplicate, Message
from ...protocol.request import Request
from ...protocol.response import Response
from .. import access_log
from .context import Context, Exchange
from .epoll import READ, TURN_S, WRITE
from .nonblocking import NonblockingSocket, connection_bytes

# Bytes of pipelined requests that wait for the one before; above this the socket is not read, so that TCP stops them.
MAX_BUFFERED = 16 << 10

CR = 0x0D

# Methods that may be a publish or a handshake. Anything else, HTTP/2 included, is for the app.
OURS = (b"POST ", b"GET ")

logger = logging.getLogger(__package__)


class HttpConnection(NonblockingSocket):
    """A connection that reads requests and writes responses; its subclass `FastPathConnection` acts on the requests.

    It is in one of four states: reading, waiting for the outcome of a request (`_waiting`), sending a response that
    the client is slow to read (`stalled`), or draining after its last response (`_drained`). Nothing here blocks, and
    any failure ends this connection only: its bytes come from untrusted clients.
    """

    __slots__ = (
        *("_advancing", "_buffer", "_context", "_counted_bytes", "_drained", "_empty_bytes", "_ended_by_client"),
        *("_exchange", "_last", "_peer", "_waiting"),
    )

    def __init__(self, context: Context, sock: socket.socket, peer: str) -> None:
        super().__init__(sock, context.epoll)
        self._context = context
        self._peer = peer
        self._buffer = bytearray()
        self._advancing = False
        """True while the buffer is processed; an outcome that comes at once leaves the rest of it to that."""
        self._exchange: Exchange | None = None
        self._waiting = False
        """True while a request waits for its outcome, mostly from the log."""
        self._last = False
        """True if the response that is being sent is the last."""
        self._drained: int | None = None
        """Number of bytes discarded since the last response was sent; None before."""
        self._ended_by_client = False
        self._empty_bytes = self._counted_bytes = connection_bytes(sock)
        context.connections.add(self)

    @abstractmethod
    def _read_head(self, data: bytes) -> None:
        """Begin a request, given its whole head. Raises `HookbotError` to refuse it."""

    @abstractmethod
    def _read_body(self, exchange: Exchange) -> None:
        """Take the received part of the body out of the buffer. Raises `HookbotError` to refuse the request."""

    @property
    def idle(self) -> bool:
        """True while no request is under way."""
        return self._reading and not (self._buffer or self._exchange)

    @property
    def busy(self) -> bool:
        """True while the hub works for it, and expects nothing of the client."""
        return self._waiting

    @property
    def progressed_at(self) -> float:
        """Time at which it was accepted, its last request made progress, or the last response was sent."""
        body = self._exchange and self._exchange.receiving
        return body.moved_at if body else self.moved_at

    @property
    def deadline(self) -> float:
        """Time by which the client has to send or read something, on Trio's clock; infinite while the hub works."""
        limits = self._context.limits
        if self._waiting:
            return inf
        if self._drained is not None:
            return self.moved_at + limits.linger_s
        if self._exchange and (body := self._exchange.receiving):
            return body.deadline
        return self.moved_at + (limits.keep_alive_s if self.idle else limits.slow_s)

    def time_out(self) -> None:
        """Answer 408 to an unfinished request; close a connection that is idle, stalled or draining."""
        # Not writable for so long, it reads none of its responses.
        if self.idle or not self._reading or self._events == WRITE:
            self.end("timed out")
            return
        # The head of one that waits in the buffer until it is whole says how it is to be answered.
        self._advance()
        if self._reading:
            body = self._exchange and self._exchange.receiving
            self._refuse(body.time_out() if body else RequestTimeout("the request did not arrive in time"), last=True)
            self._advance()

    def leave(self) -> None:
        """Close an idle connection, unless a request has come that was not read yet."""
        self.ready(READ)
        if self.open and self.idle:
            self.end("the hub is shutting down")

    def received(self, data: bytes) -> None:
        """Take bytes from the client, and advance as far as they allow."""
        if not data:
            # A half-close: the client (``nc -N``, for example) may still read the response.
            self._ended_by_client = True
            self.moved_at = trio.current_time()
        elif self._drained is None:
            begins = not (self._exchange or self._buffer)
            self._buffer += data
            self._advance()
            # Not with each part: a head has to come whole, and a body has a deadline of its own.
            if begins and self._buffer:
                self.moved_at = trio.current_time()
            return
        else:
            self._drained += len(data)
            if self._drained > self._context.limits.max_drained_bytes:
                self.end("kept sending after the last response")
        self._advance()

    def taken(self) -> None:
        """Continue after a stalled client has read its response, or after the others had their turn."""
        self._sent()
        self._advance()

    def gone(self, reason: str) -> None:
        """Release what the connection holds, after its socket was closed."""
        logger.debug("a connection ended: %s", reason, extra={"client": self._peer})
        # The body of a request that waits for its outcome is still in use; `_finish` closes it.
        if self._exchange and not self._waiting:
            self._exchange.close()
        self._context.leave(self)

    def hand_over(self, head: bytes) -> None:
        """Give the connection to the app, as soon as there is one, with the head and what was received behind it."""
        if not self._context.app_made.is_set():
            self._waiting = True
            self._context.start_soon(self._hand_over_later, head)
            return
        sock = self.release()
        self._context.leave(self)
        self._context.hand_over(sock, head + self._buffer)

    @property
    def _reading(self) -> bool:
        """True if the next bytes can be parsed now."""
        return self.open and not self._waiting and self._unsent is None and self._drained is None

    def _advance(self) -> None:
        """Process the buffer for at most `TURN_S`, then watch for the events that can continue it."""
        self._advancing = True
        more = self._reading and self._step()
        if more:
            turn_ends = perf_counter() + TURN_S
            while more and perf_counter() < turn_ends:
                more = self._reading and self._step()
        self._advancing = False
        # Rarely: of an ordinary request, nothing is left in the buffer.
        if self._counted_bytes != self._empty_bytes + len(self._buffer):
            self._counted_bytes = self._empty_bytes + len(self._buffer)
            self._context.services.unauthenticated.resize(self, self._counted_bytes)
        if self._ended_by_client and not more and self._reading and not self.idle:
            self._refuse(BadRequest("the request ends before it is complete"), last=True)
        if self._ended_by_client and not (more or self._waiting or self.stalled):
            self.end("closed by the client")
        if not self.open:
            return
        # Reading stops where nothing would be parsed, so that a client cannot fill the buffer; at the end of a
        # half-closed connection also because epoll would report it as readable forever.
        # With more to process, the socket waits among the others until it is writable, which is mostly at once.
        if self.stalled or more:
            self.watch(WRITE)
        elif self._ended_by_client or (self._waiting and len(self._buffer) > MAX_BUFFERED):
            self.watch(0)
        else:
            self.watch(READ)

    def _step(self) -> bool:
        """Process one head or part of a body; True if the buffer may hold more to do."""
        try:
            if self._exchange is None:
                return self._find_head()
            before = len(self._buffer)
            self._read_body(self._exchange)
            # A body of tiny chunks is taken in several steps.
            return 0 < len(self._buffer) < before
        # Not only `HookbotError`: an untrusted client may find a bug, and must not end the hub with it.
        except Exception as error:  # noqa: BLE001
            self._fail(error)
            return True

    def _find_head(self) -> bool:
        buffer = self._buffer
        if not buffer:
            return False
        if buffer[0] == CR:
            skip_empty_lines(buffer)
        # Decided by the first bytes that cannot become one of ours, so that no other protocol waits for a blank line.
        if not buffer.startswith(OURS) and not any(start.startswith(buffer) for start in (*OURS, b"\r\n")):
            self.hand_over(b"")
            return False
        end = head_end(buffer)
        if not end:
            return False
        data = bytes(buffer[:end])
        del buffer[:end]
        self._read_head(data)
        # An ordinary request came alone, and its body with it.
        return bool(self._buffer)

    async def _hand_over_later(self, head: bytes) -> None:
        await self._context.app_made.wait()
        # The client may have left meanwhile.
        if self.open:
            self.hand_over(head)

    def _finish(self, outcome: Message | Duplicate | Response | Exception) -> None:
        """Answer the waiting request with its outcome, then read the requests after it."""
        if not self.open:
            if self._exchange:
                self._exchange.close()
            return
        if isinstance(outcome, Exception):
            self._fail(outcome)
        else:
            self._respond(outcome, last=False)
        # Mostly there is nothing to advance to.
        if not self._advancing and (self._buffer or self._unsent is not None or self._ended_by_client):
            self._advance()

    def _fail(self, error: Exception) -> None:
        """Answer a request that failed; log the failure if it is a bug."""
        if isinstance(error, HookbotError):
            self._refuse(error, last=isinstance(error, BadRequest))
        else:
            why = describe(error)
            logger.error("a request failed with a bug in the hub and was answered with 500: %s", why, exc_info=error)
            self._refuse(HookbotError("the hub failed"), last=True)

    def _refuse(self, error: HookbotError, *, last: bool) -> None:
        """Answer an error without waiting for the rest of the body; the connection is kept if there is none."""
        exchange = self._exchange
        request = exchange.head.request if exchange else Request("", b"", (), self._peer)
        whole = exchange is not None and exchange.skip(self._buffer)
        response = self._context.services.refuse(error, request)
        if exchange is None:
            access_log.log_response(request, response, None)
        self._respond(response, last=last or not whole)

    def _respond(self, response: Message | Duplicate | Response, *, last: bool) -> None:
        """Send a response; after the `last` one, drain and close."""
        exchange, self._exchange = self._exchange, None
        self._waiting = False
        version, json = "1.1", False
        if exchange:
            exchange.close()
            head = exchange.head
            version, json, last = head.version, head.request.accepts_json, last or not head.keep_alive
            if exchange.began_s:
                exchange.log(response)
        self._last = last = last or self._context.closing or (self._ended_by_client and not self._buffer)
        if isinstance(response, Response):
            self._context.services.broker.counts.count_response(response.status)
            self.transmit(encode_response(response, version=version, close=last))
        else:
            self.transmit(encode_stored(response, json=json, version=version, close=last))
        if self.open and self._unsent is None:
            self._sent()

    def _sent(self) -> None:
        self.moved_at = trio.current_time()
        # Closing both sides would reset the connection of a client that is still sending, and it might lose the
        # response (RFC 9112, section 9.6).
        if self._last:
            self._buffer.clear()
            self._drained = 0
            self.half_close()
