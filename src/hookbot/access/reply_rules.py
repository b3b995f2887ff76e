"""Rules for replies: whose senders may wait for one, how long, and what they get where nobody gives any."""

from dataclasses import dataclass

from ..errors import Forbidden, Refused
from ..protocol.paths import split_path
from ..protocol.replies import MAX_WAIT_S, REPLY, Reply, answers_topic, asks_reply
from ..protocol.request import Request
from ..protocol.topics import TopicFilter, check_topic, decode_path
from .session import COOKIES


@dataclass(frozen=True, slots=True)
class ReplyRules:
    """Rules of a hub for publishes whose senders wait for a reply."""

    topics: TopicFilter
    wait_s: float
    default: Reply
    """Reply to a sender if nobody replies in time, and its source has no answer of its own."""

    def is_asked_by_get(self, request: Request) -> bool:
        """True if a request by GET is a publish: its sender waits for a reply, where one may."""
        if request.method != "GET" or not asks_reply(request.query):
            return False
        action, topic = split_path(decode_path(request.raw_path))
        return action == "publish" and self.topics.matches(topic)

    def check(self, request: Request, topic: str) -> None:
        """Raise `Refused` unless the sender of a request may wait for a reply to a message of this topic."""
        if not self.topics.matches(topic):
            raise Refused(f"no sender waits for a reply at {topic[:100]!r}: leave out ?{REPLY}, or configure it there")
        # A page of the hub may load what a GET of its own origin answers, as a script too.
        if request.method == "GET" and _is_of_browser(request):
            raise Forbidden("a browser is no sender: only a server may publish by GET")
        check_topic(answers_topic(topic))


def _is_of_browser(request: Request) -> bool:
    """True if a browser has sent a request, as it tells; over plain HTTP, only by the session of the console."""
    # The name of one cookie ends with that of the other.
    told = "service-worker" in request.fields or f"{COOKIES[1]}=" in request.header("cookie")
    return told or any(name.startswith("sec-fetch-") for name in request.fields)


# 202, since what was published is stored, and nobody has said anything to it yet (RFC 9110, section 15.3.3).
NO_REPLIES = ReplyRules(TopicFilter(()), MAX_WAIT_S, Reply(202))
"""The rules of a hub where no topic has replies."""
