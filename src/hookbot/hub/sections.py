"""The sections of a configuration file, such as sources and alerts. Mistakes are collected and reported together."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from ..access.ip_ranges import networks_of, read_ranges
from ..access.quotas import Quota
from ..access.sources import Source
from ..alerts.backlogs import BacklogRule
from ..errors import ConfigError
from ..routers import Secret
from ..routers.runner import RouterSpec, name_of
from ..signatures import load_provider
from .alert_section import MAX_ALERTS, parse_alert
from .config import RANGES_FILE, Config
from .config_file import Mistakes, Table
from .quota_section import parse_quota
from .secret_store import resolve_secret
from .source_section import parse_source, read_secrets

GITHUB = "github"


def read_sources(config: Config) -> Iterator[Source | ConfigError]:
    """Sources of the configuration, or the mistakes in them: first those of GitHub routers, then the sections."""
    # A configured source replaces that of a GitHub router with the same topic, since `Sources` takes the last one.
    yield from _github_sources(config)
    try:
        ranges = networks_of(read_ranges(config.data_dir / RANGES_FILE))
    except ConfigError as error:
        yield error
        return
    topics = set()
    for index, section in enumerate(config.file.sources):
        try:
            source = parse_source(section, resolve_secret, ranges)
            _check(source, config)
            if source.topic in topics:
                raise Mistakes(("topic", f"an earlier source has the topic {source.topic!r}: merge the two"))
            topics.add(source.topic)
            yield source
        except Mistakes as error:
            yield from _located(error, config, "sources", index)


def read_routers(config: Config) -> Iterator[RouterSpec | ConfigError]:
    """Routers of the configuration, or the mistakes in them. A GitHub router without secrets gets the hub's."""
    names = []
    for router in config.routers:
        name = name_of(router)
        if name in names:
            yield config.error("router", f"the router {name!r} is listed twice")
            continue
        names.append(name)
        options = dict(config.file.routers.get(name, {}))
        try:
            if options.get("router", router) == GITHUB:
                secrets = _github_secrets(config, options)
                options |= {"secrets": list(map(Secret, secrets))} if secrets else {}
            yield RouterSpec.parse(router, options)
        except Mistakes as error:
            yield from _located(error, config, f"routers.{name}")
        except ConfigError as error:
            yield error_of_router(config, name, str(error))


def read_quotas(config: Config) -> Iterator[Quota | ConfigError]:
    """Quotas of the configuration, or the mistakes in them."""
    for prefix, section in config.file.quotas.items():
        try:
            yield parse_quota(prefix, section)
        except Mistakes as error:
            yield from _located(error, config, f"quotas.{prefix}")
        except ConfigError as error:
            yield config.file.error(str(error), header=f"quotas.{prefix}")


def read_alerts(config: Config) -> Iterator[BacklogRule | ConfigError]:
    """Rules of the alerts of the configuration, or the mistakes in them."""
    subjects = set()
    if len(config.file.alerts) > MAX_ALERTS:
        yield config.file.error(f"at most {MAX_ALERTS} alerts, not {len(config.file.alerts)}", header="alerts")
    for index, section in enumerate(config.file.alerts):
        try:
            rule = parse_alert(section)
            if rule.subject in subjects:
                raise Mistakes((rule.subject.kind, f"an earlier alert is about {rule.subject}: merge the two"))
            subjects.add(rule.subject)
            yield rule
        except Mistakes as error:
            yield from _located(error, config, "alerts", index)


def needs_github_secret(routers: tuple[str, ...], sections: Mapping[str, Mapping[str, Any]]) -> bool:
    """True if any of the routers is a GitHub router without secrets of its own."""
    return any("secrets" not in section for _, section in _github_routers(routers, sections))


T = TypeVar("T")


def unless_wrong(read: Iterator[T | ConfigError]) -> list[T]:
    """Sections that were read. Raises one `ConfigError` with all mistakes, one per line."""
    everything = list(read)
    if wrong := [str(one) for one in everything if isinstance(one, ConfigError)]:
        raise ConfigError("\n".join(wrong))
    return [one for one in everything if not isinstance(one, ConfigError)]


def error_of_router(config: Config, name: str, reason: str) -> ConfigError:
    """Error about a router, with the line of its section or, without one, the place where it is listed."""
    if name in config.file.routers:
        return config.file.error(reason, header=f"routers.{name}")
    return config.error("router", reason)


def github_topics(config: Config) -> Iterator[str]:
    """Topics that the GitHub routers read."""
    for _, section in _github_routers(config.routers, config.file.routers):
        yield f"/unsafe/{section.get('host', 'github.com')}/"


def _github_routers(
    routers: tuple[str, ...], sections: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The GitHub routers among those that are to run, by the names of their sections."""
    for router in routers:
        section = sections.get(name_of(router), {})
        if section.get("router", router) == GITHUB:
            yield name_of(router), section


def _github_sources(config: Config) -> Iterator[Source | ConfigError]:
    """Source for each topic of GitHub routers, so that only signed deliveries are stored, or the mistakes in them."""
    secrets: dict[str, list[str]] = {}
    routers = _github_routers(config.routers, config.file.routers)
    for topic, (name, section) in zip(github_topics(config), routers, strict=True):
        try:
            secrets.setdefault(topic, []).extend(_github_secrets(config, section))
        except Mistakes as error:
            yield from _located(error, config, f"routers.{name}")
    yield from (Source(topic, load_provider(GITHUB), these) for topic, these in secrets.items() if these)


def _github_secrets(config: Config, section: Mapping[str, Any]) -> Sequence[str]:
    """Secrets of a GitHub router: its own, or else the hub's. Raises `Mistakes`."""
    table, provider = Table(section), load_provider(GITHUB)
    own = table.take("secrets", list, lambda given: read_secrets(given, provider, resolve_secret), default=[])
    table.check()
    return own or [secret.value for secret in config.github_secrets]


def _located(error: Mistakes, config: Config, header: str, index: int = 0) -> Iterator[ConfigError]:
    """The mistakes in a section, with their lines."""
    for key, reason in error.mistakes:
        yield config.file.error(reason, key, header, index)


def _check(source: Source, config: Config) -> None:
    """Raise `Mistakes` for conflicts with other options of the hub."""
    if source.certificates and not config.tls_client_authorities:
        raise Mistakes(("certificates", "the hub only asks for client certificates with --sslca"))
    window_s, dedup_s = source.provider.window_s, config.retention.dedup_s
    if window_s > dedup_s:
        reason = (
            f"with this max_age a signature is valid for {window_s:.0f} seconds, but replays are only recognised for "
            f"{dedup_s:.0f} seconds: raise --dedup-window, or lower max_age"
        )
        raise Mistakes(("max_age", reason))
