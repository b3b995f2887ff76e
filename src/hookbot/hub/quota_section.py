"""A ``[quotas."PREFIX"]`` section of a configuration file, as the quota that it means."""

from collections.abc import Callable, Mapping
from typing import Any

from ..access.quotas import Quota, QuotaKind
from ..access.rate_limits import Rate
from .config_file import Mistakes, Table
from .prefixes import parse_prefix
from .source_section import positive

LIMITS: Mapping[QuotaKind, tuple[type, Callable[[Any], Rate | int]]] = {
    "publishes": (str, Rate.parse),
    "bytes": (str, Rate.parse_bytes),
    "subscribers": (int, positive),
    "cursors": (int, positive),
}
"""Keys of a section, the kind of their values, and what reads these."""


def parse_quota(prefix: str, section: Mapping[str, Any]) -> Quota:
    """Quota of a section. Raises `ConfigError` for the prefix, and `Mistakes` for all in the section."""
    parse_prefix(prefix)
    table = Table(section)
    read = {name: table.take(name, kind, parse, default=None) for name, (kind, parse) in LIMITS.items()}
    table.wrong_keys(table.values, "a quota has no limit", LIMITS)
    table.check()
    limits = {name: limit for name, limit in read.items() if limit is not None}
    if not limits:
        raise Mistakes(("", f"it limits nothing: set one of {', '.join(LIMITS)}"))
    return Quota(prefix, limits, {name: section[name] for name in limits})
