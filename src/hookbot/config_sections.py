"""The sections of a configuration file, sources and routers, understood one by one, so that every mistake is told."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from .config import resolve_secret
from .config_file import ConfigFile
from .errors import ConfigError
from .routers import Secret
from .routers.running import RouterSpec, name_of
from .sources import Source


def read_sources(file: ConfigFile) -> Iterator[Source | ConfigError]:
    """Each source, or what is wrong with it."""
    for index, section in enumerate(file.sources):
        try:
            yield Source.parse(section, resolve_secret)
        except ConfigError as error:
            yield ConfigError(f"{file.path}:{file.line_of_source(index)}: {error}")


def read_routers(
    file: ConfigFile, names: Sequence[str], github_secrets: Sequence[str] = ()
) -> Iterator[RouterSpec | ConfigError]:
    """Each router that is to run, or what is wrong with its section; a GitHub router may use the hub's secrets."""
    for name in names:
        options = dict(file.routers.get(name_of(name), {}))
        if options.get("router", name) == "github" and github_secrets:
            options.setdefault("secrets", [Secret(secret) for secret in github_secrets])
        try:
            yield RouterSpec.parse(name, options)
        except ConfigError as error:
            yield ConfigError(f"{file.path}:{file.line_of(f'routers.{name_of(name)}')}: {error}") if options else error


T = TypeVar("T")


def unless_wrong(read: Iterator[T | ConfigError]) -> list[T]:
    """All that was read; raises the first `ConfigError` among it."""
    whole = []
    for one in read:
        if isinstance(one, ConfigError):
            raise one
        whole.append(one)
    return whole
