"""Messages, as the log has stored them: listed, and one of them with all that belongs to it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NotRequired, TypedDict

import trio
from quart import Response, request

from ...errors import Damaged, NotFound
from ...protocol.envelope import encode_envelope, envelope_around
from ...protocol.message import Message
from ...protocol.paths import MESSAGES
from ...threads import hub_threads
from ..asgi import abort_of, pieces
from ..held_bytes import Cut, HeldBytes
from ..services import Services
from .filters import FILTERS, Filters
from .images import BODIES, image_type
from .operations import ID_OF_MESSAGE, JSON, Api, Asked, Parameter
from .search import Search, id_at, position_of
from .summaries import FailureFields, ReplyFields, Summary, Verdict, summarize

ID = Parameter("id", "Id of a message", ID_OF_MESSAGE, required=True)
_BEFORE = Parameter("before", "Id; only messages before it, to go on where the last answer ended", ID_OF_MESSAGE)
_LIMIT = Parameter(
    "limit", "Number of messages at most", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}
)
_MAX_FIRST = 1 << 40
_BODY = Parameter("body", "none leaves out the body", {"enum": ["all", "none"]})
_FIRST = Parameter("first", "Only so many bytes", {"type": "integer", "minimum": 1, "maximum": _MAX_FIRST})

# Whatever the bytes are, no browser shows them as a page of this hub.
_HARMLESS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cache-Control": "private, no-store",
}


class MessagesShown(TypedDict):
    """Messages, newest first, and the id to go on before; null at the beginning of the log."""

    messages: list[Summary]
    before: str | None
    searched: int
    skipped: int


class VerifiedFields(TypedDict):
    """Whose signature was verified, with which secret."""

    provider: str
    key: str
    signed_at: NotRequired[float]
    source: NotRequired[str]


class Envelope(TypedDict):
    """A message, as subscribers receive it."""

    id: str
    topic: str
    time: str
    headers: list[tuple[str, str]]
    query: str
    body: NotRequired[str]
    body_base64: NotRequired[str]
    verified: NotRequired[VerifiedFields]
    hops: NotRequired[list[str]]
    duplicate_of: NotRequired[str]
    replay_of: NotRequired[str]
    routed_from: NotRequired[str]


class MessageShown(Envelope, total=False):
    """The envelope of a message; without its body, with what its summary says in addition."""

    size: int
    content_type: str | None
    event: str | None
    verdict: Verdict
    provider: str
    key: str
    signed_at: str
    source: str
    delivery: str
    failed: FailureFields
    reply: ReplyFields


def add_messages(api: Api, services: Services) -> None:
    """Add the operations that show messages."""
    broker = services.broker

    async def list_(asked: Asked) -> Mapping[str, Any]:
        """A request searches a part of the log only: it may find few or none, and have a `before` to go on with.

        Of a body of more than a MiB, `where` reads nothing, and `text` only the first MiB. Messages for which `where`
        takes too long are `skipped`.
        """
        filters, limit = Filters.read(asked), asked.number("limit", 50, most=200)
        before = asked.get("before")
        start = min(position_of(broker, before), broker.head + 1) if before else broker.head + 1
        search = Search(broker, services.streams.reading, filters, summarize, after=start)
        found = await search.run(limit)
        return {
            "messages": found,
            "before": None if search.ended else id_at(broker, search.position),
            "searched": search.searched,
            "skipped": search.skipped,
        }

    async def show(asked: Asked, id: str) -> Mapping[str, Any] | Response:
        """The envelope, as subscribers receive it; without its body, with what the summary says in addition."""
        whole = asked.one_of("body", ("all", "none"), "all") == "all"
        async with open_message(services, asked, id) as message:
            if not whole:
                return {**summarize(message), **envelope_around(message, {})}
            envelope = await trio.to_thread.run_sync(encode_envelope, message, limiter=hub_threads())
            del message
        return Response(_slowly(services, envelope, b"\n"), content_type=JSON)

    async def body(asked: Asked, id: str) -> Response:
        """Always for download. The content type is that of an image if the body is one, whatever its sender says."""
        first = asked.number("first", _MAX_FIRST, most=_MAX_FIRST)
        async with open_message(services, asked, id) as message:
            data = message.body[:first]
            del message
        content_type, suffix = image_type(data)
        named = {"Content-Disposition": f'attachment; filename="{id}.{suffix}"', "Content-Length": str(len(data))}
        return Response(_slowly(services, data), content_type=content_type, headers={**_HARMLESS, **named})

    api.add("GET", MESSAGES, list_, "List messages", parameters=[*FILTERS, _BEFORE, _LIMIT], answer=MessagesShown)
    api.add("GET", f"{MESSAGES}/<id>", show, "Show a message", parameters=[ID, _BODY], answer=MessageShown)
    download = [ID, _FIRST]
    api.add("GET", f"{MESSAGES}/<id>/body", body, "Download a body", parameters=download, content_types=BODIES)


@asynccontextmanager
async def open_message(services: Services, asked: Asked, id: str) -> AsyncIterator[Message]:
    """The message with an id. Raises `NotFound` if there is none that the request may see, and `Damaged`.

    It is read when others have been, and encoded in the block: those who wait hold no messages, which may have 25 MB.
    """
    broker, requests = services.broker, services.streams.reading.requests
    position = position_of(broker, id)
    async with requests.of(asked.scope.holder), broker.frames.encoding:
        page = await broker.log.read(asked.scope.reads, after=position - 1, limit=1, max_bytes=1)
        if page.hole:
            raise Damaged(f"the message {id} cannot be read: the log has a hole there ({page.hole})")
        if not page.messages or page.messages[0].id != id:
            raise NotFound(f"the log has no message {id}")
        asked.scope.check_sees(page.messages[0])
        yield page.messages[0]


def _slowly(services: Services, data: bytes, end: bytes = b"") -> AsyncIterator[bytes]:
    """The response with some data, which is counted while the client reads it."""
    return _counted(services.streams.held, data, end, request.path, abort_of(request))


async def _counted(held: HeldBytes, data: bytes, end: bytes, what: str, abort: Cut) -> AsyncIterator[bytes]:
    holder = object()
    try:
        held.hold(holder, data, len(data), what=what, cut=abort)
        for piece in pieces(data):
            yield piece
        yield end
    finally:
        held.release(holder)
