"""Deletions: messages that somebody deletes by their positions, and that no cache of this hub holds from then on."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from ..log.contract import Forget, Log
from .writer import Writer


class Deletions:
    """Deletes messages from the log, between the batches of the writer, and tells the holders of messages in memory."""

    def __init__(self, log: Log, writer: Writer, *holders: Forget) -> None:
        self._log = log
        self._writer = writer
        self._holders = dict.fromkeys(holders)
        self.number = 0
        """Number of deletions of which the holders were told."""
        log.follow_deletions(self._forget)

    async def delete(self, positions: Collection[int]) -> int:
        """Delete the messages at these positions, in bounded steps, and return how many there were.

        Then nothing is left of their bytes in this hub's files. If it fails or is cancelled, the steps before stay
        done, and what is left is erased later. Raises `Unavailable`.
        """
        number = await self.take_out(positions)
        await self.erase()
        return number

    async def take_out(self, positions: Collection[int]) -> int:
        """Delete messages as `delete`, but leave their bytes for `erase`, for who deletes more."""
        # Copies before what they were made of.
        number, rest = 0, sorted(positions, reverse=True)
        while rest:
            async with self._writer.between_batches():
                step = await self._log.delete(rest)
            self._writer.flush()
            number, rest = number + step.number, [*step.rest]
        return number

    async def erase(self) -> None:
        """Leave nothing in this hub's files of what was taken out. Raises `Unavailable` if something prevents it."""
        while await self._erase_step():
            self._writer.flush()

    @contextmanager
    def told_to(self, forget: Forget) -> Iterator[None]:
        """Tell a further holder until the block ends."""
        self._holders[forget] = None
        try:
            yield
        finally:
            del self._holders[forget]

    async def _erase_step(self) -> bool:
        async with self._writer.between_batches():
            return await self._log.erase()

    def _forget(self, positions: Collection[int] | None) -> None:
        """Tell all holders what was deleted, by whichever hub."""
        self.number += 1
        gone = None if positions is None else frozenset(positions)
        for forget in tuple(self._holders):
            forget(gone)
