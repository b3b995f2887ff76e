"""Meter of websocket frames: it bounds a message that a hub sends, before trio-websocket keeps what has arrived."""

from ..errors import BodyTooLarge, Lost

# trio-websocket keeps up to 84 bytes for a piece: a frame, or what one read brings of a longer frame. Messages of the
# largest size, in segments of a slow network, come in a fifth as many.
MAX_PIECES = 1_000_000

# The first byte of a frame, and the second (RFC 6455, section 5.2).
_FINAL = 0x80
_CONTROL = 0x08
_LENGTH = 0x7F
_LONGER = {126: 2, 127: 8}


class FrameMeter:
    """The size of the message that is arriving.

    trio-websocket limits a message to a number of characters, which are up to four bytes each, and its fragments, which
    may be empty, not at all.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        # The beginning of a header that has not arrived whole, and what is missing of the payload before it.
        self._held = b""
        self._missing = 0
        self._size = self._pieces = 0
        self._finished = False

    def feed(self, data: bytes | bytearray) -> None:
        """Count bytes that have arrived.

        Raises `BodyTooLarge` for a message that is, or declares to be, longer than `max_bytes`, and `Lost` for one in
        too many pieces. Control frames are not counted: nothing of them is kept.
        """
        data = self._held + data
        at = self._missing
        self._pieces += at > 0
        while (payload := _payload(data, at)) is not None:
            if not data[at] & _CONTROL:
                self._count(payload[1], final=bool(data[at] & _FINAL))
            at = sum(payload)
        self._held, self._missing = bytes(data[at:]), max(0, at - len(data))
        if self._pieces > MAX_PIECES:
            raise Lost("the hub sends a message in too many pieces")

    def _count(self, size: int, *, final: bool) -> None:
        if self._finished:
            self._size = self._pieces = 0
        self._finished = final
        self._pieces += 1
        self._size += size
        if self._size > self._max_bytes:
            raise BodyTooLarge("the hub has a message that is larger than this listener accepts: raise max_body_bytes")


def _payload(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
    """Start and size of the payload of the frame whose header is here; None if the header is not whole."""
    if len(data) < at + 2:
        return None
    size = data[at + 1] & _LENGTH
    begin = at + 2 + (more := _LONGER.get(size, 0))
    if len(data) < begin:
        return None
    return begin, int.from_bytes(data[at + 2 : begin]) if more else size
