"""Rules for replies: at which topics a sender may wait for one."""

import re

import pytest

from hookbot.access.reply_rules import NO_REPLIES, ReplyRules
from hookbot.errors import InvalidTopic, Refused
from hookbot.protocol.replies import REPLIES, Reply
from hookbot.protocol.topics import MAX_TOPIC_BYTES, TopicFilter

RULES = ReplyRules(TopicFilter(("cmd", "all/", "/unsafe/slack/")), 3, Reply())


@pytest.mark.parametrize("topic", ["cmd", "all/x", "all/x/y", "/unsafe/slack/x"])
def test_a_sender_may_wait_at_these_topics(topic: str) -> None:
    RULES.check(topic)


@pytest.mark.parametrize("topic", ["cmd/x", "all", "other", "/unsafe/cmd", "/unsafe/slack", "slack/x"])
def test_no_sender_may_wait_elsewhere(topic: str) -> None:
    with pytest.raises(Refused, match=re.escape(f"no sender waits for a reply at {topic!r}")):
        RULES.check(topic)


def test_where_nothing_is_configured_nobody_waits() -> None:
    with pytest.raises(Refused):
        NO_REPLIES.check("cmd")


def test_a_topic_has_to_leave_room_for_that_of_its_answers() -> None:
    longest = MAX_TOPIC_BYTES - len(REPLIES)
    RULES.check("all/".ljust(longest, "x"))

    with pytest.raises(InvalidTopic):
        RULES.check("all/".ljust(longest + 1, "x"))
