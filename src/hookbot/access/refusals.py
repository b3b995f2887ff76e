"""Refusals: which requests the hub refused lately, and why, for those who look for the reason.

They are kept in memory only, and hold no secret, not even a wrong one.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile

from trio.lowlevel import ParkingLot

from ..errors import InvalidTopic, Unauthorized
from ..log.trusted_clock import TrustedClock
from ..protocol.paths import split_path
from ..protocol.request import Request
from ..protocol.topics import MAX_TOPIC_BYTES, RECURSIVE, RESERVED, decode_path
from .client_address import client_network
from .masking import masked
from .source_activity import SourceActivity
from .sources import Source

# About 3 MiB if all topics are as long as they may be.
MAX_REFUSALS = 1000
MAX_OF_NETWORK = 100
"""Share of one client network, so that a flood of its requests displaces its own."""

MAX_METHOD = 16
MAX_PATH = 200
MAX_REASON = 300
MAX_DELIVERY = 80

_SUBSCRIPTIONS = ("/sub/", "/unsafe/sub/")
_OPERATORS = b"/hookbot/"
# Of requests to the hub's own API, only those for which somebody may have guessed.
_TOLD_TO_OPERATORS = frozenset({401, 403, 429})


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

    @property
    def number(self) -> int:
        """Number of the newest refusal; 0 before the first."""
        return self._number

    def note(self, request: Request, reason: str, status: int) -> None:
        """Note a refused request. Takes a few microseconds, whatever was sent."""
        if status not in _TOLD_TO_OPERATORS and request.raw_path.startswith(_OPERATORS):
            return
        now_us, network = self._clock(), client_network(request.client)
        key = hash((network, request.raw_path, status, reason))
        self._number += 1
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

    def _read(self, request: Request, reason: str, status: int, network: str, now_us: int) -> Refusal:
        path, topic = _read_path(request.raw_path)
        source = None if topic is None else self._find_source(topic)
        delivery = source.provider.delivery_of(source.signed(request)) if source else None
        return Refusal(
            *(self._number, self._number, now_us, now_us, status),
            # The status stands beside it.
            _shown(reason.removeprefix(f"{Unauthorized()}: "), MAX_REASON),
            request.method[:MAX_METHOD],
            path,
            topic,
            request.client,
            source.provider.name if source else "",
            (delivery or "")[:MAX_DELIVERY],
            network,
            source.activity if source and request.method == "POST" and not path.startswith(_SUBSCRIPTIONS) else None,
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


def _read_path(raw_path: bytes) -> tuple[str, str | None]:
    """A path as it is shown, and the topic that it names, if any."""
    # No longer one names a topic, and to decode it takes some time.
    if len(raw_path) <= 4 * MAX_TOPIC_BYTES:
        with suppress(InvalidTopic):
            path = decode_path(raw_path)
            action, topic = split_path(path)
            is_topic = action or (topic and topic.partition("/")[0] not in RESERVED)
            return _shown(path, MAX_PATH), topic.removesuffix(RECURSIVE) if is_topic else None
    return _shown(raw_path[: 2 * MAX_PATH].decode("ascii", "backslashreplace"), MAX_PATH), None


def _shown(text: str, length: int) -> str:
    # Masked first: the part of a token might not look like one.
    text = masked(text[: 2 * length])
    return text if len(text) <= length else f"{text[: length - 1]}…"
