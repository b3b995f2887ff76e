"""What options of several commands have in common: durations, sizes, where the data lies."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..access.client_address import TrustedProxies
from ..access.rate_limits import Rate
from ..errors import ConfigError
from ..hub.config import default_data_dir, parse_address
from ..protocol.since import parse_duration

_SIZE = re.compile(r"([0-9]{1,15})(B|[KMGT]i?B?)?", re.IGNORECASE)
_SHIFTS = {"b": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


class Duration(click.ParamType[float]):
    """Seconds, as ``90s``, ``10m``, ``2h`` or ``7d``, or a bare number of seconds."""

    name = "duration"

    def __init__(self, *, positive: bool = False) -> None:
        self._positive = positive

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Called by click."""
        text = str(value)
        try:
            seconds = float(text if _SECONDS.fullmatch(text) else parse_duration(text))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if self._positive and not seconds:
            self.fail("it has to be more than 0", param, ctx)
        return seconds


class Size(click.ParamType[int]):
    """Bytes, as ``25MiB`` or ``1GiB``, or a bare number of them; powers of 1024."""

    name = "size"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Called by click."""
        match = _SIZE.fullmatch(str(value))
        if match is None:
            self.fail(f"not a size such as 25MiB or 1GiB: {value!r}", param, ctx)
        return int(match[1]) << _SHIFTS[(match[2] or "b")[0].lower()]


class Parsed(click.ParamType[Any]):
    """Whatever a function makes of text; it raises `ConfigError`."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Called by click."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ConfigError as error:
            self.fail(str(error), param, ctx)


EXISTING_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
DURATION = Duration()
INTERVAL = Duration(positive=True)
SIZE = Size()
ADDRESS = Parsed("address", lambda text: (parse_address(text), text)[1])
RATE = Parsed("rate", Rate.parse)
PROXIES = Parsed("proxies", TrustedProxies.parse)
data_dir = click.option(
    "--data-dir",
    envvar="HOOKBOT_DATA_DIR",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_data_dir,
    show_default="the platform's state directory",
    help="Where the log and the generated secrets are kept.",
)
