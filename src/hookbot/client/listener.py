"""`listen`: an async iterator over the messages of a topic, across as many connections as needed."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import trio

from ..errors import Refused
from ..protocol.frames import Heartbeat
from ..protocol.headers import encoded
from ..protocol.message import Gap, Message
from ..protocol.replies import REPLY, Reply
from ..protocol.subscribe import UNSAFE_HEADER, UNSAFE_HEADER_VALUE
from .address import Address, subscription_of
from .connect import tls_context
from .progress import AckedProgress, NewestFirstProgress, Progress
from .session import Event, Session
from .timing import DEFAULT_TIMING, Timing
from .websocket import Endpoint

# A hub accepts 25 MiB by default; this leaves room for one that is configured to accept more.
MAX_BODY_BYTES = 34 << 20

# The frame limit is for the JSON of a message: the worst body is of control characters, each written as \u0001.
_JSON_BYTES_A_BYTE = 6
# Room for the other fields: the heads of requests, which become headers, are limited to far less.
_ENVELOPE_BYTES = 1 << 20


class Messages:
    """An async iterator over the messages and gaps of a subscription, `Message` and `Gap`.

    They come in the order of ids, except for messages delivered again, and for ``order=newest`` in the URL.

    With a cursor or a group, requesting the next message acknowledges the previous one. A message is therefore
    delivered again if the process dies or the loop is left while it is handled. With `manual_ack`, only `ack`
    acknowledges, so that several messages can be handled at once. Messages from a hub older than 1.0 have no id, and
    cannot be acknowledged.
    """

    def __init__(self, session: Session, limit: int | None, manual_ack: bool) -> None:
        self._session = session
        self._left = math.inf if limit is None else limit
        self._manual_ack = manual_ack
        self._last: Message | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message | Gap:
        """The next message or gap. Cancelling loses nothing. Only one task at a time may call this.

        Raises the error that ended the subscription, as described at `listen`.
        """
        if self._last is not None and not self._manual_ack:
            self.ack(self._last)
        self._last = None
        while self._left > 0:
            try:
                item = await self._session.items.receive()
            except trio.EndOfChannel:
                break
            if self._session.accept(item) and not isinstance(item, Heartbeat):
                return self._hand_over(item)
        if self._session.failure is not None:
            raise self._session.failure
        raise StopAsyncIteration

    def ack(self, message: Message) -> None:
        """Acknowledge a message. The acknowledgement is sent soon, at the latest on leaving `listen`.

        With a cursor, it is not sent before all earlier messages are acknowledged, too. If there is no connection on
        leaving, it is lost, and the message is delivered again. Without a cursor or a group, nothing is sent.
        Acknowledging a message twice changes nothing.
        """
        self._session.ack(message.id)

    def awaits_reply(self, message: Message) -> bool:
        """True if the sender of a message waits for a reply, as far as can be known here: it asked, and lately.

        Raises `ValueError` without ``reply=True``, as `reply` does.
        """
        return self._session.replies.awaited_by(message)

    def reply(self, message: Message, reply: Reply) -> None:
        """Reply to the sender of a message, before it is acknowledged. The reply is sent soon.

        The first reply of all listeners counts, if the sender still waits. If there is no connection, it is not sent,
        and the sender gets the default of the hub. With a cursor or a group, the hub gets it from the next connection,
        for a sender that tries again.
        """
        self._session.reply(message, reply)

    def _hand_over(self, item: Message | Gap) -> Message | Gap:
        if isinstance(item, Message):
            self._last = item
            self._left -= 1
        return item


@asynccontextmanager
async def listen(
    url: str,
    *,
    since: str | None = None,
    cursor: str | None = None,
    group: str | None = None,
    limit: int | None = None,
    follow: bool = True,
    manual_ack: bool = False,
    max_unacked: int | None = None,
    reply: bool = False,
    token: str | None = None,
    unsafe: bool = False,
    headers: Iterable[tuple[str, str]] = (),
    ca_file: str | Path | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
    timing: Timing = DEFAULT_TIMING,
    on_event: Callable[[Event], object] | None = None,
) -> AsyncIterator[Messages]:
    """Subscribe to a topic, or to everything beneath one, and iterate over its messages.

    Once entered, the subscription is active: no message published from now on is missed. Entering and iterating raise
    `Refused` (`Unauthorized`, `NotFound`, ...) if the hub refuses for good. After any other failure the client
    reconnects forever, with growing delays, and resumes after the last message. Messages that cannot be recovered
    are reported by a `Gap` in their place. A hub older than 1.0 can neither resume nor report gaps. Cancelling is safe
    at any time; leaving the block then still takes up to `timing.close_s`, to send the last acknowledgements. Further
    options of a subscription (``key=topic``, ``takeover=1``, ...) go into the query of the URL.

    - `since`: start after a message id, at a time such as ``2026-01-02T03:04:05Z``, some time ago (``90s``, ``10m``,
      ``2h``, ``7d``), or at the beginning (``all``); default: now, or the beginning with `follow=False` and
      without a cursor. A cursor or group that exists already starts at its position instead
    - `cursor`: name under which the hub stores the position of the last acknowledgement, also between connections
    - `group`: name of a group, whose members share one position: each message goes to one of them
    - `limit`: end after this many messages
    - `follow`: if False, end after the last message that is stored now
    - `manual_ack`: acknowledge only by `Messages.ack`
    - `max_unacked`: number of unacknowledged messages that the hub may send; default: 1 for a group without
      `manual_ack`, so that no member holds messages that another could handle, otherwise the hub's
    - `reply`: announce replies to messages whose senders ask for one, which `Messages.reply` gives
    - `token`: token, in place of the user name in the URL
    - `unsafe`: required for ``/unsafe/sub/...``, where anybody may publish without a token
    - `headers`: additional headers of the handshake
    - `ca_file`: certificate authorities to trust (PEM), in place of the system's
    - `max_body_bytes`: every body up to this size is accepted; one that is several times larger raises `BodyTooLarge`
    - `timing`: timeouts, and delays between connections
    - `on_event`: called with each `Connected`, `Waiting` and `Disconnected`, which are also logged by
      ``hookbot.client``
    """
    address = Address.parse(url, token)
    endpoint = endpoint_of(
        address, unsafe=unsafe, headers=headers, ca_file=ca_file, max_body_bytes=max_body_bytes, timing=timing
    )
    query = _query(address, since=since, cursor=cursor, group=group, follow=follow, max_unacked=max_unacked)
    if reply:
        query[REPLY] = "1"
    if "group" in query and not manual_ack:
        query.setdefault("max_unacked", "1")
    limit = _limit(query.pop("limit", None)) if limit is None else limit
    progress = _progress(query.pop("since", None), query)
    session = Session(endpoint, query, progress, on_event)
    async with _running(session, timing.close_s):
        yield Messages(session, limit, manual_ack)


def endpoint_of(
    address: Address,
    *,
    unsafe: bool = False,
    headers: Iterable[tuple[str, str]] = (),
    ca_file: str | Path | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
    timing: Timing = DEFAULT_TIMING,
) -> Endpoint:
    """Endpoint that `listen` connects to.

    Raises `Refused` for an unsafe topic without `unsafe`, an address for publishing, and an invalid header, and
    `ConfigError` for an invalid CA file.
    """
    if subscription_of(address).unsafe and not unsafe:
        raise Refused(f"anybody may publish to {address} without a token: allow unsafe only if you check every message")
    unsafe_header = ((UNSAFE_HEADER, UNSAFE_HEADER_VALUE),) if unsafe else ()
    fields = encoded((*address.authorization_header(), *unsafe_header, *headers))
    max_frame_bytes = max_body_bytes * _JSON_BYTES_A_BYTE + _ENVELOPE_BYTES
    return Endpoint(address, fields, tls_context(ca_file), max_frame_bytes, timing)


@asynccontextmanager
async def _running(session: Session, close_s: float) -> AsyncIterator[None]:
    """Run the session, from the beginning of the subscription to the closing handshake."""
    async with _BackgroundTask(session.run):
        try:
            await session.subscribed.wait()
            if session.failure is not None:
                raise session.failure
            yield
        finally:
            # Shielded: the last acknowledgements must reach the hub even if the listener is cancelled.
            with trio.move_on_after(close_s, shield=True):
                await session.close()


def _query(
    address: Address, *, since: str | None, cursor: str | None, group: str | None, follow: bool, max_unacked: int | None
) -> dict[str, str]:
    """Query of the subscription: that of the URL, overridden by the arguments that are given."""
    given = {"since": since, "cursor": cursor, "group": group, "follow": None if follow else "0"}
    given["max_unacked"] = None if max_unacked is None else str(max_unacked)
    return {**address.query, **{name: value for name, value in given.items() if value is not None}}


def _progress(since: str | None, query: dict[str, str]) -> Progress:
    if query.keys() & {"cursor", "group"}:
        return AckedProgress(since, each="group" in query)
    if query.get("order") == "newest":
        return NewestFirstProgress(since)
    return Progress(since)


def _limit(text: str | None) -> int | None:
    """Limit in the query of the URL: for the whole subscription, not for each of its connections."""
    try:
        return None if text is None else int(text)
    except ValueError:
        raise Refused(f"limit must be a number, not {text!r}") from None


class _BackgroundTask:
    """A task that runs until the body is left.

    It outlives a cancellation of the body, which can therefore still close the connection in order. Unlike a bare
    nursery, it does not wrap an exception of the body into a group.
    """

    def __init__(self, task: Callable[[], Awaitable[object]]) -> None:
        self._task = task
        self._scope = trio.CancelScope(shield=True)
        self._opened = trio.open_nursery()

    async def __aenter__(self) -> None:
        nursery = await self._opened.__aenter__()
        nursery.start_soon(self._run)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._scope.cancel()
        # Without the exception, the nursery ends as if the body had returned, and the exception passes unwrapped.
        await self._opened.__aexit__(None, None, None)

    async def _run(self) -> None:
        with self._scope:
            await self._task()
