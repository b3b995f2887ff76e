"""Rules for replies: whose senders may wait for one, how long, and what they get where nobody gives any."""

from dataclasses import dataclass

from ..errors import Refused
from ..protocol.replies import MAX_WAIT_S, REPLY, Reply, answers_topic
from ..protocol.topics import TopicFilter, check_topic


@dataclass(frozen=True, slots=True)
class ReplyRules:
    """Rules of a hub for publishes whose senders wait for a reply."""

    topics: TopicFilter
    wait_s: float
    default: Reply
    """What a sender gets if nobody replies in time, and its source has no answer of its own."""

    def check(self, topic: str) -> None:
        """Raise `Refused` unless the sender of a message of this topic may wait for a reply."""
        if not self.topics.matches(topic):
            raise Refused(f"no sender waits for a reply at {topic[:100]!r}: leave out ?{REPLY}, or configure it there")
        check_topic(answers_topic(topic))


# 202, since what was published is stored, and nobody has said anything to it yet (RFC 9110, section 15.3.3).
NO_REPLIES = ReplyRules(TopicFilter(()), MAX_WAIT_S, Reply(202))
"""The rules of a hub where no topic has replies."""
