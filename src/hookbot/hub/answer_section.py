"""Answers that are written in a configuration file: of a source, and of the hub where nobody replies."""

from collections.abc import Mapping
from typing import Any

from ..access.reply_rules import NO_REPLIES, ReplyRules
from ..errors import ConfigError
from ..protocol.replies import Reply, is_safe
from ..protocol.topics import TopicFilter
from .config import Config
from .config_file import Mistakes, Table

KEYS = ("status", "headers", "body")
SECTION = "reply_default"


def read_reply_rules(config: Config) -> ReplyRules:
    """Rules for replies. Raises `ConfigError` for a mistake in the answer where nobody replies."""
    try:
        default = parse_answer(config.file.reply_default) if config.file.reply_default else NO_REPLIES.default
    except Mistakes as error:
        wrong = [str(config.file.error(reason, key, SECTION)) for key, reason in error.mistakes]
        raise ConfigError("\n".join(wrong)) from None
    return ReplyRules(TopicFilter(config.reply_prefixes), config.reply_timeout_s, default)


def parse_answer(section: Mapping[str, Any]) -> Reply:
    """Answer of a table with status, headers and body. Raises `Mistakes`, with all of them."""
    table = Table(section)
    status = table.take("status", int, default=200)
    headers = table.take("headers", dict, _headers, default=())
    body = table.take("body", str, str.encode, default=b"")
    table.wrong_keys(table.values, "an answer has no key", KEYS)
    table.check()
    try:
        return Reply(status, headers, body)
    except ValueError as error:
        # Each of its sentences says first what it is about.
        raise Mistakes((next(key for key in KEYS if key.rstrip("s") in str(error)), str(error))) from None


def _headers(headers: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    for name, value in headers.items():
        if not isinstance(value, str):
            raise ConfigError(f"the value of the header {name[:80]!r} must be a string")
        if not is_safe(name):
            raise ConfigError(f"no answer can carry the header {name[:80]!r}: it speaks for the hub, or to a browser")
    return tuple(headers.items())
