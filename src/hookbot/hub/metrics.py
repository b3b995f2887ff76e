"""Metrics of a hub as it runs: its version, configuration, certificate, connections and disk."""

import platform
import shutil
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import trio

from ..threads import ThreadLimiter
from ..version import __version__
from ..web.figures import add_alerts, add_consumers, add_family, add_quotas
from ..web.metrics import Metrics
from ..web.services import Services
from ..web.tls import Tls
from .config import Config
from .reload import Reloads

# If the disk hangs, so does whoever looks at it, for as long: not one thread more for each scrape.
_disk_thread = ThreadLimiter("thread that looks at the disk", 1)


def add_all(services: Services, config: Config, tls: Tls | None, reloads: Reloads) -> None:
    """Add everything to the metrics of a hub that needs more than its services."""
    metrics, started_s = services.metrics, services.broker.clock() / 1e6
    add_consumers(metrics, services.consumers)
    add_quotas(metrics, services.broker, services.access, services.consumers)
    add_family(metrics, services.broker.log)
    add_alerts(metrics, services.alerts)
    _add_reloads(metrics, reloads)
    info = __version__, platform.python_version(), _store(config)
    metrics.add("gauge", "build_info", "1.", lambda: {info: 1}, label=("version", "python", "store"))
    metrics.add("gauge", "start_time_seconds", "Time at which the hub started.", lambda: started_s)
    metrics.add("gauge", "connections", "Open connections.", partial(_connections, services), label="kind")
    if tls:
        expiry = "Time at which the first certificate of the chain in use expires."
        metrics.add("gauge", "certificate_expiry_timestamp_seconds", expiry, lambda: tls.expires_s)
    if _store(config) == "sqlite":
        metrics.add_loaded(
            partial(_disk, config.data_dir),
            ("disk_used_bytes", "Bytes that the log takes on its disk, with what is set aside.", ()),
            ("disk_free_bytes", "Bytes that are free for the hub on the disk of the log.", ()),
        )


def _add_reloads(metrics: Metrics, reloads: Reloads) -> None:
    metrics.add(
        "counter",
        "reloads",
        "Reloads of the configuration.",
        lambda: {"success": reloads.succeeded, "failure": reloads.failed},
        label="result",
    )
    metrics.add(
        "gauge", "config_last_reload_successful", "0 if the last reload failed.", lambda: not reloads.last_failed
    )
    since = "Time at which the present configuration was read."
    metrics.add("gauge", "config_timestamp_seconds", since, lambda: reloads.at_us / 1e6)


def _store(config: Config) -> str:
    return "postgresql" if config.shared else str(config.store).partition(":")[0] or "sqlite"


def _connections(services: Services) -> Mapping[str, float]:
    return {kind: count() for kind, count in services.connections.items()}


async def _disk(directory: Path) -> Mapping[str, Any]:
    used, free = await trio.to_thread.run_sync(_look, directory, abandon_on_cancel=True, limiter=_disk_thread())
    return {"disk_used_bytes": used, "disk_free_bytes": free}


def _look(directory: Path) -> tuple[int, int]:
    used = 0
    for file in directory.glob("hookbot.*"):
        # SQLite may have removed it meanwhile.
        with suppress(FileNotFoundError):
            used += file.stat().st_blocks * 512
    return used, shutil.disk_usage(directory).free
