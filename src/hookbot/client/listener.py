"""`listen`: an async iterator over everything that is published to a topic, whatever happens to connections."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import trio

from ..errors import Refused
from ..protocol.frames import Heartbeat
from ..protocol.message import Gap, Message
from ..protocol.subscribe import UNSAFE_HEADER, UNSAFE_HEADER_VALUE
from .address import Address, subscription_of
from .connect import tls_context
from .http import encoded
from .progress import AckedProgress, Progress
from .session import Event, Session
from .websocket import Endpoint

MAX_BODY_BYTES = 34 << 20
CLOSE_S = 2.0

_CHARS_A_BYTE = 6  # JSON writes a control character as \u0001
_ENVELOPE_CHARS = 1 << 20


class Messages:
    """An async iterator over the messages and gaps of a subscription, `Message` and `Gap`, in the order of ids.

    With a cursor or a group, a message is acknowledged when the next one is asked for: what was in hand
    when the process died, or when the loop was left early, comes again. With `manual_ack`, only `ack` acknowledges,
    so that several messages can be in work at once. Raw frames of an old hub have no id, and nothing to acknowledge.
    """

    def __init__(self, session: Session, progress: Progress, limit: int | None, manual_ack: bool) -> None:
        self._session = session
        self._progress = progress
        self._left = math.inf if limit is None else limit
        self._manual_ack = manual_ack
        self._last: Message | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message | Gap:
        """The next message or gap. Cancelling loses nothing. For one task at a time."""
        if self._last is not None and not self._manual_ack:
            self.ack(self._last)
        self._last = None
        while self._left > 0:
            try:
                item = await self._session.items.receive()
            except trio.EndOfChannel:
                break
            if self._progress.accept(item) and not isinstance(item, Heartbeat):
                return self._hand_over(item)
        if self._session.failure is not None:
            raise self._session.failure
        raise StopAsyncIteration

    def ack(self, message: Message) -> None:
        """Acknowledge a message. The hub is told soon, at the latest on leaving `listen`.

        Without a cursor or a group there is nobody to tell. Acknowledging twice changes nothing.
        """
        self._session.ack(message.id)

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
    token: str | None = None,
    unsafe: bool = False,
    headers: Iterable[tuple[str, str]] = (),
    ca_file: str | Path | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
    on_event: Callable[[Event], object] | None = None,
) -> AsyncIterator[Messages]:
    """Subscribe to a topic, or to everything beneath one, and iterate over what is published there.

    Once entered, the subscription is active: what is published from now on will come. Entering and iterating raise
    `Refused` (`Unauthorized`, `NotFound`, ...) when the hub says that trying again is no use. Everything else is
    tried again for ever, with growing delays, and each new connection goes on where the last one broke off.
    A hole that cannot be filled is handed over as a `Gap`, in its place. Cancelling is safe at any time.
    What the hub can be asked for besides (``key=topic``, ``takeover=1``, ...) stands in the query of the URL.

    - `since`: what to begin with: a message id (what follows it), ``90s``, ``10m``, ``2h``, ``7d``, a time such as
      ``2026-01-02T03:04:05Z``, or ``all``; without it, what is published from now on
    - `cursor`: the hub remembers under this name what was acknowledged, also while nobody listens
    - `group`: the same, shared: each message goes to one of those who listen under this name
    - `limit`: end after so many messages
    - `follow`: False ends after what is stored now
    - `manual_ack`: see `Messages`
    - `max_unacked`: how far the hub may be ahead of what is acknowledged; 1 for a group without `manual_ack`, so
      that nobody holds what others could be working on, otherwise up to the hub
    - `token`: in place of the user name of the URL
    - `unsafe`: needed for ``/unsafe/sub/...``, where anybody may have sent a message without a token
    - `headers`: more of them, for the handshake
    - `ca_file`: trust these certificate authorities (PEM) in place of the system's
    - `max_body_bytes`: of one message; a larger one raises `BodyTooLarge`
    - `on_event`: is called with each `Connected`, `Waiting` and `Disconnected`; the logger ``hookbot.client`` is told
      of them as well
    """
    address = Address.parse(url, token)
    wanted = subscription_of(address)
    query = _query(address, since=since, cursor=cursor, group=group, follow=follow, max_unacked=max_unacked)
    if "group" in query and not manual_ack:
        query.setdefault("max_unacked", "1")
    limit = _limit(query.pop("limit", None)) if limit is None else limit
    progress = _progress(query.pop("since", None), query)
    endpoint = endpoint_of(address, unsafe=unsafe, headers=headers, ca_file=ca_file, max_body_bytes=max_body_bytes)
    session = Session(endpoint, wanted, query, progress, on_event)
    async with _BackgroundTask(session.run):
        try:
            await session.subscribed.wait()
            if session.failure is not None:
                raise session.failure
            yield Messages(session, progress, limit, manual_ack)
        finally:
            with trio.move_on_after(CLOSE_S, shield=True):
                await session.close()


def endpoint_of(
    address: Address,
    *,
    unsafe: bool = False,
    headers: Iterable[tuple[str, str]] = (),
    ca_file: str | Path | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
) -> Endpoint:
    """The endpoint that `listen` connects to; raises `Refused` for an unsafe topic without `unsafe`."""
    if subscription_of(address).unsafe and not unsafe:
        raise Refused(f"anybody may publish to {address} without a token: say unsafe if you check every message")
    unsafe_header = ((UNSAFE_HEADER, UNSAFE_HEADER_VALUE),) if unsafe else ()
    fields = encoded((*address.authorization_header(), *unsafe_header, *headers))
    return Endpoint(address, fields, tls_context(ca_file), max_body_bytes * _CHARS_A_BYTE + _ENVELOPE_CHARS)


def _query(
    address: Address, *, since: str | None, cursor: str | None, group: str | None, follow: bool, max_unacked: int | None
) -> dict[str, str]:
    """The query of the subscription: that of the URL, where no argument says otherwise."""
    given = {"since": since, "cursor": cursor, "group": group, "follow": None if follow else "0"}
    given["max_unacked"] = None if max_unacked is None else str(max_unacked)
    return {**address.query, **{name: value for name, value in given.items() if value is not None}}


def _progress(since: str | None, query: dict[str, str]) -> Progress:
    if query.keys() & {"cursor", "group"}:
        return AckedProgress(since, each="group" in query)
    return Progress(since)


def _limit(text: str | None) -> int | None:
    """A limit in the URL holds for the whole stream, not for each of its connections."""
    try:
        return None if text is None else int(text)
    except ValueError:
        raise Refused(f"limit is a number, not {text!r}") from None


class _BackgroundTask:
    """Runs a task until the body is left, cancelled or not: the body can still close the connection in order.

    Unlike with a bare nursery, what the body raises is not wrapped into a group.
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
        await self._opened.__aexit__(None, None, None)

    async def _run(self) -> None:
        with self._scope:
            await self._task()
