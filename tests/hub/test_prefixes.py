"""Prefixes of topics in a configuration file."""

import pytest

from hookbot.errors import ConfigError
from hookbot.hub.prefixes import parse_prefix


@pytest.mark.parametrize("text", ["", "logs", "logs/", "a/b/", "/unsafe/", "/unsafe/github.com/", "hookbot/failed/"])
def test_a_prefix_is_a_topic_or_all_beneath_one(text: str) -> None:
    assert parse_prefix(text) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("/logs/", r"topic must be 'logs/' \(for senders without a token: '/unsafe/logs/'\), not '/logs/'"),
        ("/unsafe/pub/acme/*", "topic must be '/unsafe/acme/', not '/unsafe/pub/acme/"),
        ("https://token@hub/sub/logs", "not 'https://hub/sub/logs'"),
        ("a//b", "invalid topic 'a//b'"),
    ],
)
def test_anything_else_is_refused_with_what_is_meant(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse_prefix(text)
