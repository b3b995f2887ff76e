"""The sections of a configuration file, sources and routers, understood one by one, so that every mistake is told."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from ..access.ip_ranges import networks_of, read_ranges
from ..access.sources import Source
from ..errors import ConfigError
from ..routers import Secret
from ..routers.runner import RouterSpec, name_of
from ..signatures import load_provider
from .config import RANGES_FILE, Config
from .config_file import Mistakes
from .secret_store import resolve_secret

GITHUB = "github"


def read_sources(config: Config) -> Iterator[Source | ConfigError]:
    """Whom the GitHub routers hear of, by themselves; then each configured source, or all that is wrong with it."""
    yield from _github_sources(config)
    try:
        ranges = networks_of(read_ranges(config.data_dir / RANGES_FILE))
    except ConfigError as error:
        yield error
        return
    topics = set()
    for index, section in enumerate(config.file.sources):
        try:
            source = Source.parse(section, resolve_secret, ranges)
            _check(source, config)
            if source.topic in topics:
                raise Mistakes([("topic", f"there is another source for {source.topic!r}")])
            topics.add(source.topic)
            yield source
        except Mistakes as error:
            for key, reason in error.mistakes:
                yield config.file.error(reason, key, "sources", index)


def read_routers(config: Config) -> Iterator[RouterSpec | ConfigError]:
    """Each router that is to run, or what is wrong with its section; a GitHub router may use the hub's secrets."""
    for name in config.routers:
        options = dict(_section(config, name))
        if options.get("router", name) == GITHUB and config.github_secrets:
            options.setdefault("secrets", [Secret(secret.value) for secret in config.github_secrets])
        try:
            yield RouterSpec.parse(name, options)
        except ConfigError as error:
            has_section = name_of(name) in config.file.routers
            yield config.file.error(str(error), header=f"routers.{name_of(name)}") if has_section else error


def needs_github_secret(routers: tuple[str, ...], sections: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether there is a GitHub router that has no secrets of its own."""
    with_names = ((name, sections.get(name_of(name), {})) for name in routers)
    return any(section.get("router", name) == GITHUB and "secrets" not in section for name, section in with_names)


T = TypeVar("T")


def unless_wrong(read: Iterator[T | ConfigError]) -> list[T]:
    """All that was read; raises a `ConfigError` that says everything that is wrong."""
    everything = list(read)
    if wrong := [str(one) for one in everything if isinstance(one, ConfigError)]:
        raise ConfigError("\n".join(wrong))
    return [one for one in everything if not isinstance(one, ConfigError)]


def _section(config: Config, router: str) -> Mapping[str, Any]:
    return config.file.routers.get(name_of(router), {})


def _github_sources(config: Config) -> Iterator[Source | ConfigError]:
    """A topic of a GitHub router takes what is signed with one of its secrets, and nothing else."""
    secrets: dict[str, list[str]] = {}
    for name in config.routers:
        section = _section(config, name)
        if section.get("router", name) == GITHUB:
            try:
                own = [resolve_secret(str(secret)) for secret in section.get("secrets", ())]
            except ConfigError as error:
                yield config.file.error(str(error), "secrets", f"routers.{name_of(name)}")
                continue
            topic = f"/unsafe/{section.get('host', 'github.com')}/"
            secrets.setdefault(topic, []).extend(own or [secret.value for secret in config.github_secrets])
    yield from (Source(topic, load_provider(GITHUB), these) for topic, these in secrets.items() if these)


def _check(source: Source, config: Config) -> None:
    """Raises `Mistakes` for what cannot be beside the other options."""
    if source.certificates and not config.tls_client_authorities:
        raise Mistakes([("certificates", "certificates are only asked for with --sslca")])
    if source.provider.window_s > config.retention.dedup_s:
        raise Mistakes(
            [
                (
                    "max_age",
                    f"a request stays good for {source.provider.window_s:.0f} seconds, from max_age before its time to "
                    f"max_age after it: so long a repeat has to be remembered, and --dedup-window is "
                    f"{config.retention.dedup_s:.0f} seconds",
                )
            ]
        )
