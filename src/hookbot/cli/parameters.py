"""Parameters of several commands: types of values, and shared options."""

import math
import re
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import click
from click.shell_completion import CompletionItem

from ..access.client_address import TrustedProxies
from ..access.rate_limits import Rate
from ..errors import ConfigError, system_reason
from ..hub.bind_address import BindAddress
from ..hub.config import parse_advertised, parse_origin, parse_public, parse_store, parse_unsafe
from ..hub.data_dir import default_data_dir
from ..hub.prefixes import parse_prefix
from ..hub.secret_store import read_at_rest_key
from ..protocol.message import Headers, parse_time
from ..protocol.pasted import check_seen, read_text, trim, unquote
from ..protocol.replies import MAX_WAIT_S
from ..protocol.since import parse_duration
from ..protocol.sizes import parse_size
from ..protocol.urls import without_secrets

_FRACTION = re.compile(r"([0-9]{1,9}\.[0-9]{1,9})s")
# Somebody who writes `keep = 7` does not mean seconds; nothing is nothing in any unit.
_BARE_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
_ZERO = re.compile(r"0(\.0+)?")
# SQLite stores even less (SQLITE_MAX_LENGTH). A pipe or a device may have no end.
_MAX_INPUT_BYTES = 1 << 30
_CHUNK_BYTES = 1 << 20
# As Python calls it, as one that was closed is called, and without a name.
_STDIN_NAMES = ("<stdin>", 0, None)

Given = Mapping[str, str | None]
"""Options given before the command: ``--key`` as `key`, ``--github-secret`` as `github_secret`."""

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class Duration(click.ParamType[float]):
    """Duration in seconds, written as ``0.5s``, ``90s``, ``10m``, ``2h``, ``7d`` or ``0``."""

    name = "duration"

    def __init__(self, *, positive: bool = False, at_most_s: float = math.inf) -> None:
        self._positive = positive
        self._at_most_s = at_most_s

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value)
        if _BARE_NUMBER.fullmatch(text) and not _ZERO.fullmatch(text):
            self.fail(f"a duration has a unit, as in 90s, 10m, 2h or 7d, and {text[:80]!r} has none", param, ctx)
        try:
            seconds = _seconds(text)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if self._positive and not seconds:
            self.fail("it must be more than 0", param, ctx)
        if seconds > self._at_most_s:
            self.fail(f"it must be at most {self._at_most_s:g}s, not {text[:80]}", param, ctx)
        return seconds


class Moment(click.ParamType[float]):
    """Time in seconds since 1970, written in RFC 3339 or in the format that `other` parses.

    `other` raises `ValueError` for another format. `complaint` is the error message, with ``{!r}`` for the text.
    """

    def __init__(self, name: str, other: Callable[[str], float], complaint: str) -> None:
        self.name = name
        self._other = other
        self._complaint = complaint

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if not isinstance(value, str):
            return value
        for read in (self._other, _time):
            try:
                return read(value)
            except ValueError:
                continue
        raise click.BadParameter(self._complaint.format(value), ctx, param)


class Size(click.ParamType[int]):
    """Size in bytes, written as ``512B``, ``25MiB``, ``1GiB`` or ``0``; units are powers of 1024."""

    name = "size"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        if _ZERO.fullmatch(text):
            return 0
        if _BARE_NUMBER.fullmatch(text):
            self.fail(f"a size has a unit, as in 512B, 25MiB or 1GiB, and {text[:80]!r} has none", param, ctx)
        try:
            return parse_size(text)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Directory(click.Path):
    """Path of a directory that may not exist yet. What only a shell replaces would make a new one here."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, file_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str):
            value = unquote(value)
            if value.startswith(("~", "$", "%")):
                self.fail(f"only a shell replaces the beginning of {value!r}: write the whole path", param, ctx)
        return super().convert(value, param, ctx)


class Parsed(click.ParamType[Any]):
    """Parameter type that converts a string with `parse`; its `ConfigError` becomes a usage error."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ConfigError as error:
            self.fail(str(error), param, ctx)


def ago(duration: str) -> float:
    """Time that is `duration` in the past, in seconds since 1970; raises `ValueError`."""
    return time.time() - parse_duration(duration)


def from_now(duration: str) -> float:
    """Time that is `duration` in the future, in seconds since 1970; raises `ValueError`."""
    return time.time() + parse_duration(duration)


def parse_header(text: str, *, show: bool = True) -> tuple[str, str]:
    """Name and value of ``Name: value``. Raises `ConfigError`, with the text only if `show`, as it may be a secret."""
    name, colon, value = (trim(part) for part in text.partition(":"))
    if not colon or not name:
        raise ConfigError("a header must be 'Name: value'" + (f", not {text!r}" if show else ""))
    return name, check_seen(value, f"the header {name[:80]!r}", allowed=" \t")


def parse_option(text: str) -> tuple[str, Any]:
    """Name and value of ``NAME=VALUE``; a VALUE that is not TOML is a string. Raises `ConfigError` without a ``=``."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"an option must be NAME=VALUE, not {text!r}")
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value


def read_headers(given: Iterable[str]) -> Headers:
    """Headers of ``--header 'Name: value'`` and ``--header @FILE``.

    Raises `ConfigError`, which shows no header, if one is malformed or a file cannot be read.
    """
    return tuple(
        header for text in given for header in (_in_file(text[1:]) if text.startswith("@") else [_hidden(text)])
    )


def completed(
    names: Callable[[], Iterable[str]], *, or_file: bool = False
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Completion of a value by the shell: those of `names` that begin like it; if there is none, `or_file`, a path."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        found = [CompletionItem(name) for name in names() if name.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="file")] * or_file

    return complete


def read_input(file: BinaryIO, max_bytes: int = _MAX_INPUT_BYTES) -> bytes:
    """Content of a file that a command was given, or of standard input. Raises `ConfigError`."""
    name = getattr(file, "name", None)
    if name in _STDIN_NAMES:
        name = "standard input"
    data = bytearray()
    try:
        while len(data) <= max_bytes and (chunk := file.read(_CHUNK_BYTES)):
            data += chunk
    except OSError as error:
        raise ConfigError(f"cannot read {name}: {system_reason(error)}") from None
    if len(data) > max_bytes:
        raise ConfigError(f"{name} has more than {max_bytes >> 20} MiB, which no hub stores as one message")
    return bytes(data)


def with_options(*options: Decorator) -> Decorator:
    """Decorator that adds several options, which ``--help`` shows in this order."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        # Like stacked decorators, of which the lowest applies first.
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _seconds(text: str) -> float:
    if _ZERO.fullmatch(text):
        return 0
    fraction = _FRACTION.fullmatch(text)
    return float(fraction[1]) if fraction else parse_duration(text)


def _time(text: str) -> float:
    return parse_time(text) / 1_000_000


def _address(text: str) -> str:
    """The text, if it is an address to listen on; raises `ConfigError` otherwise."""
    BindAddress.parse(text)
    return text


def _path(text: str) -> str:
    """The text, if it is the path of a URL; raises `ConfigError` otherwise."""
    if not text.startswith("/"):
        raise ConfigError(f"a path begins with /, as in /sub/deploy, not {without_secrets(text)!r}")
    return text


def _in_file(path: str) -> list[tuple[str, str]]:
    # What is not UTF-8 stays as it is. Latin-1, as everywhere for the bytes of headers.
    lines = read_text(Path(path), errors="surrogateescape").split("\n")
    read = map(_hidden, filter(trim, lines))
    return [(name, value.encode("utf-8", "surrogateescape").decode("latin-1")) for name, value in read]


_hidden = partial(parse_header, show=False)
EXISTING_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
DURATION = Duration()
INTERVAL = Duration(positive=True)
REPLY_WAIT = Duration(positive=True, at_most_s=MAX_WAIT_S)
SIZE = Size()
ADDRESS = Parsed("address", _address)
RATE = Parsed("rate", Rate.parse)
ORIGIN = Parsed("origin", parse_origin)
STORE = Parsed("store", parse_store)
AT_REST_KEY = Parsed("reference", read_at_rest_key)
HUB_URL = Parsed("URL", parse_advertised)
PUBLIC_URL = Parsed("URL", parse_public)
PREFIX = Parsed("topic", parse_prefix)
UNSAFE_TOPIC = Parsed("unsafe topic", parse_unsafe)
DATA_DIRECTORY = Directory()
PATH = Parsed("path", _path)
PROXIES = Parsed("proxies", TrustedProxies.parse)
data_dir = click.option(
    "--data-dir",
    envvar="HOOKBOT_DATA_DIR",
    type=DATA_DIRECTORY,
    default=default_data_dir,
    show_default="the user's state directory",
    help="Directory of the log and of generated secrets.",
)
headers = click.option(
    "--header",
    "-H",
    "headers",
    multiple=True,
    metavar="'K: V'",
    help="Set a header; @FILE reads one per line. Repeatable.",
)
token_file = click.option(
    "--token-file",
    type=EXISTING_FILE,
    envvar="HOOKBOT_TOKEN_FILE",
    help="Read the token from FILE; or set HOOKBOT_TOKEN.",
)
json_rows = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
cafile = click.option("--cafile", type=EXISTING_FILE, help="Trust the certificate authorities in FILE (PEM).")
