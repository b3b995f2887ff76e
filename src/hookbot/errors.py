"""Errors of hookbot, grouped by whose fault they are.

    HookbotError
    ├── Refused            the caller's fault                                    400
    │   ├── InvalidTopic   a malformed or reserved topic, or a malformed path    400
    │   ├── Unauthorized   no token, or none that is valid here                  401
    │   ├── BadSignature   no valid signature of the expected provider           401
    │   ├── Forbidden      not allowed for this client, web page or token        403
    │   ├── NotFound       no such path, message, cursor or group                404
    │   ├── MethodNotAllowed                                                     405
    │   ├── RequestTimeout the request did not arrive in time                    408
    │   ├── HistoryLost    messages are missing, and the format has no gaps      410
    │   ├── BodyTooLarge                                                         413
    │   ├── KeyReused      an Idempotency-Key was reused with another body       422
    │   ├── UpgradeRequired  neither a websocket nor a streaming response        426
    │   ├── TooManyRequests  a limit: retry after `retry_after_s`                429
    │   │   └── QuotaReached   one on the topics of a prefix
    │   └── HeadersTooLarge                                                      431
    ├── Unavailable        temporary: retry with jittered backoff                503
    │   ├── HeldElsewhere  another hub serves the cursor or the group
    │   ├── Damaged        a part of the log that cannot be read until it is repaired
    │   ├── Superseded     another hub has done it, or has taken it over
    │   └── Lost           no usable response; raised by clients only
    ├── Ended              the hub ends an active subscription                   a close code
    └── ConfigError        wrong configuration or options                        exit code 2

The message of an error is one plain sentence for the person who caused it. It
shows the offending value and never a token, a secret or an expected signature.
"""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

KINDS: Mapping[type, str] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    list: "a list",
    tuple: "a list",
    dict: "a table",
    type(None): "nothing",
}
"""Names of types in error messages, as a reader of TOML expects them."""

# Python writes "[SSL: UNSUPPORTED_PROTOCOL] unsupported protocol (_ssl.c:1006)".
_OPENSSL = re.compile(r"^\[.*?\] | \(_ssl\.c:[0-9]+\)$")


class HookbotError(Exception):
    """Base class of hookbot's own errors; `status` is the HTTP status of a response that reports one."""

    status = 500


class Refused(HookbotError):
    """Error of the caller. The same request fails again, unless a subclass says otherwise."""

    status = 400


class InvalidTopic(Refused):
    """A topic or path that is malformed, or a topic that only the hub itself may publish to."""


class Unauthorized(Refused):
    """No token, or none that is valid for this path and action."""

    status = 401

    def __init__(self, message: str = "401 Unauthorized") -> None:
        super().__init__(message)

    @classmethod
    def because(cls, reason: str) -> "Unauthorized":
        """Error with a reason, behind the words with which a 401 has always begun."""
        return cls(f"401 Unauthorized: {reason}")


class BadSignature(Refused):
    """The request has no valid signature of the expected provider."""

    status = 401


class Forbidden(Refused):
    """The address, client certificate, web page or token does not allow the request, or it names another owner."""

    status = 403


class NotFound(Refused):
    """The path, unsafe topic, message, cursor or group does not exist."""

    status = 404


class MethodNotAllowed(Refused):
    """The path does not support this method; `allow` lists those that it supports, as in the header ``Allow``."""

    status = 405

    def __init__(self, message: str, *, allow: str) -> None:
        super().__init__(message)
        self.allow = allow


class RequestTimeout(Refused):
    """The request did not arrive in time; a later attempt may succeed."""

    status = 408


class BodyTooLarge(Refused):
    """The body is larger than its receiver, the hub or a listener, accepts."""

    status = 413

    @classmethod
    def than(cls, max_bytes: int) -> "BodyTooLarge":
        """Error for a body that is larger than `max_bytes`."""
        return cls(f"the body is larger than {max_bytes} bytes")


class HistoryLost(Refused):
    """Messages that the client wants are missing, and its format, raw frames, cannot report the gap."""

    status = 410


class KeyReused(Refused):
    """The ``Idempotency-Key`` was used before, for the same topic, with another body."""

    status = 422


class UpgradeRequired(Refused):
    """Subscription by plain GET, without a streaming ``Accept`` and without ``since``, ``limit`` or ``follow``."""

    status = 426


class TooManyRequests(Refused):
    """A limit was reached; the same request may succeed after `retry_after_s` seconds, 0 if unknown."""

    status = 429

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QuotaReached(TooManyRequests):
    """A quota of the topics of a prefix is reached, whoever has used it up."""


class HeadersTooLarge(Refused):
    """The request line and the headers together are longer than the hub accepts."""

    status = 431


class Unavailable(HookbotError):
    """The hub cannot do this now; a later attempt may succeed. Nothing was stored, unless the error is `Lost`.

    `retry_after_s` is the delay in seconds after which it may, 0 if that is unknown.
    """

    status = 503

    def __init__(self, why: str, *, retry_after_s: float = 0) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class HeldElsewhere(Unavailable):
    """Another hub serves `what`, a cursor or a group; it is reached at `url`, or not at all if that is empty."""

    def __init__(self, why: str, *, what: str = "", url: str = "", retry_after_s: float = 0) -> None:
        super().__init__(why, retry_after_s=retry_after_s)
        self.what = what
        self.url = url

    @classmethod
    def by(cls, hub: str, url: str, what: str, *, retry_after_s: float = 0) -> "HeldElsewhere":
        """The error that names the hub."""
        unreachable = "" if url else ", which says no URL (--advertise)"
        why = f"the {what} is served by the hub {hub}{unreachable}; connect to that one, or try again later"
        return cls(why, what=what, url=url, retry_after_s=retry_after_s)


class Damaged(Unavailable):
    """A part of the log that this touches cannot be read. Every attempt fails until the operator has repaired it."""


class Superseded(Unavailable):
    """Another hub of the log has done this meanwhile, or has taken it over: nothing was stored."""


class Lost(Unavailable):
    """The client got no usable response, or one that asks to retry; a message may have been stored all the same."""


class Ended(HookbotError):
    """The hub ends an active subscription. A websocket is closed with `code`, and the message as the reason."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class ConfigError(HookbotError):
    """Configuration or options that the hub, a command or a router cannot work with."""


@contextmanager
def as_refusal() -> Iterator[None]:
    """Context for values of a caller: a `ValueError` within it becomes `Refused`, with the same sentence."""
    try:
        yield
    except ValueError as error:
        raise Refused(str(error)) from None


def sole_error(error: BaseException) -> BaseException:
    """The only error in nested exception groups, which nurseries raise; a group of several errors is returned whole."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        [error] = error.exceptions
    return error


def first_error(error: BaseException) -> BaseException:
    """The first error in nested exception groups; any other error is returned as it is."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def innermost_error(error: BaseException) -> BaseException:
    """The error that caused all others, or one of hookbot's own, which says enough."""
    error = first_error(error)
    beneath = error.__cause__ or error.__context__
    if isinstance(error, HookbotError) or not isinstance(beneath, Exception):
        return error
    return innermost_error(beneath)


def describe(error: BaseException) -> str:
    """An exception in one line: its type, and at most 500 characters of its text."""
    error = sole_error(error)
    try:
        text = " ".join(str(error).split())[:500]
    # The class may be a router's, and its `__str__` may raise anything.
    except BaseException:  # noqa: BLE001
        text = "(its text cannot be shown)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def did_you_mean(name: str, known: Collection[str], *, prefix: str = "") -> str:
    """``did you mean 'name'?`` with the known name that is closest, or an empty string if none is close.

    `prefix`: what is shown before it, since it would make any two names similar.
    """
    close = get_close_matches(name, known, n=1)
    return f"did you mean {prefix + close[0]!r}?" if close else ""


def kind_of(value: Any) -> str:
    """Name of a value's type, for messages that must not show the value."""
    return next((KINDS[kind] for kind in type(value).__mro__ if kind in KINDS), f"a {type(value).__name__}")


def system_reason(error: BaseException) -> str:
    """Reason why a file or a socket failed, without the number, path or address that Python adds; may be empty."""
    text = getattr(error, "strerror", None) or str(error)
    # OpenSSL's errors are OSErrors with numbers that are no errno; those of getaddrinfo are negative.
    if type(error).__module__ == "ssl":
        return _OPENSSL.sub("", text)
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return text
