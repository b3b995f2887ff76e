"""A ``[[sources]]`` section of a configuration file, as the source that it means."""

import re
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_network
from typing import Any

from ..access.client_address import Network
from ..access.rate_limits import Rate, RateLimiter
from ..access.sources import Source
from ..alerts.subjects import Subject
from ..errors import ConfigError, InvalidTopic, Refused
from ..protocol.pasted import check_seen, trim, unquote
from ..protocol.since import format_duration, parse_duration
from ..protocol.topics import check_topic, is_own
from ..protocol.urls import split_url, without_secrets
from ..signatures import Provider, load_provider
from ..signatures.owners import check_owner
from .answer_section import parse_answer
from .config_file import Table
from .prefixes import parse_prefix
from .secret_store import is_reference

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
    "answer",
    "accept_ping",
    "expect_every",
)
"""Keys of a ``[[sources]]`` section. All others are options of its provider."""

# What is noticed is noticed some seconds later.
SHORTEST_SILENCE_S = 60


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
        secrets=table.take("secrets", list, lambda secrets: read_secrets(secrets, provider, resolve)),
        url=table.take("url", str, _url, default=""),
        single_use=table.take("single_use", bool, default=False),
        allow_from=table.take("allow_from", list, lambda texts: _networks(texts, ranges), default=()),
        certificates=table.take(
            "certificates", list, lambda texts: list(map(_certificate, _strings(texts))), default=()
        ),
        max_body_bytes=table.take("max_body_bytes", int, positive, default=None),
        publishes=RateLimiter(rate, "publishes") if rate else None,
        owners=table.take("owners", list, lambda owners: _owners(owners, provider), default=_named(topic, provider)),
        confirm=table.take("confirm", bool, default=False),
        answer=table.take("answer", dict, parse_answer, default=None),
        accept_ping=table.take("accept_ping", bool, lambda accept: _accept_ping(accept, provider), default=False),
        expect_every_s=table.take("expect_every", str, lambda text: _expectation(text, topic), default=None),
    )
    table.check()
    return source


def read_secrets(secrets: list[Any], provider: Provider | None, resolve: Callable[[str], str]) -> Sequence[str]:
    """Secrets that are listed. Raises `ConfigError` if there is none, or one that the provider cannot use."""
    if not secrets:
        raise ConfigError("a source needs at least one secret")
    resolved = [resolve(secret) for secret in _strings(secrets)]
    if provider:
        for secret in resolved:
            provider.check(secret)
    return resolved


def _provider(table: Table, resolve: Callable[[str], str]) -> Any:
    """Provider with its options, or None if there is a mistake. Takes all keys that are not in `SOURCE_KEYS`."""
    provider: Provider | None = table.take("provider", str, load_provider)
    options = {key: table.values.pop(key) for key in tuple(table.values) if key not in SOURCE_KEYS}
    if provider is None:
        return None
    unknown, lacks = options.keys() - set(provider.options), f"a source with the provider {provider.name} has no option"
    table.wrong_keys(unknown, lacks, (*SOURCE_KEYS, *provider.options))
    try:
        known = {name: options[name] for name in provider.options if name in options}
        resolved = {name: resolve(value) if is_reference(value) else value for name, value in known.items()}
        return provider.with_options(resolved)
    except ConfigError as error:
        table.wrong(next((name for name in known if f"option {name} " in str(error)), "provider"), str(error))
        return None


def _owners(owners: list[Any], provider: Provider | None) -> Sequence[str]:
    if provider and not provider.ownership:
        raise ConfigError(f"a source with the provider {provider.name} has no owners: its bodies name nobody by a rule")
    if not owners:
        raise ConfigError('owners must name at least one; ["*"] stands for any')
    if owners == ["*"]:
        return ()
    return [check_owner(check_seen(trim(owner), "an owner")) for owner in _strings(owners)]


def _accept_ping(accept: bool, provider: Provider | None) -> bool:
    if accept and provider and not provider.ping:
        raise ConfigError(
            f"a source with the provider {provider.name} has no unsigned ping to accept: only bitbucket has, and hmac "
            "with the header X-WC-Webhook-Signature"
        )
    return accept


def _expectation(text: str, topic: str | None) -> int:
    seconds = duration(text)
    if seconds < SHORTEST_SILENCE_S:
        raise ConfigError(f"must be at least {format_duration(SHORTEST_SILENCE_S)}, not {text!r}")
    try:
        check_topic(Subject("source", topic or "").alert_topic)
    except InvalidTopic as error:
        raise ConfigError(f"its alerts would have an {error}") from None
    return seconds


def _named(topic: str | None, provider: Provider | None) -> Sequence[str]:
    """The owner that the topic of a source names, or none."""
    owner = topic and provider and provider.ownership and provider.ownership.owner_in(topic)
    return (owner,) if owner else ()


def _strings(values: list[Any]) -> Sequence[str]:
    if not all(isinstance(value, str) for value in values):
        raise ConfigError("the items of the list must be strings")
    return values


def _topic(text: str) -> str:
    if is_own(parse_prefix(text)):
        raise ConfigError(f"topics beneath hookbot/ are the hub's own, and nobody publishes to {text!r}")
    return text


def _url(text: str) -> str:
    text = unquote(trim(text))
    try:
        parts = split_url(check_seen(text, "the URL", allowed=""))
    except Refused as error:
        raise ConfigError(str(error)) from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ConfigError(f"the URL of a hub is like https://hooks.example.com, not {without_secrets(text)!r}")
    if parts.query or parts.fragment:
        raise ConfigError("the URL of a hub has no query and no fragment: each request has its own")
    # Senders write the scheme in small letters.
    return parts.scheme + text.rstrip("/")[len(parts.scheme) :]


def duration(text: str) -> int:
    """Seconds of a duration. Raises `ConfigError`."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def positive(number: int) -> int:
    """The number, if it is at least 1. Raises `ConfigError`."""
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
    # Few sources have subjects, and a hub without them starts sooner.
    from cryptography.x509 import Name  # noqa: PLC0415

    try:
        return Name.from_rfc4514_string(text).rfc4514_string()
    except ValueError:
        raise ConfigError(
            f"a certificate is given by its SHA-256 (64 hexadecimal digits) or its subject (CN=...), not {text!r}"
        ) from None
