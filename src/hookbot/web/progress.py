"""Progress: when a client last sent enough to be waited for."""

import trio


class UploadProgress:
    """Time of the last progress of what a client sends: every `least` bytes are one, not every byte."""

    __slots__ = ("_least", "_recent", "made_at")

    def __init__(self, least: int) -> None:
        self.made_at = trio.current_time()
        """Time of the last progress, or of the beginning."""
        self._least = least
        self._recent = 0
        """Bytes since `made_at`."""

    def count(self, size: int) -> None:
        """Count received bytes."""
        self._recent += size
        if self._recent >= self._least:
            self.make()

    def make(self) -> None:
        """Note progress by something else than bytes."""
        self._recent = 0
        self.made_at = trio.current_time()
