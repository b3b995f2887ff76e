"""One plain HTTP/1.1 connection in the poller: requests one at a time, each answered before the next is looked at."""

import logging
import socket
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from math import inf

import trio

from ...access.admitted import AdmittedPublish
from ...access.verification import verify
from ...broker.broker import Start
from ...errors import HookbotError, RequestTimeout, Unavailable
from ...log.deduplication import Outcome
from ...protocol.http1 import BadRequest, Head, encode_answer, head_end
from ...protocol.message import Draft
from ...protocol.paths import is_for_app
from ...protocol.request import Request
from ...protocol.response import Answer, failed, greeted, stored
from ...protocol.subscribe import SubscribeRequest
from ...protocol.websocket import accept_handshake, is_handshake
from .context import Context
from .epoll import READ, WRITE
from .exchange import CachedHead, Exchange
from .nonblocking_socket import NonblockingSocket

MAX_BUFFERED = 64 << 10  # of requests that wait for those before them
MAX_USUAL = 2 << 10  # of a head that is kept to be recognised
MAX_DRAINED = 64 << 20  # who sends a body reads the answer behind it, if at all
OURS = (b"POST ", b"GET ")
IDLE_S = 75.0
LINGER_S = 2.0
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

logger = logging.getLogger("hookbot.connection")


class HttpConnection(NonblockingSocket):
    """A connection until it ends, becomes a subscriber or is handed on to the app. Nothing here waits.

    What fails here ends this connection only: strangers decide what comes.
    """

    __slots__ = (
        "_arriving",
        "_buffer",
        "_client",
        "_context",
        "_drained",
        "_ended_by_client",
        "_last",
        "_usual",
        "_waiting",
    )

    def __init__(self, context: Context, sock: socket.socket, client: str) -> None:
        super().__init__(sock, context.epoll)
        self._context = context
        self._client = client
        self._buffer = bytearray()
        self._arriving: Exchange | None = None
        self._usual: CachedHead | None = None
        self._waiting = False
        """Whether somebody else is busy with the request: the log, mostly."""
        self._last = False
        """Whether the answer that is being sent is the last."""
        self._drained: int | None = None
        """After the last answer: how much was thrown away of what still came."""
        self._ended_by_client = False
        context.connections.add(self)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return self._reading and not (self._buffer or self._arriving)

    @property
    def deadline(self) -> float:
        """Until when something has to come from the client, or to be taken by it."""
        if self._waiting:
            return inf
        if self._drained is not None:
            return self.moved_at + LINGER_S
        return self.moved_at + (IDLE_S if self.idle else self._context.slow_s)

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
            self._ended_by_client = True  # it has sent all it wanted, and may still read the answer
        elif self._drained is None:
            if self._arriving or not self._buffer:  # a head has to come whole in the time of each part of a body
                self.moved_at = trio.current_time()
            self._buffer += data
        else:
            self._drained += len(data)
            if self._drained > MAX_DRAINED:
                self.end("goes on sending")
        self._advance()

    def taken(self) -> None:
        """Called when an answer that had to wait has been taken."""
        self._sent()
        self._advance()

    def gone(self, reason: str) -> None:
        """Called when the socket is closed."""
        if self._arriving:
            self._arriving.close()
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
        if self.open:
            self._watch()

    def _watch(self) -> None:
        if self.stalled:
            self.watch(WRITE)
        elif self._ended_by_client or (self._waiting and len(self._buffer) > MAX_BUFFERED):
            self.watch(0)
        else:
            self.watch(READ)

    def _step(self) -> bool:
        """Take the next part of a request, if it is here; whether there may be more to do."""
        try:
            return self._read_body(self._arriving) if self._arriving else self._find_head()
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

    def _read_head(self, data: bytes) -> None:
        usual = self._usual
        if usual and usual.data == data:
            self._arriving = Exchange(usual.head)
            if self._context.access.admits_again(usual.publishing):
                self._let_publish(self._arriving, usual.publishing)
                return
        head = Head(data, self._client)
        request = head.request
        websocket = is_handshake(request) and head.version == "1.1"
        publish = request.method == "POST" and request.sent("upgrade") is None and request.sent("origin") is None
        if is_for_app(request.raw_path) or not (websocket or publish):
            self._hand_over(data)
            return
        self._arriving = Exchange(head)
        if websocket:
            self._let_subscribe(head, data)
            return
        publishing = self._context.access.publishing(request)
        if not head.chunked and len(data) <= MAX_USUAL:
            self._usual = CachedHead(data, head, publishing)
        self._let_publish(self._arriving, publishing)

    def _let_publish(self, arriving: Exchange, publishing: AdmittedPublish) -> None:
        arriving.publishing = publishing
        arriving.body = self._context.bodies.open(publishing.max_body_bytes)
        head = arriving.head
        if head.expects_continue and head.has_body and not self._buffer:
            self.transmit(CONTINUE)

    def _let_subscribe(self, head: Head, data: bytes) -> None:
        if head.has_body:
            raise BadRequest("a websocket handshake has no body")
        listening = self._context.access.listening(head.request, websocket=True)
        if listening.needs_app:
            self._hand_over(data)
            return
        answer = accept_handshake(head.request, listening.subprotocol)
        if listening.since is None:
            self._become_subscriber(answer, listening, Start(self._context.broker.head))
        else:
            self._waiting = True
            self._context.start_soon(self._find_start, answer, listening)

    async def _find_start(self, answer: bytes, listening: SubscribeRequest) -> None:
        try:
            start = await self._context.broker.start_at(
                listening.since, listening.wanted, not_before_us=listening.grant.since_us
            )
            self._context.access.active.check(listening.grant)  # others have come meanwhile
        except HookbotError as error:
            self._finish(error)
        else:
            if self.open:
                self._become_subscriber(answer, listening, start)

    def _become_subscriber(self, answer: bytes, listening: SubscribeRequest, start: Start) -> None:
        sock = self.release()
        self._context.leave(self)
        self._context.fanout.adopt(sock, listening, start, answer=answer, early=bytes(self._buffer))

    def _hand_over(self, head: bytes) -> None:
        sock = self.release()
        self._context.leave(self)
        self._context.hand_over(sock, head + self._buffer)

    def _read_body(self, arriving: Exchange) -> bool:
        """Take what is here of the body, and publish it when that is all."""
        if arriving.take(self._buffer) and arriving.publishing and arriving.body:
            self._publish(arriving.publishing, arriving.body.close())
        return False

    def _publish(self, publishing: AdmittedPublish, body: bytes) -> None:
        if publishing.source:  # who signs has to be verified, which may take its time
            self._waiting = True
            self._context.start_soon(self._verify, publishing, body)
        else:
            self._submit(publishing.draft(body), publishing.request)

    async def _verify(self, publishing: AdmittedPublish, body: bytes) -> None:
        try:
            accepted = await verify(self._context.access, publishing, body)
            if isinstance(accepted, Draft):
                self._submit(accepted, publishing.request)
            else:
                self._finish(greeted(accepted))
        except Exception as error:
            self._finish(error)

    def _submit(self, draft: Draft, request: Request) -> None:
        self._context.broker.submit([draft], partial(self._published, request))
        self._waiting = True

    def _published(self, request: Request, result: Sequence[Outcome] | Unavailable) -> None:
        outcome = result if isinstance(result, Unavailable) else result[0]
        self._finish(outcome if isinstance(outcome, HookbotError) else stored(outcome, request))

    def _finish(self, outcome: Answer | Exception) -> None:
        """Answer the request that was waited for, and go on with what came behind it."""
        self._waiting = False
        if not self.open:
            return
        if isinstance(outcome, Answer):
            self._answer(outcome, last=False)
        else:
            self._fail(outcome)
        self._advance()

    def _fail(self, error: Exception) -> None:
        """Answer whatever went wrong with a request."""
        if isinstance(error, HookbotError):
            self._refuse(error, last=isinstance(error, BadRequest))
        else:  # a stranger's bytes found a bug; the hub has others to serve
            logger.error("a request failed: %r", error, exc_info=error)
            self._refuse(HookbotError("the hub failed"), last=True)

    def _refuse(self, error: HookbotError, *, last: bool) -> None:
        """Answer an error; what has not arrived yet of the request's body is not waited for."""
        arriving = self._arriving
        request = arriving.head.request if arriving else Request("", b"", ())
        whole = arriving is not None and arriving.skip(self._buffer)
        self._answer(failed(error, request), last=last or not whole)

    def _answer(self, answer: Answer, *, last: bool) -> None:
        arriving, self._arriving = self._arriving, None
        version = "1.1"
        if arriving:
            arriving.close()
            version = arriving.head.version
            last = last or not arriving.head.keep_alive
        if answer.status >= HTTPStatus.BAD_REQUEST:
            self._context.broker.counts.refused[str(answer.status)] += 1
        self._last = last or self._context.closing or (self._ended_by_client and not self._buffer)
        self.transmit(encode_answer(answer, version=version, close=self._last))
        if self.open and not self.stalled:
            self._sent()

    def _sent(self) -> None:
        self.moved_at = trio.current_time()
        if self._last:  # to close both sides would take the answer back from who still sends (RFC 9112, section 9.6)
            self._buffer.clear()
            self._drained = 0
            self.say_no_more()
