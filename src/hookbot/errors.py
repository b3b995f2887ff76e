"""Errors that hookbot raises, by whose fault they are.

    HookbotError
    ├── Refused            the caller's fault                                    400
    │   ├── InvalidTopic   not a topic                                           400
    │   ├── Unauthorized   no token, or not one for this path                    401
    │   ├── BadSignature   the sender did not prove who it is                    401
    │   ├── Forbidden      known, and still not allowed                          403
    │   ├── NotFound       no such path                                          404
    │   ├── MethodNotAllowed                                                     405
    │   ├── RequestTimeout the request did not arrive in time                    408
    │   ├── HistoryLost    the log has deleted it, and the format has no gaps    410
    │   ├── BodyTooLarge                                                         413
    │   ├── KeyReused      an Idempotency-Key came back with another body        422
    │   ├── UpgradeRequired  a subscription asked for as a plain page            426
    │   ├── TooManyRequests  a limit: retry after ``retry_after_s``              429
    │   └── HeadersTooLarge                                                      431
    ├── Unavailable        ours, for now: retry with jittered backoff            503
    │   └── Lost           no connection; raised by the client only
    ├── Ended              the hub ends an active subscription                   a close code
    └── ConfigError        the hub does not start                                exit code 2

The message of an error is one plain sentence for the person who caused it. It
shows the offending value and never a token, a secret or an expected signature.
"""

import os
import re
from collections.abc import Collection, Mapping
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
}
"""Names of types in messages, in the words of TOML."""

# Python writes "[SSL: UNSUPPORTED_PROTOCOL] unsupported protocol (_ssl.c:1006)".
_OPENSSL = re.compile(r"^\[.*?\] | \(_ssl\.c:[0-9]+\)$")


class HookbotError(Exception):
    """Base class of all errors that hookbot raises on purpose."""

    status = 500


class Refused(HookbotError):
    """Error of the caller. The same request fails again, unless a subclass says otherwise."""

    status = 400


class InvalidTopic(Refused):
    """Not the name of a topic."""


class Unauthorized(Refused):
    """No token, or none for this path. The message does not say which, so that it does not help to guess one."""

    status = 401

    def __init__(self, message: str = "401 Unauthorized") -> None:
        super().__init__(message)


class BadSignature(Refused):
    """The request does not carry a valid signature of the provider that it claims to come from."""

    status = 401


class Forbidden(Refused):
    """Request that is not allowed from this address or web page, or that the restrictions of its token exclude."""

    status = 403


class NotFound(Refused):
    """Nothing exists at this path."""

    status = 404


class MethodNotAllowed(Refused):
    """The path exists, but not for this method; ``allow`` lists the methods it has."""

    status = 405

    def __init__(self, message: str, *, allow: str) -> None:
        super().__init__(message)
        self.allow = allow


class RequestTimeout(Refused):
    """The request did not arrive in time; sent faster, the same request may succeed."""

    status = 408


class BodyTooLarge(Refused):
    """The body is longer than the hub accepts."""

    status = 413

    @classmethod
    def than(cls, max_bytes: int) -> "BodyTooLarge":
        """Refusal of a body that is larger than `max_bytes`."""
        return cls(f"the body is larger than {max_bytes} bytes")


class HistoryLost(Refused):
    """Retention has deleted messages that the client asks for, and its format cannot report a gap."""

    status = 410


class KeyReused(Refused):
    """An ``Idempotency-Key`` was used before, on the same topic, with another body."""

    status = 422


class UpgradeRequired(Refused):
    """Subscription requested with neither a websocket upgrade nor a streaming ``Accept``."""

    status = 426


class TooManyRequests(Refused):
    """A limit was reached; the same request may succeed after ``retry_after_s`` seconds."""

    status = 429

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class HeadersTooLarge(Refused):
    """The request line or the headers are longer than the hub accepts."""

    status = 431


class Unavailable(HookbotError):
    """The hub cannot do this now; nothing was stored, and a later attempt may succeed."""

    status = 503


class Lost(Unavailable):
    """The hub cannot be reached, has closed the connection, or asks to retry after `retry_after_s` seconds."""

    def __init__(self, why: str, *, retry_after_s: float = 0) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class Ended(HookbotError):
    """The hub ends an active subscription; its websocket is closed with `code` and the message as the reason."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class ConfigError(HookbotError):
    """Configuration or options that the hub, a command or a router cannot work with."""


def sole_error(error: BaseException) -> BaseException:
    """The only error in nested exception groups, as nurseries make them; a group of several is returned as it is."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        [error] = error.exceptions
    return error


def first_error(error: BaseException) -> BaseException:
    """The first error in nested exception groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def did_you_mean(name: str, known: Collection[str]) -> str:
    """``did you mean 'name'?`` with the known name that is closest, or an empty string if none is close."""
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else ""


def kind_of(value: Any) -> str:
    """Name of a value's type, for messages that must not show the value."""
    return KINDS.get(type(value), f"a {type(value).__name__}")


def system_reason(error: BaseException) -> str:
    """Reason why a file or a socket failed, without the number, path or address that Python adds."""
    text = getattr(error, "strerror", None) or str(error)
    # OpenSSL's errors are OSErrors too, but their numbers are its own; those of getaddrinfo are negative.
    if getattr(error, "library", None):
        return _OPENSSL.sub("", text)
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return text
