"""One HTTP/1.1 connection in the epoll loop: requests one at a time, each answered before the next is read."""

import logging
import socket
from math import inf

import trio

from ...errors import HookbotError, RequestTimeout
from ...protocol.http1 import BadRequest, encode_response, head_end
from ...protocol.request import Request
from ...protocol.response import Response, error_response
from .context import Context, Exchange
from .epoll import READ, WRITE, NonblockingSocket

MAX_BUFFERED = 64 << 10  # of requests that wait for those before them
MAX_DRAINED = 64 << 20  # who sends a body reads the response behind it, if at all
OURS = (b"POST ", b"GET ")

logger = logging.getLogger("hookbot.connection")


class HttpConnection(NonblockingSocket):
    """A connection until it ends or is handed over to the app; `FastPathConnection` says what requests do.

    Nothing here waits. What fails here ends this connection only: untrusted clients decide what comes.
    """

    __slots__ = ("_buffer", "_context", "_drained", "_ended_by_client", "_exchange", "_last", "_waiting")

    def __init__(self, context: Context, sock: socket.socket) -> None:
        super().__init__(sock, context.epoll)
        self._context = context
        self._buffer = bytearray()
        self._exchange: Exchange | None = None
        self._waiting = False
        """Whether somebody else is busy with the request: the log, mostly."""
        self._last = False
        """Whether the response that is being sent is the last."""
        self._drained: int | None = None
        """After the last response: how much was thrown away of what still came."""
        self._ended_by_client = False
        context.connections.add(self)

    def _read_head(self, data: bytes) -> None:
        """Begin with the request of a whole head; raises `HookbotError` to refuse it."""
        raise NotImplementedError

    def _read_body(self, exchange: Exchange) -> None:
        """Take what is here of the body; raises `HookbotError` to refuse the request."""
        raise NotImplementedError

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return self._reading and not (self._buffer or self._exchange)

    @property
    def deadline(self) -> float:
        """Until when something has to come from the client, or to be taken by it."""
        limits = self._context.limits
        if self._waiting:
            return inf
        if self._drained is not None:
            return self.moved_at + limits.linger_s
        return self.moved_at + (limits.keep_alive_s if self.idle else limits.slow_s)

    def time_out(self) -> None:
        """The deadline has passed: say so, if it can still be said."""
        if self.idle or not self._reading:
            self.end("too slow")
        else:
            self._refuse(RequestTimeout("the request did not arrive in time"), last=True)
            self._advance()

    def received(self, data: bytes) -> None:
        """Called when something came."""
        if not data:
            self._ended_by_client = True  # it has sent all it wanted, and may still read the response
        elif self._drained is None:
            if self._exchange or not self._buffer:  # a head has to come whole in the time of each part of a body
                self.moved_at = trio.current_time()
            self._buffer += data
        else:
            self._drained += len(data)
            if self._drained > MAX_DRAINED:
                self.end("goes on sending")
        self._advance()

    def taken(self) -> None:
        """Called when a response that had to wait has been taken."""
        self._sent()
        self._advance()

    def gone(self, reason: str) -> None:
        """Called when the socket is closed."""
        if self._exchange:
            self._exchange.close()
        self._context.leave(self)

    @property
    def _reading(self) -> bool:
        """Whether what comes is looked at."""
        return self.open and not self._waiting and self._unsent is None and self._drained is None

    def _advance(self) -> None:
        """Go on as far as what is here allows, then watch for what can come next."""
        while self._reading and self._step():
            pass
        if self._ended_by_client and not (self._waiting or self.stalled):
            self.end("closed by the client")
        if not self.open:
            return
        if self.stalled:
            self.watch(WRITE)
        elif self._ended_by_client or (self._waiting and len(self._buffer) > MAX_BUFFERED):
            self.watch(0)
        else:
            self.watch(READ)

    def _step(self) -> bool:
        """Take the next part of a request, if it is here; whether there may be more to do."""
        try:
            if self._exchange is None:
                return self._find_head()
            self._read_body(self._exchange)
            return False
        except Exception as error:
            self._fail(error)
            return True

    def _find_head(self) -> bool:
        buffer = self._buffer
        if not buffer:
            return False
        while buffer.startswith(b"\r\n"):  # RFC 9112, section 2.2
            del buffer[:2]
        if not buffer.startswith(OURS) and not any(start.startswith(buffer) for start in (*OURS, b"\r\n")):
            self._hand_over(b"")
            return False
        end = head_end(buffer)
        if not end:
            return False
        data = bytes(buffer[:end])
        del buffer[:end]
        self._read_head(data)
        return True

    def _hand_over(self, head: bytes) -> None:
        sock = self.release()
        self._context.leave(self)
        self._context.hand_over(sock, head + self._buffer)

    def _finish(self, outcome: Response | Exception) -> None:
        """Answer the request that was waited for, and go on with what came behind it."""
        self._waiting = False
        if not self.open:
            return
        if isinstance(outcome, Response):
            self._respond(outcome, last=False)
        else:
            self._fail(outcome)
        self._advance()

    def _fail(self, error: Exception) -> None:
        """Answer whatever went wrong with a request."""
        if isinstance(error, HookbotError):
            self._refuse(error, last=isinstance(error, BadRequest))
        else:  # an untrusted client's bytes found a bug; the hub has others to serve
            logger.error("a request failed: %r", error, exc_info=error)
            self._refuse(HookbotError("the hub failed"), last=True)

    def _refuse(self, error: HookbotError, *, last: bool) -> None:
        """Answer an error; what has not arrived yet of the request's body is not waited for."""
        exchange = self._exchange
        request = exchange.head.request if exchange else Request("", b"", ())
        whole = exchange is not None and exchange.skip(self._buffer)
        self._respond(error_response(error, request), last=last or not whole)

    def _respond(self, response: Response, *, last: bool) -> None:
        exchange, self._exchange = self._exchange, None
        version = "1.1"
        if exchange:
            exchange.close()
            version = exchange.head.version
            last = last or not exchange.head.keep_alive
        self._context.services.broker.counts.count_response(response.status)
        self._last = last or self._context.closing or (self._ended_by_client and not self._buffer)
        self.transmit(encode_response(response, version=version, close=self._last))
        if self.open and not self.stalled:
            self._sent()

    def _sent(self) -> None:
        self.moved_at = trio.current_time()
        if self._last:  # to close both sides would take the response back from who still sends (RFC 9112, section 9.6)
            self._buffer.clear()
            self._drained = 0
            self.say_no_more()
