"""The frame cache: the newest frames of all messages, bounded in size, and one large message encoded at a time."""

from collections import deque
from collections.abc import Hashable

import trio

# What is kept beside the bytes of a frame, as was measured. Of messages of a few bytes it is nearly all.
FRAME_BYTES = 350

Frames = dict[Hashable, bytes]
"""Frames of one message, by the encoding that made them."""


class FrameCache:
    """Frames that are kept for the next subscribers that need them: the newest up to `max_bytes`, or the newest one.

    Each takes its bytes and `FRAME_BYTES`.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: deque[tuple[Frames, Hashable, int]] = deque()
        self._bytes = 0
        self.cleared = 0
        """Number of times that it was cleared: what was begun before is not to be kept."""
        self.encoding = trio.Lock()
        """Held while a large message is encoded: that takes up to five times its size, and threads would not make it
        faster."""

    def keep(self, frames: Frames, key: Hashable, frame: bytes) -> None:
        """Add a frame to those of its message, in place of the oldest frames of any that are too much with it."""
        size = len(frame) + FRAME_BYTES
        self.make_room(size)
        frames[key] = frame
        self._kept.append((frames, key, size))
        self._bytes += size

    def clear(self) -> None:
        """Drop all frames, because the messages of some were deleted."""
        self.make_room(self._max_bytes)
        self.cleared += 1

    def make_room(self, size: int) -> None:
        """Drop the oldest frames until there is room for `size` bytes, or no frame is left."""
        while self._kept and self._bytes + size > self._max_bytes:
            oldest, its_key, freed = self._kept.popleft()
            self._bytes -= freed
            oldest.pop(its_key, None)
