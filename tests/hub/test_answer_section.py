"""Answers in a configuration file: of a source, and of the hub where nobody replies."""

from pathlib import Path
from typing import Any

import pytest

from hookbot.access.reply_rules import NO_REPLIES
from hookbot.errors import ConfigError
from hookbot.hub.answer_section import parse_answer, read_reply_rules
from hookbot.hub.config_file import Mistakes
from hookbot.protocol.replies import MAX_REPLY_BODY, Reply
from hookbot.protocol.topics import TopicFilter
from support.hubs import configured


def test_an_answer_is_read() -> None:
    headers = {"Content-Type": "text/xml", "X-A": "1"}

    answer = parse_answer({"status": 201, "headers": headers, "body": "\u20ac"})

    assert answer == Reply(201, tuple(headers.items()), "\u20ac".encode())
    assert parse_answer({}) == Reply(200)


@pytest.mark.parametrize(
    ("section", "mistake"),
    [
        ({"status": "200"}, ("status", "status must be an integer, not a string")),
        ({"status": 99}, ("status", "the status of a reply is a number from 200 to 599, not 99")),
        ({"status": 204, "body": "x"}, ("status", "a reply with the status 204 has no body")),
        ({"body": 1}, ("body", "body must be a string, not an integer")),
        ({"body": "x" * (MAX_REPLY_BODY + 1)}, ("body", "the body of a reply has at most 65536 bytes, not 65537")),
        ({"headers": {"X-A": 1}}, ("headers", "the value of the header 'X-A' must be a string")),
        ({"headers": {"X-A": "\n"}}, ("headers", "a reply has a malformed header: 'X-A'")),
        (
            {"headers": {"Set-Cookie": "a=b"}},
            ("headers", "no answer can carry the header 'Set-Cookie': it speaks for the hub, or to a browser"),
        ),
        ({"text": ""}, ("text", "an answer has no key 'text'")),
    ],
)
def test_a_mistake_is_told_with_its_key(section: dict[str, Any], mistake: tuple[str, str]) -> None:
    with pytest.raises(Mistakes) as raised:
        parse_answer(section)

    assert raised.value.mistakes == [mistake]


def test_rules_are_those_of_the_configuration(tmp_path: Path) -> None:
    config = configured(tmp_path, "[reply_default]\nstatus = 504\n", reply_prefixes=("a/",), reply_timeout_s=3)

    rules = read_reply_rules(config)

    assert (rules.topics, rules.wait_s, rules.default) == (TopicFilter(("a/",)), 3, Reply(504))
    assert read_reply_rules(configured(tmp_path)) == NO_REPLIES


def test_a_mistake_in_the_default_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"hookbot\.toml:2: the status of a reply is a number"):
        read_reply_rules(configured(tmp_path, "[reply_default]\nstatus = 99\n"))
