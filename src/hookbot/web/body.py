"""The intake: bodies on their way in, each and all together bounded."""

from io import BytesIO

from ..errors import BodyTooLarge, Unavailable


class BodyBudget:
    """How much may be in memory of bodies that have not arrived whole."""

    def __init__(self, max_body_bytes: int, max_receiving_bytes: int) -> None:
        self.max_body_bytes = max_body_bytes
        self.max_receiving_bytes = max_receiving_bytes
        self.receiving_bytes = 0

    def open(self, max_body_bytes: int | None = None) -> "IncomingBody":
        """A new body, perhaps one that may not be as large as others; to be used as a block, or closed."""
        return IncomingBody(self, min(max_body_bytes or self.max_body_bytes, self.max_body_bytes))


class IncomingBody:
    """One body, chunk by chunk, held once in memory."""

    def __init__(self, bodies: BodyBudget, max_bytes: int) -> None:
        self._bodies = bodies
        self._max_bytes = max_bytes
        self._buffer = BytesIO()
        self._size = 0

    def write(self, chunk: bytes | bytearray) -> None:
        """Take a chunk; raises `BodyTooLarge`, or `Unavailable` when all bodies together are too large."""
        bodies = self._bodies
        if self._size + len(chunk) > self._max_bytes:
            raise BodyTooLarge(f"a body has at most {self._max_bytes} bytes")
        if bodies.receiving_bytes + len(chunk) > bodies.max_receiving_bytes:
            raise Unavailable("too much is being received at once; try again")
        self._size += len(chunk)
        bodies.receiving_bytes += len(chunk)
        self._buffer.write(chunk)

    def close(self) -> bytes:
        """The whole body, which no longer counts as being received."""
        self._bodies.receiving_bytes -= self._size
        self._size = 0
        return self._buffer.getvalue()

    def __enter__(self) -> "IncomingBody":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
