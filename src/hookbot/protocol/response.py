"""What a request is answered: the same status, headers and sentence whichever way it came in."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from ..errors import (
    BadSignature,
    BodyTooLarge,
    Forbidden,
    HeadersTooLarge,
    HistoryLost,
    HookbotError,
    KeyReused,
    Lost,
    MethodNotAllowed,
    NotFound,
    Refused,
    RequestTimeout,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UpgradeRequired,
)
from ..signatures import Reply
from .envelope import encode_json
from .message import Duplicate, Message
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


MAX_RETRY_AFTER_S = 300  # a hub, or a proxy in front of it, that asks for more is asked again anyway

_BY_STATUS: Mapping[int, Callable[[str], HookbotError]] = {
    error.status: error
    for error in (
        *(Unauthorized, Forbidden, NotFound, RequestTimeout, HistoryLost),
        *(BodyTooLarge, KeyReused, UpgradeRequired, HeadersTooLarge),
    )
}


def error_of(status: int, headers: Mapping[str, str], body: bytes) -> HookbotError:
    """The error behind an answer other than success; `headers` have lower-case names."""
    text = _sentence(status, body)
    if 300 <= status < 400:
        return Refused(f"{text}: it lives at {headers.get('location', 'another place').split('?')[0]}")
    if status == 405:
        return MethodNotAllowed(text, allow=headers.get("allow", ""))
    if status == 429:
        return TooManyRequests(text, retry_after_s=_retry_after(headers))
    if status == 409 or status >= 500 or status < 200:  # 409: the first attempt is still in flight
        return Lost(text, retry_after_s=_retry_after(headers))
    return _BY_STATUS.get(status, Refused)(text)


def _retry_after(headers: Mapping[str, str]) -> int:
    asked = headers.get("retry-after", "")
    return min(int(asked), MAX_RETRY_AFTER_S) if asked.isascii() and asked.isdigit() else 0


def _sentence(status: int, body: bytes) -> str:
    """The first line of what was said, or the usual name of the status where that is a web page or nothing."""
    text = body[:2000].decode("utf-8", "replace").strip()
    if text.startswith("{"):
        text = _problem(body)
    if not text or text.startswith("<"):
        text = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
    line = "".join(c for c in text.split("\n")[0][:300] if c.isprintable())
    return line if line.startswith(str(status)) else f"{status} {line}".strip()


def _problem(body: bytes) -> str:
    """The sentence of an ``application/problem+json`` (RFC 9457)."""
    try:
        problem = json.loads(body)
        return str(problem.get("detail") or problem.get("title") or "")
    except ValueError:
        return ""
