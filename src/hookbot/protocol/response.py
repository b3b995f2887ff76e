"""HTTP responses, the same whichever way a request came in, and the way back from one to the error behind it."""

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
from .envelope import encode_json
from .message import Duplicate, Headers, Message
from .request import Request

RETRY_AFTER_S = 1

PLAIN: Headers = (("Content-Type", "text/plain; charset=utf-8"),)
JSON: Headers = (("Content-Type", "application/json"),)
PROBLEM: Headers = (("Content-Type", "application/problem+json"),)  # RFC 9457
NO_SNIFFING: Headers = (("X-Content-Type-Options", "nosniff"),)


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response without its Content-Length.

    By default what a provider's challenge is answered with: text that an untrusted client chose.
    """

    body: bytes = b""
    status: int = 200
    headers: Headers = PLAIN + NO_SNIFFING


def stored_response(outcome: Message | Duplicate, request: Request) -> Response:
    """The response to a stored publish: ``OK``, as the ancestor says it, or the id for those who accept JSON."""
    headers: Headers = (("Hookbot-Message-Id", outcome.id),)
    if isinstance(outcome, Duplicate):
        headers = (*headers, ("Hookbot-Duplicate", "true"))
    if _accepts_json(request):
        return Response(encode_json({"id": outcome.id}).encode() + b"\n", 200, JSON + headers)
    return Response(b"OK\n", 200, PLAIN + headers)


def error_response(error: HookbotError, request: Request, status: int | None = None) -> Response:
    """The response to an error: one plain sentence, or problem+json (RFC 9457) for those who accept JSON."""
    status = status or error.status
    headers = _headers_of(error)
    if _accepts_json(request):
        problem = {"title": HTTPStatus(status).phrase, "status": status, "detail": str(error)}
        return Response(encode_json(problem).encode() + b"\n", status, PROBLEM + headers)
    return Response(f"{error}\n".encode("utf-8", "backslashreplace"), status, PLAIN + headers)


def _accepts_json(request: Request) -> bool:
    return "json" in request.header("accept").lower()


def _headers_of(error: HookbotError) -> Headers:
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


def error_from(status: int, headers: Mapping[str, str], body: bytes) -> HookbotError:
    """The error behind a response other than success; `headers` have lower-case names."""
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
