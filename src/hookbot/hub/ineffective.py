"""Settings that have no effect beside others.

A hub starts with them, since options may be set for one start only, and says so; a check of the file calls them wrong.
"""

from collections.abc import Iterator

from ..access.control import unsafe_filter
from ..errors import ConfigError, did_you_mean
from ..protocol.topics import TopicFilter, is_unsafe
from ..routers.runner import name_of
from .config import Config
from .sections import github_topics


def ineffective(config: Config) -> Iterator[ConfigError]:
    """Settings without effect, each as an error with its place and the reason."""
    yield from _sections_of_routers(config)
    yield from _sources(config)
    for topic in github_topics(config):
        if not exists(topic, config):
            yield config.error("unsafe", f"a GitHub router reads {topic!r}, which this hub does not have")
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
            yield config.file.error(f"[routers.{name}]: no router of this name runs; {close}", header=f"routers.{name}")


def _sources(config: Config) -> Iterator[ConfigError]:
    for index, section in enumerate(config.file.sources):
        topic, max_bytes = section.get("topic"), section.get("max_body_bytes")
        if isinstance(topic, str) and not exists(topic, config):
            allowed = ", ".join(config.unsafe_prefixes) or "none"
            reason = f"this hub has no such unsafe topic as {topic!r}: those that exist (unsafe) are: {allowed}"
            yield config.file.error(reason, "topic", "sources", index)
        if isinstance(max_bytes, int) and max_bytes > config.max_body_bytes:
            reason = f"{max_bytes} is more than the {config.max_body_bytes} bytes that max-body allows to all"
            yield config.file.error(reason, "max_body_bytes", "sources", index)
