"""Sections of quotas in a configuration file."""

import re
from typing import Any

import pytest

from hookbot.access.rate_limits import Rate
from hookbot.errors import ConfigError
from hookbot.hub.config_file import Mistakes
from hookbot.hub.quota_section import parse_quota


def test_a_section_is_a_quota() -> None:
    quota = parse_quota("team/", {"publishes": "100/s", "bytes": "1GB/h", "subscribers": 50, "cursors": 20})

    assert quota.prefix == "team/"
    assert quota.limits == {
        "publishes": Rate(100, 1),
        "bytes": Rate(1 << 30, 3600),
        "subscribers": 50,
        "cursors": 20,
    }
    assert list(parse_quota("team", {"cursors": 1}).limits) == ["cursors"]


@pytest.mark.parametrize(
    ("section", "mistake"),
    [
        ({"publishes": 100}, ("publishes", "publishes must be a string, not an integer")),
        ({"publishes": "100/d"}, ("publishes", "a rate must be like 100/s, 60/m or 1000/h, not '100/d'")),
        ({"bytes": "100/s"}, ("bytes", "a rate of bytes must be like 10MB/s, 100MB/m or 1GB/h, not '100/s'")),
        ({"bytes": "0B/s"}, ("bytes", "a rate of bytes must be like 10MB/s, 100MB/m or 1GB/h, not '0B/s'")),
        ({"subscribers": 0}, ("subscribers", "must be at least 1, not 0")),
        ({"cursors": True}, ("cursors", "cursors must be an integer, not true or false")),
        ({"publish": "1/s"}, ("publish", "a quota has no limit 'publish', did you mean 'publishes'?")),
        ({}, ("", "it limits nothing: set one of publishes, bytes, subscribers, cursors")),
    ],
)
def test_a_mistake_is_told_with_its_key(section: dict[str, Any], mistake: tuple[str, str]) -> None:
    with pytest.raises(Mistakes) as caught:
        parse_quota("team/", section)
    assert caught.value.mistakes == [mistake]


def test_a_prefix_is_a_topic() -> None:
    with pytest.raises(ConfigError, match=re.escape("topic must be 'team/'")):
        parse_quota("/team/", {"cursors": 1})
