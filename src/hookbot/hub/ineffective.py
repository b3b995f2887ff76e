"""Settings that have no effect, mostly because of others.

A hub starts with them, since options may be set for one start only, and says so; a check of the file calls them wrong.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from ..errors import ConfigError, did_you_mean
from ..protocol.topics import TopicFilter, is_unsafe, unsafe_filter
from ..routers.runner import name_of
from ..signatures.loading import own_provider
from .answer_section import SECTION
from .config import Config
from .secret_store import resolve_secret
from .sections import github_topics

# Stripe's, GitHub's, Slack's, GitLab's, Shopify's (shpss_ is its webhook secret) and SendGrid's.
_API_KEY = re.compile(r"[spr]k_(live|test)_|gh[opsur]_|github_pat_|xox[abeprs]-|xapp-|glpat-|shp(at|ca|pa)_|SG\.")


def ineffective(config: Config) -> Iterator[ConfigError]:
    """Settings without effect, each as an error with its place and the reason."""
    yield from _sections_of_routers(config)
    yield from _sources(config)
    yield from _quotas(config)
    yield from _replies(config)
    yield from _alerts(config)
    for topic in github_topics(config):
        if not exists(topic, config):
            yield config.error("unsafe", f"a GitHub router reads {topic!r}, which this hub does not have")
    if config.advertise and not config.shared:
        yield config.error("advertise", "it has no effect without a store that several hubs share (postgresql://...)")
    if config.at_rest_keys and config.store == "memory:":
        yield config.error(
            "at-rest-key", "it has no effect with a store in memory, of which nothing is written to disk"
        )
    if not config.sha1_tokens and config.sha1_tokens_live_only:
        yield config.error("plain-tokens", "it has no effect with no-sha1, which refuses these tokens")
    total, each = config.max_subscribers, config.max_subscribers_per_token
    if total and each and each > total:
        yield config.error("max-subscribers-per-token", f"{each} has no effect with {total} max-subscribers in all")


def exists(topic: str, config: Config) -> bool:
    """True if the hub has topics that a pattern selects; of unsafe ones, it may have only some."""
    return not is_unsafe(topic) or unsafe_filter(config.unsafe_prefixes).overlaps(TopicFilter((topic,)))


def _sections_of_routers(config: Config) -> Iterator[ConfigError]:
    running = [name_of(router) for router in config.routers]
    for name in config.file.routers:
        if name not in running:
            close = did_you_mean(name, running) or "add it to the list `router`"
            yield config.file.error(
                f"[routers.{name}]: the hub runs no router of this name; {close}", header=f"routers.{name}"
            )


def _sources(config: Config) -> Iterator[ConfigError]:
    for index, section in enumerate(config.file.sources):
        for key, reason in (*_topic_and_size(section, config), *_of_provider(section), *_of_secrets(section)):
            yield config.file.error(reason, key, "sources", index)


def _quotas(config: Config) -> Iterator[ConfigError]:
    for prefix in config.file.quotas:
        if not exists(prefix, config):
            yield config.file.error(f"this hub has no such unsafe topic as {prefix!r}", header=f"quotas.{prefix}")


def _replies(config: Config) -> Iterator[ConfigError]:
    for prefix in config.reply_prefixes:
        if not exists(prefix, config):
            yield config.error("reply", f"this hub has no such unsafe topic as {prefix!r}")
    if config.reply_prefixes:
        return
    if config.file.reply_default:
        yield config.file.error("it has no effect without topics whose senders may wait (reply)", header=SECTION)
    if "reply-timeout" in config.places:
        yield config.error("reply-timeout", "it has no effect without topics whose senders may wait (reply)")


def _alerts(config: Config) -> Iterator[ConfigError]:
    running = [name_of(router) for router in config.routers]
    for index, section in enumerate(config.file.alerts):
        name = section.get("router", "")
        if name and name not in running:
            close = did_you_mean(str(name), running) or "add it to the list `router`"
            yield config.file.error(f"the hub runs no router {name!r}; {close}", "router", "alerts", index)


def _topic_and_size(section: Mapping[str, Any], config: Config) -> Iterator[tuple[str, str]]:
    topic, max_bytes = section.get("topic"), section.get("max_body_bytes")
    if isinstance(topic, str) and not exists(topic, config):
        allowed = ", ".join(config.unsafe_prefixes) or "none"
        yield "topic", f"this hub has no such unsafe topic as {topic!r}: those that exist (unsafe) are: {allowed}"
    if isinstance(max_bytes, int) and max_bytes > config.max_body_bytes:
        yield (
            "max_body_bytes",
            f"{max_bytes} is more than the {config.max_body_bytes} bytes that max-body allows to all",
        )


def _of_provider(section: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys of a source that its provider does not use; what providers of plugins use is unknown."""
    provider = own_provider(str(section.get("provider")))
    if provider is None:
        return
    if "url" in section and "url" not in provider.covers and "{url}" not in str(section.get("template")):
        yield "url", f"the provider {provider.name} does not sign the URL, so that url has no effect"
    if section.get("confirm") and provider.name != "aws-sns":
        yield "confirm", f"there is nothing to confirm with the provider {provider.name}, only with aws-sns"
    if provider.name == "meta" and "verify_token" not in section:
        yield "verify_token", "without the option verify_token, Meta cannot verify this address"


def _of_secrets(section: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys to the API of a provider that signs, which are beside its webhook secret in every dashboard."""
    provider, secrets = own_provider(str(section.get("provider"))), section.get("secrets")
    if provider is None or not provider.covers or not isinstance(secrets, list):
        return
    for secret in secrets:
        # What cannot be read is told where it is used.
        with suppress(ConfigError):
            if isinstance(secret, str) and (match := _API_KEY.match(resolve_secret(secret))):
                yield "secrets", f"a secret that begins with {match[0]!r} is one for an API, not that of a webhook"
