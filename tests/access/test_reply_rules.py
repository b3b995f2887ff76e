"""Rules for replies: at which topics a sender may wait for one."""

import re

import pytest

from hookbot.access.reply_rules import NO_REPLIES, ReplyRules
from hookbot.errors import Forbidden, InvalidTopic, Refused
from hookbot.protocol.replies import REPLIES, Reply
from hookbot.protocol.request import Request
from hookbot.protocol.topics import MAX_TOPIC_BYTES, TopicFilter

POST = Request("POST", b"/pub/cmd?reply", ())
RULES = ReplyRules(TopicFilter(("cmd", "all/", "/unsafe/slack/")), 3, Reply())


@pytest.mark.parametrize("topic", ["cmd", "all/x", "all/x/y", "/unsafe/slack/x"])
def test_a_sender_may_wait_at_these_topics(topic: str) -> None:
    RULES.check(POST, topic)


@pytest.mark.parametrize("topic", ["cmd/x", "all", "other", "/unsafe/cmd", "/unsafe/slack", "slack/x"])
def test_no_sender_may_wait_elsewhere(topic: str) -> None:
    with pytest.raises(Refused, match=re.escape(f"no sender waits for a reply at {topic!r}")):
        RULES.check(POST, topic)


def test_where_nothing_is_configured_nobody_waits() -> None:
    with pytest.raises(Refused):
        NO_REPLIES.check(POST, "cmd")


def test_a_topic_has_to_leave_room_for_that_of_its_answers() -> None:
    longest = MAX_TOPIC_BYTES - len(REPLIES)
    RULES.check(POST, "all/".ljust(longest, "x"))

    with pytest.raises(InvalidTopic):
        RULES.check(POST, "all/".ljust(longest + 1, "x"))


@pytest.mark.parametrize(
    ("target", "is_publish"),
    [
        ("/pub/cmd?reply", True),
        ("/pub/cm%64?a=b&reply=1", True),
        ("/unsafe/pub/slack/x?reply", True),
        ("/pub/cmd", False),
        ("/pub/cmd?reply=later", False),
        ("/pub/cmd/x?reply", False),
        ("/unsafe/pub/slack?reply", False),
        ("/sub/cmd?reply", False),
        ("/cmd?reply", False),
    ],
)
def test_a_get_is_a_publish_where_its_sender_may_wait_and_does(target: str, is_publish: bool) -> None:
    assert RULES.is_asked_by_get(Request("GET", target.encode(), ())) is is_publish
    assert not any(RULES.is_asked_by_get(Request(method, target.encode(), ())) for method in ("POST", "HEAD", "PUT"))


@pytest.mark.parametrize(
    "field",
    [
        ("Sec-Fetch-Dest", "script"),
        ("sec-fetch-site", "none"),
        ("Service-Worker", "script"),
        ("Cookie", "a=b; __Host-hookbot=x"),
        ("Cookie", "hookbot=x"),
    ],
)
def test_a_browser_is_no_sender_by_get(field: tuple[str, str]) -> None:
    with pytest.raises(Forbidden, match="a browser is no sender"):
        RULES.check(Request("GET", b"/pub/cmd?reply", (field,)), "cmd")
    RULES.check(Request("POST", b"/pub/cmd?reply", (field,)), "cmd")


def test_a_server_is_one() -> None:
    RULES.check(Request("GET", b"/pub/cmd?reply", (("Cookie", "session=1"), ("Accept", "text/html"))), "cmd")
