"""Refusals: which requests the hub refused lately, and why, for those who look for the reason.

They are kept in memory only, and logged. They hold no secret, not even a wrong one.
"""

import logging
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from trio.lowlevel import ParkingLot

from ..errors import Unauthorized
from ..log.trusted_clock import TrustedClock
from ..protocol.replies import asks_reply
from ..protocol.request import Request
from .client_address import client_network
from .rate_limits import Bucket, Rate
from .request_fields import MAX_METHOD, read_path, request_fields, shown
from .source_activity import SourceActivity
from .sources import Source

# About 3 MiB if all topics are as long as they may be.
MAX_REFUSALS = 1000
MAX_OF_NETWORK = 100
"""Share of one client network, so that a flood of its requests displaces its own."""

# Of each status. To log one takes longer than all else about it, and untrusted clients can be refused without end.
LINES = Rate(10, 1)

MAX_REASON = 300
MAX_DELIVERY = 80

_SUBSCRIPTIONS = ("/sub/", "/unsafe/sub/")
_OPERATORS = b"/hookbot/"
# Of requests to the hub's own API, only those for which somebody may have guessed.
_TOLD_TO_OPERATORS = frozenset({401, 403, 429})

logger = logging.getLogger(__package__)


@dataclass(slots=True, eq=False)
class Refusal:
    """A refused request, and how often it was repeated by its client network with the same path, status and reason."""

    number: int
    """Number of the newest of them, higher than that of any earlier refusal."""
    first: int
    """Number of the first of them, which stays."""
    time_us: int
    last_us: int
    status: int
    reason: str
    method: str
    path: str
    """Decoded if it is well-formed, without the query; both empty if the request could not be read."""
    topic: str | None
    """Topic that the path names, for those who may see it."""
    client: str
    provider: str
    """Name of the provider of the topic's source; empty without one."""
    delivery: str
    """Id that the sender gave the first of them."""
    network: str
    activity: SourceActivity | None
    """That of the source, if it was a publish."""
    count: int = 1


class Refusals:
    """The newest refusals: at most `MAX_REFUSALS`, and `MAX_OF_NETWORK` of one client network."""

    def __init__(self, find_source: Callable[[str], Source | None], clock: TrustedClock) -> None:
        self._find_source = find_source
        self._clock = clock
        self._number = 0
        # The keys are hashes, because what they are made of may hold a secret.
        self._all: OrderedDict[int, Refusal] = OrderedDict()
        self._of_network: dict[str, OrderedDict[int, None]] = {}
        self._waiting = ParkingLot()
        self._lines: defaultdict[int, Bucket] = defaultdict(lambda: Bucket(LINES))
        self._left_out: Counter[int] = Counter()
        """Number of refusals that were not logged since the last one that was, by status."""

    @property
    def number(self) -> int:
        """Number of the newest refusal; 0 before the first."""
        return self._number

    def note(self, request: Request, reason: str, status: int) -> None:
        """Note a refused request, and log it within the rate of `LINES`.

        Takes a few microseconds, whatever was sent, unless it is logged.
        """
        if status not in _TOLD_TO_OPERATORS and request.raw_path.startswith(_OPERATORS):
            return
        now_us, network = self._clock(), client_network(request.client)
        key = hash((network, request.raw_path, status, reason))
        self._number += 1
        if logger.isEnabledFor(logging.INFO):
            self._log(request, reason, status)
        refusal = self._all.get(key)
        if refusal:
            refusal.number, refusal.last_us = self._number, now_us
            refusal.count += 1
            self._all.move_to_end(key)
            self._of_network[network].move_to_end(key)
        else:
            refusal = self._read(request, reason, status, network, now_us)
            self._add(key, refusal)
        if refusal.activity:
            refusal.activity.refuse(self._clock.monotonic_s, refusal.reason)
        if self._waiting:
            self._waiting.unpark_all()

    def newest(self, before: int | None = None) -> Iterator[Refusal]:
        """The refusals, newest first; those whose number is lower than `before`. To be read without waiting."""
        return (refusal for refusal in reversed(self._all.values()) if before is None or refusal.number < before)

    def after(self, number: int) -> Sequence[Refusal]:
        """The refusals that were noted or repeated after `number`, oldest first."""
        return list(takewhile(lambda refusal: refusal.number > number, self.newest()))[::-1]

    async def wait_after(self, number: int) -> None:
        """Wait until there are any `after` this number."""
        while self._number <= number:
            await self._waiting.park()

    def _log(self, request: Request, reason: str, status: int) -> None:
        if self._lines[status].use(now_s=self._clock.monotonic_s):
            self._left_out[status] += 1
            return
        found = self._read(request, reason, status, "", 0)
        extra = {"status": status, **request_fields(request), "provider": found.provider, "delivery": found.delivery}
        logger.info("refused: %s", found.reason, extra={**extra, "more": self._left_out.pop(status, 0)})

    def _read(self, request: Request, reason: str, status: int, network: str, now_us: int) -> Refusal:
        path, topic = read_path(request.raw_path)
        source = None if topic is None else self._find_source(topic)
        delivery = source.provider.delivery_of(source.signed(request)) if source else None
        is_publish = request.method == "POST" or asks_reply(request.query)
        return Refusal(
            *(self._number, self._number, now_us, now_us, status),
            # The status stands beside it.
            shown(reason.removeprefix(f"{Unauthorized()}: "), MAX_REASON),
            request.method[:MAX_METHOD],
            path,
            topic,
            request.client,
            source.provider.name if source else "",
            (delivery or "")[:MAX_DELIVERY],
            network,
            source.activity if source and is_publish and not path.startswith(_SUBSCRIPTIONS) else None,
        )

    def _add(self, key: int, refusal: Refusal) -> None:
        of_network = self._of_network.get(refusal.network, ())
        if len(of_network) >= MAX_OF_NETWORK:
            self._forget(next(iter(of_network)))
        elif len(self._all) >= MAX_REFUSALS:
            self._forget(next(iter(self._all)))
        self._all[key] = refusal
        self._of_network.setdefault(refusal.network, OrderedDict())[key] = None

    def _forget(self, key: int) -> None:
        network = self._all.pop(key).network
        of_network = self._of_network[network]
        del of_network[key]
        if not of_network:
            del self._of_network[network]
