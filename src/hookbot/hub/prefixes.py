"""Prefixes of topics in a configuration file: one topic or, ending in a slash, everything beneath it."""

from ..errors import ConfigError, InvalidTopic
from ..protocol.paths import topic_meant
from ..protocol.topics import UNSAFE, check_topic, is_unsafe
from ..protocol.urls import without_secrets


def parse_prefix(text: str) -> str:
    """The text, if it is a topic or a topic and a slash. Raises `ConfigError`, which says what may be meant."""
    if (meant := topic_meant(text)) != text:
        unsafe = "" if is_unsafe(meant) else f" (for senders without a token: {UNSAFE + meant!r})"
        shown = without_secrets(text) if "@" in text else text
        raise ConfigError(f"topic must be {meant!r}{unsafe}, not {shown!r}")
    try:
        return check_topic(text)
    except InvalidTopic as error:
        raise ConfigError(str(error)) from None
