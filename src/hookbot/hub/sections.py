"""The sections of a configuration file: sources and routers. Mistakes are collected and reported together."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import ip_network
from typing import Any, TypeVar

from cryptography.x509 import Name

from ..access.client_address import Network
from ..access.ip_ranges import networks_of, read_ranges
from ..access.rate_limits import Rate, RateLimiter
from ..access.sources import Source
from ..errors import ConfigError, InvalidTopic, did_you_mean
from ..protocol.pasted import trim, unquote
from ..protocol.paths import topic_meant
from ..protocol.topics import UNSAFE, check_topic, is_own, is_unsafe
from ..protocol.urls import without_secrets
from ..routers import Secret
from ..routers.runner import RouterSpec, name_of
from ..signatures import Provider, load_provider
from ..signatures.owners import check_owner
from .config import RANGES_FILE, Config
from .config_file import Mistakes, Table
from .secret_store import is_reference, resolve_secret

GITHUB = "github"
SOURCE_KEYS = (
    "topic",
    "provider",
    "secrets",
    "url",
    "single_use",
    "allow_from",
    "certificates",
    "max_body_bytes",
    "publish_rate",
    "owners",
    "confirm",
    "accept_ping",
)
"""Keys of a ``[[sources]]`` section. All others are options of its provider."""


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


def parse_source(
    section: Mapping[str, Any], resolve: Callable[[str], str], ranges: Mapping[str, Sequence[Network]]
) -> Source:
    """Source of a ``[[sources]]`` section. Raises `Mistakes`, with all of them.

    `resolve` turns each secret, and each option that is a string, into its value, like `resolve_secret`; `ranges` are
    the networks for the names in `allow_from`.
    """
    table = Table(section)
    # The provider comes first, since it defines which other keys are options, and checks the secrets.
    provider = _provider(table, resolve)
    rate = table.take("publish_rate", str, Rate.parse, default=None)
    topic = table.take("topic", str, _topic)
    source = Source(
        topic=topic,
        provider=provider,
        secrets=table.take("secrets", list, lambda secrets: _secrets(secrets, provider, resolve)),
        url=table.take("url", str, _url, default=""),
        single_use=table.take("single_use", bool, default=False),
        allow_from=table.take("allow_from", list, lambda texts: _networks(texts, ranges), default=()),
        certificates=table.take(
            "certificates", list, lambda texts: list(map(_certificate, _strings(texts))), default=()
        ),
        max_body_bytes=table.take("max_body_bytes", int, _positive, default=None),
        publishes=RateLimiter(rate, "publishes") if rate else None,
        owners=table.take("owners", list, lambda owners: _owners(owners, provider), default=_named(topic, provider)),
        confirm=table.take("confirm", bool, default=False),
        accept_ping=table.take("accept_ping", bool, lambda accept: _accept_ping(accept, provider), default=False),
    )
    table.check()
    return source


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
    provider = load_provider(GITHUB)
    yield from (Source(topic, provider, these) for topic, these in secrets.items() if these)


def _github_secrets(config: Config, section: Mapping[str, Any]) -> Sequence[str]:
    """Secrets of a GitHub router: its own, or else the hub's. Raises `Mistakes`."""
    table, provider = Table(section), load_provider(GITHUB)
    own = table.take("secrets", list, lambda given: _secrets(given, provider, resolve_secret), default=[])
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


def _provider(table: Table, resolve: Callable[[str], str]) -> Any:
    """Provider with its options, or None if there is a mistake. Takes all keys that are not in `SOURCE_KEYS`."""
    provider: Provider | None = table.take("provider", str, load_provider)
    options = {key: table.values.pop(key) for key in tuple(table.values) if key not in SOURCE_KEYS}
    if provider is None:
        return None
    for name in options.keys() - set(provider.options):
        close = did_you_mean(name, (*SOURCE_KEYS, *provider.options))
        table.wrong(name, f"a source with the provider {provider.name} has no option {name!r}{close and f', {close}'}")
    try:
        known = {name: options[name] for name in provider.options if name in options}
        resolved = {name: resolve(value) if is_reference(value) else value for name, value in known.items()}
        return provider.with_options(resolved)
    except ConfigError as error:
        table.wrong(next((name for name in known if f"option {name} " in str(error)), "provider"), str(error))
        return None


def _secrets(secrets: list[Any], provider: Provider | None, resolve: Callable[[str], str]) -> Sequence[str]:
    if not secrets:
        raise ConfigError("a source needs at least one secret")
    resolved = [resolve(secret) for secret in _strings(secrets)]
    if provider:
        for secret in resolved:
            provider.check(secret)
    return resolved


def _owners(owners: list[Any], provider: Provider | None) -> Sequence[str]:
    if provider and not provider.ownership:
        raise ConfigError(f"a source with the provider {provider.name} has no owners: its bodies name nobody by a rule")
    if not owners:
        raise ConfigError('owners must name at least one; ["*"] stands for any')
    if owners == ["*"]:
        return ()
    return [check_owner(owner) for owner in _strings(owners)]


def _accept_ping(accept: bool, provider: Provider | None) -> bool:
    if accept and provider and not provider.ping:
        raise ConfigError(
            f"a source with the provider {provider.name} has no unsigned ping to accept: only bitbucket has, and hmac "
            "with the header X-WC-Webhook-Signature"
        )
    return accept


def _named(topic: str | None, provider: Provider | None) -> Sequence[str]:
    """The owner that the topic of a source names, or none."""
    owner = topic and provider and provider.ownership and provider.ownership.owner_in(topic)
    return (owner,) if owner else ()


def _strings(values: list[Any]) -> Sequence[str]:
    if not all(isinstance(value, str) for value in values):
        raise ConfigError("the items of the list must be strings")
    return values


def _topic(text: str) -> str:
    if (meant := topic_meant(text)) != text:
        unsafe = "" if is_unsafe(meant) else f" (for senders without a token: {UNSAFE + meant!r})"
        shown = without_secrets(text) if "@" in text else text
        raise ConfigError(f"topic must be {meant!r}{unsafe}, not {shown!r}")
    if is_own(text):
        raise ConfigError(f"topics beneath hookbot/ are the hub's own, and nobody publishes to {text!r}")
    try:
        return check_topic(text)
    except InvalidTopic as error:
        raise ConfigError(str(error)) from None


def _url(text: str) -> str:
    text = unquote(trim(text))
    if not text.startswith(("https://", "http://")):
        raise ConfigError(f"the URL of a hub is like https://hooks.example.com, not {text!r}")
    return text.rstrip("/")


def _positive(number: int) -> int:
    if number < 1:
        raise ConfigError(f"must be at least 1, not {number}")
    return number


def _networks(texts: list[Any], ranges: Mapping[str, Sequence[Network]]) -> tuple[Network, ...]:
    networks: list[Network] = []
    for text in map(trim, _strings(texts)):
        try:
            networks += ranges[text] if text in ranges else [ip_network(text)]
        except ValueError as error:
            raise ConfigError(
                f"{error}; a network is like 192.0.2.0/24, or the name of a list from `hookbot update-ranges`"
            ) from None
    return tuple(networks)


def _certificate(text: str) -> str:
    """Fingerprint or subject of a certificate, in the form that `Source.check_sender` compares."""
    text = trim(text)
    # Windows shows a fingerprint with blanks, and begins it with a mark without width.
    digits = re.sub(r"[: ]", "", text).lower()
    if re.fullmatch("[0-9a-f]{64}", digits):
        return digits
    try:
        return Name.from_rfc4514_string(text).rfc4514_string()
    except ValueError:
        raise ConfigError(
            f"a certificate is given by its SHA-256 (64 hexadecimal digits) or its subject (CN=...), not {text!r}"
        ) from None
