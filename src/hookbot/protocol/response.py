"""HTTP responses, the same from the fast path and from the app, and the errors that clients parse from them."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from html import unescape
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
from ..terminal import one_line
from .envelope import encode_line
from .message import Duplicate, Headers, Message
from .request import Request

CONSOLE = "hookbot-console"
"""Header of each request of the console's pages: no page of another origin can set it without asking the hub first."""

# An overloaded hub usually recovers within a moment, and clients add their own backoff.
RETRY_AFTER_S = 1

# The hub, or a proxy in front of it, may ask for a longer delay; a listener would then miss its recovery.
MAX_RETRY_AFTER_S = 300

_REALM = 'realm="hookbot"'
# RFC 9110, sections 15.5.8, 15.6.3 and 15.6.5.
_OF_PROXIES = (407, 502, 504)
_STATUSES = frozenset(HTTPStatus)
_TITLE = re.compile(r"<title[^>]*>([^<]+)", re.IGNORECASE)

PLAIN: Headers = (("Content-Type", "text/plain; charset=utf-8"),)
JSON: Headers = (("Content-Type", "application/json"),)
PROBLEM: Headers = (("Content-Type", "application/problem+json"),)
UNFRAMED = (204, 304)
"""Statuses whose responses have no body, nor the length of one (RFC 9110, section 8.6)."""
NO_SNIFFING: Headers = (("X-Content-Type-Options", "nosniff"),)


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response without its Content-Length.

    The default headers suit the response to a provider's challenge: plain text that an untrusted client chose.
    """

    body: bytes = b""
    status: int = 200
    headers: Headers = PLAIN + NO_SNIFFING


def stored_response(outcome: Message | Duplicate, *, json: bool) -> Response:
    """The response to a publish that is stored or a duplicate: ``OK``, or the id as JSON."""
    headers: Headers = (("Hookbot-Message-Id", outcome.id),)
    if isinstance(outcome, Duplicate):
        headers = (*headers, ("Hookbot-Duplicate", "true"))
    if json:
        return Response(encode_line({"id": outcome.id}), 200, JSON + headers)
    return Response(b"OK\n", 200, PLAIN + headers)


def error_response(error: HookbotError, request: Request, status: int | None = None) -> Response:
    """The response to an error: one plain sentence, or problem+json (RFC 9457) if the client accepts JSON.

    `status` overrides the status of the error.
    """
    status = status or error.status
    headers = _headers_of(error, request)
    if request.accepts_json:
        problem = {"title": HTTPStatus(status).phrase, "status": status, "detail": str(error)}
        return Response(encode_line(problem), status, PROBLEM + headers)
    return Response(f"{error}\n".encode("utf-8", "backslashreplace"), status, PLAIN + headers)


def _headers_of(error: HookbotError, request: Request) -> Headers:
    match error:
        # Every 401 must have this header (RFC 9110, section 15.5.2). At "Basic", a browser asks for a password, over a
        # page of the console as well.
        case Unauthorized() | BadSignature():
            return (("WWW-Authenticate", f"{'Bearer' if request.sent(CONSOLE) else 'Basic'} {_REALM}"),)
        case MethodNotAllowed(allow=allow):
            return (("Allow", allow),)
        case UpgradeRequired():
            return (("Upgrade", "websocket"), ("Connection", "Upgrade"))
        case TooManyRequests(retry_after_s=seconds):
            return (("Retry-After", str(seconds)),)
        case Unavailable(retry_after_s=seconds):
            return (("Retry-After", str(max(RETRY_AFTER_S, math.ceil(seconds)))),)
    return ()


_BY_STATUS: Mapping[int, Callable[[str], HookbotError]] = {
    error.status: error
    for error in (
        *(Unauthorized, Forbidden, NotFound, RequestTimeout, HistoryLost),
        *(BodyTooLarge, KeyReused, UpgradeRequired, HeadersTooLarge),
    )
}


def error_from(status: int, headers: Mapping[str, str], body: bytes, *, of_hub: bool = True) -> HookbotError:
    """The error that an unsuccessful response reports. `headers` are looked up by lower-case names.

    A response that no hub sends is said to be a proxy's, unless another server than a hub was asked (`of_hub` False).
    """
    # Nobody asks for a compressed one, except the sender of a message that is forwarded.
    text = _sentence(status, b"" if "content-encoding" in headers else body)
    if of_hub and _is_of_proxy(status, headers, body):
        text += " (from a proxy on the way, not from the hub)"
    if 300 <= status < 400:
        return Refused(f"{text}: use {headers.get('location', 'another address').split('?')[0]}")
    if status == 405:
        return MethodNotAllowed(text, allow=headers.get("allow", ""))
    if status == 429:
        return TooManyRequests(text, retry_after_s=_retry_after(headers))
    # 409, which this hub never sends: the first request with the same Idempotency-Key is still in progress
    # (draft-ietf-httpapi-idempotency-key-header).
    if status == 409 or status >= 500 or status < 200:
        return Lost(text, retry_after_s=_retry_after(headers))
    return _BY_STATUS.get(status, Refused)(text)


def _is_of_proxy(status: int, headers: Mapping[str, str], body: bytes) -> bool:
    """True for a status of gateways and proxies, a web page, and a request for other credentials than a token.

    Those of gateways include all that no standard has: AWS sends 460 and 561, Cloudflare 520 to 530.
    """
    realm = headers.get("www-authenticate", _REALM)
    return status in _OF_PROXIES or status not in _STATUSES or body.lstrip().startswith(b"<") or _REALM not in realm


def _retry_after(headers: Mapping[str, str]) -> int:
    """Seconds or time in ``Retry-After`` (RFC 9110, section 10.2.3), as seconds from the ``Date`` of the response."""
    asked = headers.get("retry-after", "")
    if asked.isascii() and asked.isdigit():
        # Four digits exceed the limit, and Python converts no number of more than 4,300.
        return min(int(asked.lstrip("0")[:4] or 0), MAX_RETRY_AFTER_S)
    try:
        delay = parsedate_to_datetime(asked) - parsedate_to_datetime(headers.get("date", ""))
    # TypeError: only one of them has a time zone.
    except (ValueError, TypeError, OverflowError):
        return 0
    return min(max(0, math.ceil(delay.total_seconds())), MAX_RETRY_AFTER_S)


def _sentence(status: int, body: bytes) -> str:
    """The status, and the first line of the body or of its problem detail.

    The title of a web page, which may tell more than the status, takes the place of that line: "The plain HTTP request
    was sent to HTTPS port". So does the standard phrase of the status if there is neither.
    """
    text = body[:2000].decode("utf-8", "replace").strip()
    if text.startswith("{"):
        text = _problem(body)
    if text.startswith("<"):
        title = _TITLE.search(text)
        text = unescape(title[1]).strip() if title else ""
    if not text:
        text = title_of(status)
    line = one_line(text.split("\n")[0][:300])
    return line if line.startswith(str(status)) else f"{status} {line}".strip()


def title_of(status: int) -> str:
    """The status with its standard phrase, if there is one: most of the numbers up to 999 have none."""
    return f"{status} {HTTPStatus(status).phrase}" if status in _STATUSES else str(status)


def _problem(body: bytes) -> str:
    """Detail or title of an ``application/problem+json`` body (RFC 9457); empty if there is none."""
    try:
        problem = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    told = problem.get("detail") or problem.get("title")
    return told if isinstance(told, str) else ""
