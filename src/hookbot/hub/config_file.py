"""The configuration file: TOML with options of ``hookbot serve`` and with sections, such as sources and quotas.

Every mistake is reported with its line.
"""

import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import KINDS, ConfigError, did_you_mean, kind_of
from ..protocol.pasted import read_text, unseen_in

_HEADER = re.compile(r"\s*\[+\s*([^\]]*?)\s*\]")
# What TOML allows around the names in a header; two names that differ only in it are improbable.
_QUOTED = re.compile(r"[\"'\s]")
# What other formats and word processors write in place of TOML, the first one that is found.
_HINTS = (
    (re.compile("[“”„‘’«»]"), "quotation marks are \" or '"),
    (re.compile(r"^\s*([{;]|export\s|[\w-]+\s*:)"), "TOML has NAME = VALUE, and # before a comment"),
    (re.compile(r'"[^"]*\\'), "in double quotation marks, a backslash begins an escape: use single ones"),
    (re.compile(r"=\s*[^\s\"'\[{#]"), "text stands in quotation marks"),
)
_REQUIRED = object()


class Mistakes(ConfigError):
    """Mistakes in one table, each with its key and a reason."""

    def __init__(self, *mistakes: tuple[str, str]) -> None:
        super().__init__("\n".join(f"{key}: {reason}" for key, reason in mistakes))
        self.mistakes = list(mistakes)


class Table:
    """One table of a file, read key by key. Mistakes are collected, and raised together by `check`."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = dict(values)
        """Values that have not been taken yet."""
        self._mistakes: list[tuple[str, str]] = []

    def take(
        self, key: str, kind: type, convert: Callable[[Any], Any] | None = None, *, default: Any = _REQUIRED
    ) -> Any:
        """Remove a key and return its value, converted, or None if there is a mistake, which `check` will raise.

        `convert` raises `ConfigError` for a wrong value. A missing key has the value `default`, which is not converted;
        without one it is a mistake.
        """
        value = self.values.pop(key, default)
        if value is _REQUIRED:
            self.wrong(key, f"the key {key!r} is missing")
            return None
        if value is default:
            return value
        # Exactly this type, since a bool is an int. The message does not show the value, which may be a secret.
        if type(value) is not kind:
            self.wrong(key, f"{key} must be {KINDS[kind]}, not {kind_of(value)}")
            return None
        try:
            return convert(value) if convert else value
        except ConfigError as error:
            self.wrong(key, str(error))
            return None

    def wrong(self, key: str, reason: str) -> None:
        """Add a mistake, which `check` will raise."""
        self._mistakes.append((key, reason))

    def wrong_keys(self, keys: Iterable[str], lacks: str, known: Collection[str]) -> None:
        """Add a mistake for each of these keys, with the one of `known` that is meant; `lacks` says what has none."""
        for key in keys:
            close = did_you_mean(key, known)
            self.wrong(key, f"{lacks} {key!r}{close and f', {close}'}")

    def check(self) -> None:
        """Raise `Mistakes` if there are any."""
        if self._mistakes:
            raise Mistakes(*self._mistakes)


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A parsed file, split into options and sections. Their values are not checked yet."""

    path: Path | None = None
    text: str = field(default="", repr=False)
    # Options and sections may contain secrets, as the text does.
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Options of ``hookbot serve``, by their names in the file."""
    sources: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    routers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    retention: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    quotas: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    reply_default: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The answer to senders that wait for a reply, where there is none; empty if nothing is written."""
    alerts: Sequence[Mapping[str, Any]] = field(default=(), repr=False)

    @classmethod
    def read(cls, path: Path) -> "ConfigFile":
        """Read and parse a file. Raises `ConfigError`."""
        text = read_text(path)
        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise _syntax_error(path, text, str(error)) from None
        sources, routers = tables.pop("sources", []), tables.pop("routers", {})
        retention, quotas = tables.pop("retention", {}), tables.pop("quotas", {})
        reply_default, alerts = tables.pop("reply_default", {}), tables.pop("alerts", [])
        file = cls(path, text, tables, sources, routers, retention, quotas, reply_default, alerts)
        if not _are_tables(sources, list):
            raise file.error("each source is written as a section [[sources]]", "sources", "sources")
        if not _are_tables(routers, dict):
            raise file.error("the options of a router are written as a section [routers.NAME]", "routers", "routers")
        if not _are_tables(retention, dict):
            reason = 'what is kept of some topics is written as a section [retention."TOPIC/"]'
            raise file.error(reason, "retention", "retention")
        if not _are_tables(quotas, dict):
            raise file.error('the quota of topics is written as a section [quotas."TOPIC/"]', "quotas", "quotas")
        if not isinstance(reply_default, dict):
            reason = "the answer where nobody replies is written as a section [reply_default]"
            raise file.error(reason, "reply_default")
        if not _are_tables(alerts, list):
            raise file.error("each alert is written as a section [[alerts]]", "alerts", "alerts")
        return file

    def error(self, reason: str, key: str = "", header: str = "", index: int = 0) -> ConfigError:
        """Error about `key`, with its line: in the `index`-th table with this header, or before all tables."""
        return ConfigError(f"{self.place(key, header, index)}: {reason}")

    def place(self, key: str, header: str = "", index: int = 0) -> str:
        """Path and line of `key`: in the `index`-th table with this header, or before all tables."""
        return f"{self.path}:{self._line(key, header, index)}"

    def _line(self, key: str, header: str, index: int) -> int:
        # tomllib does not report lines. A key that is not found gets the line of its table's header, or the first.
        lines = list(enumerate(self.text.splitlines(), 1))
        name = _QUOTED.sub("", header)
        headers = [n for n, line in lines if (match := _HEADER.match(line)) and _QUOTED.sub("", match[1]) == name]
        start = headers[index] if index < len(headers) else 0
        pattern = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=")
        for n, line in lines[start:]:
            if pattern.match(line):
                return n
            if _HEADER.match(line):
                break
        return max(start, 1)


def _syntax_error(path: Path, text: str, reason: str) -> ConfigError:
    # tomllib writes "(at line 1, column 2)" or "(at end of document)".
    problem, _, place = reason.partition(" (at ")
    line = re.match(r"line ([0-9]+)", place)
    lines = text.splitlines()
    number = int(line[1]) if line else len(lines)
    return ConfigError(f"{path}:{number}: {problem}{_hint(lines[number - 1])}")


def _hint(line: str) -> str:
    """Probable mistake in a line that is not TOML. It does not show the line, which may have a secret."""
    if unseen := unseen_in(line, allowed=" \t"):
        return f"; the line contains {unseen}"
    return next((f"; {hint}" for pattern, hint in _HINTS if pattern.search(line)), "")


def is_section(value: Any) -> bool:
    """True for the value of a key that is written as a section ``[KEY]``, ``[[KEY]]`` or ``[KEY.NAME]``."""
    return isinstance(value, dict) or (bool(value) and _are_tables(value, list))


def _are_tables(value: Any, kind: type) -> bool:
    tables: Any = value.values() if isinstance(value, dict) else value
    return isinstance(value, kind) and all(isinstance(table, dict) for table in tables)
