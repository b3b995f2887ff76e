"""Messages, as the log has stored them."""

from collections.abc import AsyncIterator

import trio
from quart import Response, request

from ...broker.broker import Broker
from ...errors import Damaged, NotFound, Refused
from ...protocol.envelope import encode_envelope
from ...protocol.message import Message, parse_id
from ...protocol.paths import MESSAGES
from ...threads import hub_threads
from ..asgi import abort_of, pieces
from ..held_bytes import Cut, HeldBytes
from ..services import Services
from .operations import JSON, Api, Asked, Parameter

ID = Parameter("id", "Id of a message", required=True)


def add_messages(api: Api, services: Services) -> None:
    """Add the operations on messages."""

    async def show(asked: Asked, id: str) -> Response:
        # Read when others have been encoded, so that those who wait hold no messages.
        async with services.broker.frames.encoding:
            message = await find_message(services.broker, asked, id)
            envelope = await trio.to_thread.run_sync(encode_envelope, message, limiter=hub_threads())
            del message
        body = _slowly(services.streams.held, envelope, request.path, abort_of(request))
        return Response(body, content_type=JSON)

    api.add("GET", f"{MESSAGES}/<id>", show, "Show a message", parameters=[ID], answer=dict)


async def find_message(broker: Broker, asked: Asked, id: str) -> Message:
    """The message with an id. Raises `NotFound` if there is none that the request may see, and `Damaged`."""
    try:
        epoch, position = parse_id(id)
    except ValueError as error:
        raise Refused(str(error)) from None
    page = await broker.log.read(asked.scope.reads, after=position - 1, limit=1, max_bytes=1)
    if page.hole:
        raise Damaged(f"the message {id} cannot be read: the log has a hole there ({page.hole})")
    if epoch != broker.log.epoch or not page.messages or page.messages[0].id != id:
        raise NotFound(f"the log has no message {id}")
    asked.scope.check_sees(page.messages[0])
    return page.messages[0]


async def _slowly(held: HeldBytes, envelope: bytes, what: str, abort: Cut) -> AsyncIterator[bytes]:
    """The response with an envelope, which is counted while the client reads it."""
    holder = object()
    try:
        held.hold(holder, envelope, len(envelope), what=what, cut=abort)
        for piece in pieces(envelope):
            yield piece
        yield b"\n"
    finally:
        held.release(holder)
