"""What a hub answers when it does not do what it was asked, turned back into the error that it raised."""

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus

from ..errors import (
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

PASSING = (Unavailable, TooManyRequests, RequestTimeout)
"""What may be gone at the next attempt; every other error is final."""

MAX_RETRY_AFTER_S = 300  # a hub, or a proxy in front of it, that asks for more is asked again anyway

_BY_STATUS: Mapping[int, Callable[[str], HookbotError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    408: RequestTimeout,
    410: HistoryLost,
    413: BodyTooLarge,
    422: KeyReused,
    426: UpgradeRequired,
    431: HeadersTooLarge,
}


class OnlyRaw(Refused):
    """The hub speaks only raw frames, as the ancestor does, which cannot do what was asked."""


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


def retry_after(error: HookbotError) -> float:
    """How many seconds the hub asked to wait; 0 if it did not."""
    return error.retry_after_s if isinstance(error, (Lost, TooManyRequests)) else 0


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
