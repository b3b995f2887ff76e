"""Memory for the bodies of publishes, shared out so that no sender can use up what others need."""

from collections import Counter
from collections.abc import AsyncIterable
from io import BytesIO

import trio

from ..access.senders import Standing
from ..errors import BodyTooLarge, HookbotError, RequestTimeout, TooManyRequests, Unavailable
from .limits import ConnectionLimits
from .progress import UploadProgress

# Parts of the budget that senders of each standing may hold together with those of the standings below. With the
# default budget, and while slow subscribers of several formats are sent what arrives, the hub takes less than 400 MB in
# all, whoever sends.
PARTS = {Standing.UNKNOWN: 1 / 2, Standing.VERIFIED: 3 / 4, Standing.TOKEN: 1}

# Standings whose ceilings count the bytes of a sender: its own, and those above.
COUNTING = {standing: tuple(one for one in Standing if one >= standing) for standing in Standing}

# Part of the ceiling that one network may hold: by default about as much as the largest body, and far from all.
NETWORK_SHARE = 1 / 4

# The budget has room for so many of the largest bodies, so that each of these parts has room for one.
LARGEST_BODIES = 4

# A sender that has too many bytes under way is usually through with them in seconds.
RETRY_AFTER_S = 5


class BodyBudget:
    """Memory budget for bodies, from their first byte until they are answered: bounds each, and all of them together.

    Unknown senders together may hold half of it, together with recently verified ones three quarters. So the verified
    have a quarter that no unknown sender can take, and requests with a token a quarter that nobody else can. One
    network may hold a quarter of its ceiling, or one body of the largest size if that is more; this does not apply to
    requests with a token.
    """

    def __init__(
        self,
        max_body_bytes: int,
        max_bytes: int,
        limits: ConnectionLimits = ConnectionLimits(),  # noqa: B008 - frozen
    ) -> None:
        self.max_body_bytes = max_body_bytes
        self.limits = limits
        self.refused: Counter[str] = Counter(share=0, full=0, slow=0)
        """Number of bodies that were refused, by reason."""
        total = max(max_bytes, LARGEST_BODIES * max_body_bytes)
        self._ceilings = {standing: int(total * part) for standing, part in PARTS.items()}
        self._held = dict.fromkeys(Standing, 0)
        """Bytes of each standing together with those of the standings below."""
        self._held_by: Counter[str] = Counter()
        """Bytes by network, of those without a token."""

    @property
    def held_bytes(self) -> int:
        """Bytes of all bodies that are being received, verified or stored."""
        return self._held[Standing.TOKEN]

    def open(self, max_body_bytes: int | None, standing: Standing, network: str) -> "IncomingBody":
        """A new body of at most `max_body_bytes`, capped by the budget's. Use it as a context manager, or close it."""
        size = self.max_body_bytes if max_body_bytes is None else min(max_body_bytes, self.max_body_bytes)
        return IncomingBody(self, size, standing, network)

    def hold(self, size: int, standing: Standing, network: str) -> None:
        """Count received bytes. Raises `TooManyRequests` beyond a network's share, `Unavailable` beyond a ceiling."""
        if standing is not Standing.TOKEN:
            share = max(self._ceilings[standing] * NETWORK_SHARE, self.max_body_bytes)
            if self._held_by[network] + size > share:
                too_many = TooManyRequests("too many bytes of requests from you at once", retry_after_s=RETRY_AFTER_S)
                raise self.refusal("share", too_many)
            self._held_by[network] += size
        full = False
        for one in COUNTING[standing]:
            self._held[one] += size
            full = full or self._held[one] > self._ceilings[one]
        if full:
            self.release(size, standing, network)
            error = Unavailable("the hub is receiving too many request bodies at once; try again")
            raise self.refusal("full", error)

    def release(self, size: int, standing: Standing, network: str) -> None:
        """Give bytes back."""
        for one in COUNTING[standing]:
            self._held[one] -= size
        if standing is not Standing.TOKEN:
            self._held_by[network] -= size
            if not self._held_by[network]:
                del self._held_by[network]

    def refusal(self, reason: str, error: HookbotError) -> HookbotError:
        """Count that a body is refused, and return the error."""
        self.refused[reason] += 1
        return error


class IncomingBody:
    """A request body that is being received: whole, or in chunks that are collected in one buffer.

    What comes in chunks has to go on: the `deadline` moves with every `ConnectionLimits.min_body_bytes`, not with every
    byte.
    """

    __slots__ = (
        "_begun_at",
        "_budget",
        "_chunks",
        "_max_bytes",
        "_network",
        "_progress",
        "_size",
        "_standing",
    )

    def __init__(self, budget: BodyBudget, max_bytes: int, standing: Standing, network: str) -> None:
        self._budget = budget
        self._max_bytes = max_bytes
        self._standing = standing
        self._network = network
        self._size = 0
        self._chunks: BytesIO | None = None
        """Buffer for the chunks; None before `begin`, and once it is closed."""

    def begin(self) -> BytesIO:
        """Wait for chunks from now on; the buffer for them."""
        self._chunks = BytesIO()
        self._progress = UploadProgress(self._budget.limits.min_body_bytes)
        self._begun_at = self._progress.made_at
        return self._chunks

    @property
    def moved_at(self) -> float:
        """Time at which its chunks began, or last made progress."""
        return self._progress.made_at

    @property
    def deadline(self) -> float:
        """Time by which the body has to be whole or to have made progress, on Trio's clock."""
        limits = self._budget.limits
        return min(self._begun_at + limits.body_s, self.moved_at + limits.slow_s)

    def hold(self, size: int) -> None:
        """Count bytes of a body that is there, whole or in part. Raises `BodyTooLarge`, and as `BodyBudget.hold`."""
        if self._size + size > self._max_bytes:
            raise BodyTooLarge.than(self._max_bytes)
        self._budget.hold(size, self._standing, self._network)
        self._size += size

    def write(self, chunk: bytes | bytearray) -> None:
        """Append a chunk; raises as `hold`."""
        chunks = self._chunks or self.begin()
        self.hold(len(chunk))
        chunks.write(chunk)
        self._progress.count(len(chunk))

    async def receive(self, chunks: AsyncIterable[bytes]) -> bytes:
        """Append all chunks, and return the whole body. Raises `RequestTimeout` if they come too slowly."""
        self.begin()
        with trio.CancelScope(deadline=self.deadline) as patience:
            async for chunk in chunks:
                self.write(chunk)
                patience.deadline = self.deadline
        if patience.cancelled_caught:
            raise self.time_out()
        return self.whole()

    def time_out(self) -> HookbotError:
        """Count that the body is too slow, and return the error for its sender."""
        error = RequestTimeout("the request did not arrive in time")
        return self._budget.refusal("slow", error)

    def whole(self) -> bytes:
        """All chunks, not copied. They count until the body is closed."""
        return self._chunks.getvalue() if self._chunks else b""

    def close(self) -> None:
        """Forget the body, which no longer counts. May be called again."""
        self._budget.release(self._size, self._standing, self._network)
        self._size = 0
        self._chunks = None

    def __enter__(self) -> "IncomingBody":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
