"""Hypercorn's HTTP/2 protocol, hardened: deadlines, a bounded send buffer, flow control, and a limit on waste."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from math import inf
from typing import Any

import h2.events
import h2.exceptions
import h2.settings
import trio
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hypercorn.events import Closed
from hypercorn.protocol.events import Body, EndBody, Event
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.trio.worker_context import WorkerContext
from hyperframe.frame import Frame, GoAwayFrame

from ...protocol.http1 import TARGET
from .config import RECEIVE_BYTES, ServingConfig

MAX_WASTED = 100
"""Requests that a client may reset before they are answered, and settings that it may change, on one connection, beyond
the requests that were answered; more is an attack (rapid reset, CVE-2023-44487). The connection of a proxy lives for
days, and passes on what its clients reset."""

# Bytes that may wait for the flow control of one stream. Hypercorn's buffer makes a sender wait from this size on.
_PART = 32 << 10
# From this number of events on, less is received at once: they are handled without a pause, a request in a millisecond.
_MANY_EVENTS = 16
# Bytes received at least, about as many of the smallest frames.
_LEAST = 256
# Bytes that a client may send on one stream, and on the connection, before it waits for the hub. With the 65,535 of
# RFC 9113, an upload waits for a round trip every 64 KiB. It costs no memory: what the app does not read yet makes the
# whole connection wait.
_WINDOW = 1 << 20
# Bytes of the table by which headers of responses are compressed: the default of RFC 7541, section 4.2.
_TABLE = 4 << 10


class HTTP2(H2Protocol):
    """The protocol of one HTTP/2 connection. Requests only: websockets have HTTP/1.1 connections of their own.

    Relies on `connection` being h2's, which finds the reader of a frame in `_frame_dispatch_table`, on `streams`
    holding the requests under way and `stream_buffers` what `_send_data` still has to send of the responses, and on
    `_handle_events` accepting one event at a time.
    """

    config: ServingConfig
    responding = False
    # Clients of HTTP/2 read while they send, since flow control makes them.
    drained_bytes = _WINDOW

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.receive_bytes = _LEAST
        """Bytes to receive at once: few from a client that sends tiny frames, so that the others have their turn."""
        self._limits = self.config.limits
        self._receiving: dict[int, float] = {}
        self._wasted = 0
        self._leaving = False
        # A context of its own, which is never terminated: at a shutdown Hypercorn would cut the last response.
        self.context = WorkerContext(None)
        self.connection._frame_dispatch_table[GoAwayFrame] = self._receive_goaway
        # Without ENABLE_CONNECT_PROTOCOL, which Hypercorn sets: clients would try websockets over HTTP/2 (RFC 8441).
        self.connection.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: self.config.h2_max_concurrent_streams,
                SettingCodes.MAX_HEADER_LIST_SIZE: self.config.h2_max_header_list_size,
                SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
            },
        )

    async def initiate(self, *args: Any) -> None:
        """Send the settings, and open the window of the connection, which no setting does (RFC 9113, section 6.9.2)."""
        await super().initiate(*args)
        self.connection.increment_flow_control_window(_WINDOW - self.connection.inbound_flow_control_window)
        await self._flush()

    @property
    def blocked(self) -> bool:
        """True while a response waits for the client to open its flow control window."""
        return any(buffer.buffer for buffer in self.stream_buffers.values())

    def deadline(self) -> float:
        """Time by which the client has to send, on Trio's clock; infinite if nothing is expected of it.

        `slow_s` for a part of any body and `body_s` for each whole body (both with `unread_s`), `keep_alive_s` between
        requests.
        """
        if not self.streams:
            return trio.current_time() + self._limits.keep_alive_s
        receiving = [by for stream_id, by in self._receiving.items() if stream_id in self.streams]
        if not receiving:
            return inf
        return min(*receiving, trio.current_time() + self._limits.slow_s) + self._limits.unread_s

    async def time_out(self) -> None:
        """Send GOAWAY. The caller ends the connection."""
        self.connection.close_connection()
        await self._flush()

    async def invite_body(self) -> None:
        """Do nothing: in HTTP/2 flow control holds the body back."""

    async def shut_down(self) -> None:
        """Refuse further requests; after the last response, send GOAWAY and end the connection."""
        self._leaving = True
        await self._leave_if_done()

    def _receive_goaway(self, frame: GoAwayFrame) -> tuple[list[Frame], list[h2.events.Event]]:
        """Read GOAWAY (h2's `_receive_goaway_frame`). Its sender still waits for what it asked for before.

        See RFC 9113, section 6.8. h2 would drop what is to be sent, and accept nothing more.
        """
        event = h2.events.ConnectionTerminated()
        event.error_code = frame.error_code
        return [], [event]

    async def _leave_if_done(self) -> None:
        if self._leaving and not self.streams and not self.stream_buffers:
            await self.time_out()
            await self.send(Closed())

    async def _send_data(self, stream_id: int) -> None:
        # A client may reset a stream between two parts of its body; Hypercorn would fail.
        if stream_id not in self.stream_buffers:  # pragma: no cover - a race
            self.priority.block(stream_id)
            return
        await super()._send_data(stream_id)
        await self._leave_if_done()

    async def stream_send(self, event: Event) -> None:
        """Send an event; reset the stream if flow control blocks a part for `stall_s`. Hypercorn would wait forever."""
        if isinstance(event, EndBody) and event.stream_id in self.streams:
            self._wasted = max(0, self._wasted - 1)
        for part in _parts(event):
            with trio.move_on_after(self._limits.stall_s) as patience:
                await super().stream_send(part)
                await self._wait_for_window(part)
            if patience.cancelled_caught:
                with suppress(h2.exceptions.ProtocolError):
                    self.connection.reset_stream(event.stream_id, ErrorCodes.CANCEL)
                await self._flush()
                await self._close_stream(event.stream_id)
                break
        await self._leave_if_done()

    async def _wait_for_window(self, part: Event) -> None:
        """Wait until less than `_PART` is buffered: Hypercorn waits for one attempt to send, and its buffer grows."""
        buffer = self.stream_buffers.get(part.stream_id)
        while buffer and len(buffer.buffer) >= _PART:
            await buffer._paused.wait()
            await buffer._paused.clear()

    async def _create_stream(self, request: h2.events.RequestReceived) -> None:
        """Start a request; answer 400 to a method or path that Hypercorn cannot decode, and to CONNECT (websockets)."""
        if _is_served(dict(request.headers)):
            self._receiving[request.stream_id] = trio.current_time() + self._limits.body_s
            await super()._create_stream(request)
        else:
            self.connection.send_headers(request.stream_id, [(b":status", b"400")], end_stream=True)

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        """Handle events one by one, and send the frames by which h2 itself answers, also to what makes no event."""
        wanted = self.receive_bytes * 2 if len(events) < _MANY_EVENTS else self.receive_bytes // 2
        self.receive_bytes = min(max(wanted, _LEAST), RECEIVE_BYTES)
        for event in events:
            self._count(event)
            if self._wasted > MAX_WASTED:
                self.connection.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
                await self._flush()
                await self.send(Closed())
                return
            match event:
                case h2.events.ConnectionTerminated(error_code=ErrorCodes.NO_ERROR):
                    await self.shut_down()
                case h2.events.RequestReceived() if self._leaving:
                    # The last response may have ended the connection meanwhile.
                    with suppress(h2.exceptions.ProtocolError):
                        self.connection.reset_stream(event.stream_id, ErrorCodes.REFUSED_STREAM)
                # Still acknowledged, or the connection's flow control window would shrink with every refused body.
                case h2.events.DataReceived() if not self._is_read(event.stream_id):
                    self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                # Deprecated (RFC 9113, section 5.3.2), and Hypercorn's tree would grow with streams that never come.
                case h2.events.PriorityUpdated():
                    pass
                case _:
                    await super()._handle_events([event])
        await self._flush()

    def _count(self, event: h2.events.Event) -> None:
        """Note what an event means for the deadline, and for the limit on waste."""
        match event:
            case h2.events.StreamEnded():
                self._receiving.pop(event.stream_id, None)
            case h2.events.StreamReset():
                self._receiving.pop(event.stream_id, None)
                self._wasted += event.stream_id in self.streams
            case h2.events.RemoteSettingsChanged():
                self._wasted += 1
                # A client may allow 4 GB, and the table would grow with the ids of all its messages.
                encoder = self.connection.encoder
                encoder.header_table_size = min(encoder.header_table_size, _TABLE)

    def _is_read(self, stream_id: int) -> bool:
        """True if the app may still read the body; Hypercorn fails on any other, or waits for the app to read it."""
        stream = self.streams.get(stream_id)
        return isinstance(stream, HTTPStream) and stream.state is ASGIHTTPState.REQUEST


def _is_served(fields: Mapping[bytes, bytes]) -> bool:
    """False for a method or path that Hypercorn cannot decode, and for CONNECT (RFC 8441)."""
    method = fields.get(b":method", b"")
    # Hypercorn decodes the method as ASCII, and compares it in upper case.
    return bool(TARGET.fullmatch(fields.get(b":path", b""))) and method.isascii() and method.upper() != b"CONNECT"


def _parts(event: Event) -> Iterator[Event]:
    if not isinstance(event, Body):
        yield event
    else:
        for start in range(0, len(event.data), _PART):
            yield replace(event, data=event.data[start : start + _PART])
