"""Lifetime of a hub in the log: a line when it has started, and one with the reason when it has stopped."""

import logging
import signal
from collections.abc import Sequence
from time import monotonic
from types import TracebackType

from ..access.sources import Source, Sources
from ..errors import describe
from ..log.sealing import key_id
from ..version import __version__
from .config import Config

logger = logging.getLogger(__package__)


class Lifetime:
    """Context manager around a hub. What fails before the hub has started is told by whoever started it."""

    def __init__(self) -> None:
        self._started_s: float | None = None
        self._signal = ""
        self._ending_s = 0.0

    def begin(self) -> None:
        """Note that the hub has started."""
        self._started_s = monotonic()

    def end_by(self, number: int) -> None:
        """Note that a signal ends the hub; the first counts."""
        if not self._signal:
            self._signal, self._ending_s = signal.Signals(number).name, monotonic()

    def __enter__(self) -> "Lifetime":
        return self

    def __exit__(self, _: object, error: BaseException | None, __: TracebackType | None) -> None:
        if self._started_s is None:
            return
        now_s = monotonic()
        level, why = (logging.ERROR, describe(error)) if error else (logging.INFO, self._signal)
        up_s, stopping_s = now_s - self._started_s, now_s - self._ending_s if self._signal else 0.0
        fields = {"why": why, "up_s": round(up_s, 3), "stopping_s": round(stopping_s, 3)}
        logger.log(level, "the hub has stopped", extra=fields)


def log_start(config: Config, urls: Sequence[str], sources: Sources) -> None:
    """Log that a hub has started: its version, its addresses, its store, what it keeps, its routers and its sources."""
    kept = config.retention
    fields = {
        "version": __version__,
        "urls": " ".join(urls),
        "public_url": config.public_url,
        "advertise": config.advertise,
        "store": str(config.store),
        "data_dir": str(config.data_dir),
        "at_rest_keys": ",".join(map(key_id, config.at_rest_keys)),
        "keep_s": kept.max_age_s,
        "keep_count": kept.max_count,
        "keep_bytes": kept.max_bytes,
        "keep_unsafe_bytes": kept.max_unsafe_bytes,
        "routers": ",".join(config.routers),
        "sources": ",".join(map(_shown, sources)),
    }
    logger.info("the hub has started", extra=fields)


def _shown(source: Source) -> str:
    return f"{source.provider.name}:{source.topic}"
