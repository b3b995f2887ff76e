"""What a request is answered: the same status, headers and sentence whichever way it came in."""

from dataclasses import dataclass
from http import HTTPStatus

from ..errors import (
    BadSignature,
    HookbotError,
    MethodNotAllowed,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UpgradeRequired,
)
from ..signatures import Reply
from .message import Duplicate, Message, encode_json
from .request import Request

RETRY_AFTER_S = 1

PLAIN = ("Content-Type", "text/plain; charset=utf-8")
JSON = ("Content-Type", "application/json")
PROBLEM = ("Content-Type", "application/problem+json")  # RFC 9457


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response without its Content-Length."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def stored(outcome: Message | Duplicate, request: Request) -> Answer:
    """A publish was stored: ``OK``, as the ancestor says it, or the id as JSON for those who accept it."""
    headers = [("Hookbot-Message-Id", outcome.id)]
    if isinstance(outcome, Duplicate):
        headers.append(("Hookbot-Duplicate", "true"))
    if _accepts_json(request):
        return Answer(200, (JSON, *headers), encode_json({"id": outcome.id}).encode() + b"\n")
    return Answer(200, (PLAIN, *headers), b"OK\n")


def greeted(reply: Reply) -> Answer:
    """What a sender who only asked who is there wants to hear."""
    return Answer(reply.status, reply.headers, reply.body)


def failed(error: HookbotError, request: Request) -> Answer:
    """One plain sentence, or problem+json (RFC 9457) for those who accept JSON."""
    headers = _headers_of(error)
    if _accepts_json(request):
        problem = {"title": HTTPStatus(error.status).phrase, "status": error.status, "detail": str(error)}
        return Answer(error.status, (PROBLEM, *headers), encode_json(problem).encode() + b"\n")
    return Answer(error.status, (PLAIN, *headers), f"{error}\n".encode("utf-8", "backslashreplace"))


def _accepts_json(request: Request) -> bool:
    return "json" in request.header("accept").lower()


def _headers_of(error: HookbotError) -> tuple[tuple[str, str], ...]:
    match error:
        case Unauthorized() | BadSignature():  # RFC 9110, section 15.5.2
            return (("WWW-Authenticate", 'Basic realm="hookbot"'),)
        case MethodNotAllowed(allow=allow):
            return (("Allow", allow),)
        case UpgradeRequired():
            return (("Upgrade", "websocket"), ("Connection", "Upgrade"))
        case TooManyRequests(retry_after_s=seconds):
            return (("Retry-After", str(seconds)),)
        case Unavailable():
            return (("Retry-After", str(RETRY_AFTER_S)),)
    return ()
