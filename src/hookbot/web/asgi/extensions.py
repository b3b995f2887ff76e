"""Extensions of ASGI: what the hub's app asks of its server, and does without on any other."""

from collections.abc import Callable, Iterator
from typing import Any

from quart import Request, Websocket

from ...protocol.envelope import LARGE_BODY

CONTINUE = "hookbot.continue"
"""ASGI extension: the app sends a message of this type before it reads the body. Only then is a client invited to send
it (``Expect: 100-continue``), and what has come of it is parsed."""

MALFORMED = "hookbot.malformed"
"""ASGI extension: the app receives an event of this type, with an ``error``, where a body ends in malformed bytes."""

ABORT = "hookbot.abort"
"""ASGI extension: a function that ends the connection at once, in the middle of what is being sent."""

AUTHENTICATED = "hookbot.authenticated"
"""ASGI extension: a function that the app calls once a request has shown a good token or signature."""

MESSAGE = "hookbot.message"
"""ASGI extension of a websocket: the app sends a message of this type for one that is sent without being copied."""

# Of a large response, libraries copy one piece at a time.
PIECE_BYTES = 64 << 10


def abort_of(request: Request | Websocket) -> Callable[[], None]:
    """Function that ends the connection of a request at once; one that does nothing if the server has none."""
    scope: Any = request.scope
    abort: Callable[[], None] = scope.get("extensions", {}).get(ABORT, _nothing)
    return abort


async def send_message(websocket: Websocket, data: bytes, *, text: bool) -> None:
    """Send a message; the data of a text is UTF-8. A large one is not copied, if the server can do that."""
    scope: Any = websocket.scope
    if len(data) > LARGE_BODY and MESSAGE in scope.get("extensions", {}):
        await websocket.asgi_send({"type": MESSAGE, "text": text, "data": data})  # type: ignore[attr-defined]
    else:
        await websocket.send(data.decode() if text else data)


def pieces(data: bytes) -> Iterator[bytes]:
    """The data of a response in pieces of at most `PIECE_BYTES`."""
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]


def _nothing() -> None:
    """Leave the end of the connection to its timeouts."""
