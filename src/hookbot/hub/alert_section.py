"""An ``[[alerts]]`` section of a configuration file, as the rule that it means."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..alerts.backlogs import BacklogRule
from ..alerts.subjects import AlertKind, Subject
from ..broker.backlogs import COUNT_LIMIT
from ..errors import ConfigError, Refused
from ..protocol.paths import path_of, wanted_at
from ..protocol.subscribe import check_name
from .config_file import Mistakes, Table
from .source_section import duration, positive

READERS: Sequence[AlertKind] = ("cursor", "group", "router")
ALERT_KEYS = (*READERS, "path", "behind", "for")
"""Keys of a section."""
# Each is looked at every ten seconds.
MAX_ALERTS = 100
FOR_S = 600


def parse_alert(section: Mapping[str, Any]) -> BacklogRule:
    """Rule of a section. Raises `Mistakes`, with all of them."""
    table = Table(section)
    named = [kind for kind in READERS if kind in section]
    if len(named) != 1:
        raise Mistakes(("", f"an alert is about one of {', '.join(READERS)}: name one of these, and only that"))
    [kind] = named
    name = table.take(kind, str, _name)
    path = "" if kind == "router" else table.take("path", str, _path)
    rule = BacklogRule(
        Subject(kind, name, path),
        behind=table.take("behind", int, _countable),
        for_s=table.take("for", str, duration, default=FOR_S),
    )
    known = ("router", "behind", "for") if kind == "router" else (kind, "path", "behind", "for")
    table.wrong_keys(table.values, f"an alert about a {kind} has no key", known)
    table.check()
    return rule


def _name(text: str) -> str:
    try:
        return check_name("the name", text)
    except Refused as error:
        raise ConfigError(str(error)) from None


def _path(text: str) -> str:
    try:
        return path_of(wanted_at(text))
    except Refused as error:
        raise ConfigError(str(error)) from None


def _countable(number: int) -> int:
    if positive(number) > COUNT_LIMIT:
        raise ConfigError(f"must be at most {COUNT_LIMIT}: whoever has more to catch up with is far behind")
    return number
