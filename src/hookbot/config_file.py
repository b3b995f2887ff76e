"""The configuration file: TOML, in which every option of ``hookbot serve`` can stand, and sources and routers besides.

What is wrong is told with the line on which it stands.
"""

import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from .errors import ConfigError


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file, read and sorted, but not understood."""

    path: Path | None = None
    text: str = field(default="", repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)
    """The options of `serve`, by their names without dashes."""
    sources: Sequence[Mapping[str, Any]] = ()
    routers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, known: Collection[str]) -> "ConfigFile":
        """Read a file; `known` are the options that there are. Raises `ConfigError`."""
        try:
            text = path.read_text()
            tables = tomllib.loads(text)
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{path}: {error}") from None
        sources, routers = tables.pop("sources", []), tables.pop("routers", {})
        if not _are_tables(sources, list) or not _are_tables(routers, dict):
            raise ConfigError(f"{path}: sources are [[sources]], and routers [routers.NAME]")
        file = cls(path, text, {name.replace("-", "_"): value for name, value in tables.items()}, sources, routers)
        for name in tables:
            if name.replace("-", "_") not in known:
                raise file.error(name, f"there is no option {name!r}{suggestion(name, known)}")
        return file

    def error(self, key: str, reason: str, *, after: int = 0) -> ConfigError:
        """What is wrong with `key`, the first one after line `after`, as the error that says so."""
        return ConfigError(f"{self.path}:{self.line_of(key, after=after)}: {reason}")

    def line_of(self, key: str, *, after: int = 0) -> int:
        """The line on which a key or the header of a table stands, from line `after` on; `after` itself if nowhere."""
        pattern = re.compile(rf"\s*(?:{re.escape(key)}\s*=|\[+{re.escape(key)}\]+)".replace("_", "[-_]"))
        lines = self.text.splitlines()
        return next((n for n in range(after + 1, len(lines) + 1) if pattern.match(lines[n - 1])), max(after, 1))

    def line_of_source(self, index: int) -> int:
        """The line on which a source begins, counting sources from 0."""
        line = 0
        for _ in range(index + 1):
            line = self.line_of("sources", after=line)
        return line


def suggestion(name: str, known: Collection[str]) -> str:
    """`, did you mean ...`, where something is close."""
    close = get_close_matches(name.replace("-", "_"), known, n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def _are_tables(value: Any, kind: type) -> bool:
    values = value.values() if isinstance(value, dict) else value
    return isinstance(value, kind) and all(isinstance(table, dict) for table in values)
