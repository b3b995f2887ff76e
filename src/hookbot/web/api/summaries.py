"""Summaries of messages: what a list shows of each, without headers and body."""

from typing import Literal, NotRequired, TypedDict

from ...protocol.event_type import event_type
from ...protocol.failures import Failure
from ...protocol.message import MAX_TIME_US, Message, format_time
from ...protocol.replies import Answer, is_answer
from ...protocol.topics import is_unsafe
from ...signatures import SignedRequest
from ...signatures.catalogue import PROVIDERS

_MAX_TEXT = 256

Verdict = Literal["verified", "token", "unverified"]


class FailureFields(TypedDict):
    """Message that a router has failed at, and the reason."""

    router: str
    id: str
    topic: str
    error: str


class ReplyFields(TypedDict):
    """Message that was replied to, and the status of the reply."""

    id: str
    topic: str
    status: int


class Summary(TypedDict):
    """Summary of a message, for lists."""

    id: str
    topic: str
    time: str
    size: int
    content_type: str | None
    event: str | None
    verdict: Verdict
    provider: NotRequired[str]
    key: NotRequired[str]
    signed_at: NotRequired[str]
    source: NotRequired[str]
    delivery: NotRequired[str]
    hops: NotRequired[list[str]]
    duplicate_of: NotRequired[str]
    replay_of: NotRequired[str]
    routed_from: NotRequired[str]
    failed: NotRequired[FailureFields]
    reply: NotRequired[ReplyFields]


def summarize(message: Message) -> Summary:
    """The summary of a message; takes some tens of microseconds, also if its body is large."""
    summary: Summary = {
        "id": message.id,
        "topic": message.topic,
        "time": format_time(message.time_us),
        "size": len(message.body),
        "content_type": _clipped(message.header("content-type")),
        "event": event_type(message),
        "verdict": verdict_on(message),
    }
    if verified := message.verified:
        summary["provider"], summary["key"] = verified.provider, verified.key
        if verified.signed_at is not None and 0 <= verified.signed_at * 1e6 <= MAX_TIME_US:
            summary["signed_at"] = format_time(int(verified.signed_at * 1e6))
        if verified.source:
            summary["source"] = verified.source
        if delivery := _clipped(_delivery_of(message, verified.provider)):
            summary["delivery"] = delivery
    if message.hops:
        summary["hops"] = list(message.hops)
    if message.duplicate_of:
        summary["duplicate_of"] = message.duplicate_of
    if message.replay_of:
        summary["replay_of"] = message.replay_of
    if message.routed_from:
        summary["routed_from"] = message.routed_from
    _add_told(summary, message)
    return summary


def verdict_on(message: Message) -> Verdict:
    """Knowledge of the sender of a message: its signature, that it had a token, or nothing."""
    if message.verified:
        return "verified"
    # Listeners have a token at any topic.
    return "unverified" if is_unsafe(message.topic) and not is_answer(message) else "token"


def _add_told(summary: Summary, message: Message) -> None:
    """Add what a message of the hub's own tells of another one."""
    if failure := Failure.of(message):
        summary["failed"] = {
            "router": failure.router,
            "id": failure.id,
            "topic": failure.topic,
            "error": failure.error,
        }
    if answer := Answer.of(message):
        summary["reply"] = {"id": answer.id, "topic": answer.topic, "status": answer.reply.status}


def _delivery_of(message: Message, provider: str) -> str | None:
    """Id in a header that the sender gives the delivery."""
    known = PROVIDERS.get(provider)
    return known.delivery_of(SignedRequest(headers=message.headers)) if known else None


def _clipped(text: str | None) -> str | None:
    return text and text[:_MAX_TEXT]
