"""One plain HTTP/1.1 connection in the poller: requests one at a time, each answered before the next is looked at."""

import socket
from typing import TYPE_CHECKING

import trio

from .answers import Answer, failed, greeted, stored
from .broker import Start
from .errors import HookbotError, RequestTimeout, Unavailable
from .http1 import BadRequest, Head, encode_answer, head_end
from .message import Draft
from .places import is_for_app
from .poller import READ, WRITE
from .request import Request
from .verifying import verify
from .websocket import accept_handshake, is_handshake

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .door import Door
    from .intake import Body
    from .listening import Listening
    from .log import Outcome
    from .publishing import Publishing

RECEIVE_BYTES = 64 << 10
MAX_BUFFERED = 64 << 10  # of requests that wait for those before them
MAX_DRAINED = 1 << 20
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection:
    """A connection until it ends, becomes a subscriber or is handed on to the app. Nothing here waits."""

    __slots__ = (
        "_body",
        "_buffer",
        "_client",
        "_door",
        "_drained",
        "_ended_by_client",
        "_events",
        "_head",
        "_last",
        "_left",
        "_publishing",
        "_request",
        "_sock",
        "_unsent",
        "fd",
        "moved_at",
        "open",
        "waiting",
    )

    def __init__(self, door: "Door", sock: socket.socket, client: str) -> None:
        self.fd = sock.fileno()
        self.open = True
        self.waiting = False
        """Whether the log has the request."""
        self.moved_at = trio.current_time()
        self._door = door
        self._sock = sock
        self._client = client
        self._events = READ
        self._buffer = bytearray()
        self._head: Head | None = None
        self._request: Request | None = None
        self._publishing: Publishing | None = None
        self._body: Body | None = None
        self._left = 0
        self._unsent: memoryview | None = None
        self._last = False
        """Whether the answer that is being sent is the last."""
        self._drained: int | None = None
        """After the last answer: how much was thrown away of what still came."""
        self._ended_by_client = False
        door.poller.add(self.fd, self)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return not (self.waiting or self._buffer or self._head or self._unsent or self._drained is not None)

    def ready(self, events: int) -> None:
        """Called by the poller."""
        if events & WRITE:
            self._flush()
            self._advance()
        if self.open and events & ~WRITE:
            self._receive()

    def end(self) -> None:
        """Close the socket now."""
        if self.open:
            self._leave()
            self._sock.close()

    def give_up(self) -> None:
        """The peer was too slow: tell it, if it can still be told."""
        if self._unsent or self._drained is not None:
            self.end()
        else:
            self._refuse(RequestTimeout("the request did not arrive in time"), last=True)
            self._advance()

    def _leave(self) -> None:
        self.open = False
        if self._body:
            self._body.close()
        self._door.poller.remove(self.fd)
        self._door.connections.discard(self)

    def _receive(self) -> None:
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self.end()
            return
        if not data:
            self._receive_end()
            return
        if self._drained is not None:
            self._drained += len(data)
            if self._drained > MAX_DRAINED:
                self.end()
            return
        if self._head or not self._buffer:  # a head has to arrive whole in the time that a body has for each part
            self.moved_at = trio.current_time()
        self._buffer += data
        self._advance()

    def _receive_end(self) -> None:
        """The client has sent all it wanted, but may still read the answer."""
        if self.waiting or self._unsent:
            self._ended_by_client = True
            self._watch()
        else:
            self.end()

    def _advance(self) -> None:
        """Work on what is in the buffer, as far as it goes, then look for what can come next."""
        more = True
        while more and self.open and not self.waiting and not self._unsent and self._drained is None:
            try:
                more = self._read_body() if self._head else self._read_head()
            except BadRequest as error:
                self._refuse(error, last=True)
            except HookbotError as error:
                self._refuse(error, last=False)
        if self.open:
            self._watch()

    def _watch(self) -> None:
        if self._unsent:
            events = WRITE
        elif self._ended_by_client or (self.waiting and len(self._buffer) > MAX_BUFFERED):
            events = 0
        else:
            events = READ
        if events != self._events:
            self._events = events
            self._door.poller.change(self.fd, events)

    def _read_head(self) -> bool:
        """Let the next request in, if its head is here; whether there may be more to do."""
        while self._buffer[:2] == b"\r\n":  # RFC 9112, section 2.2
            del self._buffer[:2]
        if not b"POST ".startswith(self._buffer[:5]) and not b"GET ".startswith(self._buffer[:4]):
            self._hand_on()
            return False
        end = head_end(self._buffer)
        if not end:
            return False
        head = Head(bytes(self._buffer[:end]))
        request = Request(head.method, head.target, head.headers, self._client)
        websocket = head.version == "1.1" and is_handshake(request)
        if is_for_app(request.raw_path) or (not websocket and (head.upgrade or head.method == "GET")):
            self._hand_on()
            return False
        self._head, self._request, self._left = head, request, head.length
        if websocket and head.method == "GET":
            return self._let_subscribe(head, request, end)
        del self._buffer[:end]
        return self._let_publish(head, request)

    def _let_publish(self, head: Head, request: Request) -> bool:
        self._publishing = self._door.gate.publishing(request)
        self._body = head.body = self._door.intake.open()
        if head.expects_continue and not self._buffer:
            self._sock.send(CONTINUE)
        return True

    def _let_subscribe(self, head: Head, request: Request, end: int) -> bool:
        if head.length or head.chunks:
            raise BadRequest("a websocket handshake has no body")
        listening = self._door.gate.listening(request, websocket=True)
        if listening.needs_app:
            self._hand_on()
            return False
        del self._buffer[:end]
        answer = accept_handshake(request, listening.subprotocol)
        if listening.since is None:
            self._become_subscriber(answer, listening, Start(self._door.broker.head))
        else:
            self.waiting = True
            self._door.start_soon(self._find_start, answer, listening)
        return False

    async def _find_start(self, answer: bytes, listening: "Listening") -> None:
        try:
            start = await self._door.broker.start_at(
                listening.since, listening.wanted, not_before_us=listening.grant.since_us
            )
        except Unavailable as error:
            self.waiting = False
            if self.open:
                self._refuse(error, last=True)
                self._advance()
        else:
            if self.open:
                self._become_subscriber(answer, listening, start)

    def _become_subscriber(self, answer: bytes, listening: "Listening", start: Start) -> None:
        self._leave()
        self._sock.send(answer)  # a new socket takes so little at once
        self._door.fanout.adopt(self._sock, listening, start, early=bytes(self._buffer))

    def _hand_on(self) -> None:
        self._head = None
        self._leave()
        self._door.hand_on(self._sock, bytes(self._buffer))

    def _read_body(self) -> bool:
        """Take what is here of the body, and publish it when that is all; whether there may be more to do."""
        head, body, publishing = self._head, self._body, self._publishing
        if not head or not body or not publishing:
            return False
        if head.chunks:
            complete = head.chunks.take(self._buffer)
        else:
            here = self._buffer[: self._left]
            body.write(here)
            del self._buffer[: self._left]
            self._left -= len(here)
            complete = self._left == 0
        if complete:
            self._body = None
            self._publish(publishing, body.close())
        return False

    def _publish(self, publishing: "Publishing", body: bytes) -> None:
        if publishing.source:  # who signs has to be verified, which may take its time
            self.waiting = True
            self._door.start_soon(self._verify, publishing, body)
        else:
            self._submit(publishing.draft(body))

    async def _verify(self, publishing: "Publishing", body: bytes) -> None:
        try:
            accepted = await verify(publishing, body, now_s=self._door.gate.now_s)
            if isinstance(accepted, Draft):
                self._submit(accepted)
            else:
                self._finish(greeted(accepted))
        except HookbotError as error:
            self._finish(failed(error, publishing.request))

    def _submit(self, draft: Draft) -> None:
        self._door.broker.submit([draft], self._published)
        self.waiting = True

    def _published(self, result: "Sequence[Outcome] | Unavailable") -> None:
        outcome = result if isinstance(result, Unavailable) else result[0]
        if self._request:
            if isinstance(outcome, HookbotError):
                self._finish(failed(outcome, self._request))
            else:
                self._finish(stored(outcome, self._request))

    def _finish(self, answer: Answer) -> None:
        """Answer the request that was waited for, and go on with what came behind it."""
        self.waiting = False
        if self.open:
            self._answer(answer, last=False)
            self._advance()

    def _refuse(self, error: HookbotError, *, last: bool) -> None:
        """Answer an error; what has not arrived yet of the request's body is not waited for."""
        head = self._head
        if head is None or head.chunks or self._left > len(self._buffer):
            last = True
        else:
            del self._buffer[: self._left]
        self._answer(failed(error, self._request or Request("", b"", ())), last=last)

    def _answer(self, answer: Answer, *, last: bool) -> None:
        head = self._head
        self._last = last or head is None or not head.keep_alive or self._ended_by_client or self._door.closing
        if self._body:
            self._body.close()
        self._head = self._request = self._publishing = self._body = None
        self._unsent = memoryview(encode_answer(answer, version=head.version if head else "1.1", close=self._last))
        self._flush()

    def _flush(self) -> None:
        if self._unsent is None:
            return
        try:
            sent = self._sock.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.end()
            return
        self.moved_at = trio.current_time()
        self._unsent = self._unsent[sent:] or None
        if self._unsent is None and self._last:
            self._say_no_more()

    def _say_no_more(self) -> None:
        """Close our side: to close both would take back the answer from who still sends (RFC 9112, section 9.6)."""
        self._buffer.clear()
        self._drained = 0
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.end()
        else:
            if self._ended_by_client:
                self.end()
