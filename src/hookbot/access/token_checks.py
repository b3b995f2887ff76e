"""Checks of the tokens of requests: what they open, and why they do not."""

from collections.abc import Collection
from typing import NoReturn

from ..errors import Forbidden, Unauthorized
from ..log.trusted_clock import TrustedClock
from ..protocol.request import Request
from ..protocol.topics import decode_path
from .authorizer import Action, Authorizer, Grant
from .client_address import client_network
from .rate_limits import RateLimiter
from .rejections import missing_token
from .tokens import basic_credentials, find_tokens


class TokenChecks:
    """Decisions about the tokens of requests, by an authorizer and a limit on failures."""

    def __init__(
        self, authorizer: Authorizer, clock: TrustedClock, failures: RateLimiter, origins: Collection[str]
    ) -> None:
        """`origins`: those of web pages that may use the hub as its own do, in lower case."""
        self.authorizer = authorizer
        self.origins = origins
        self._clock = clock
        self._failures = failures

    def adopt(self, other: "TokenChecks") -> None:
        """Take over the rules of `other`."""
        self.authorizer, self.origins, self._failures = other.authorizer, other.origins, other._failures

    def authorize(self, request: Request, path: str, action: Action) -> Grant:
        """Grant of the request's token. Counts a failure and raises `Unauthorized` if no token is valid.

        After too many failures raises `TooManyRequests` instead. Raises `Forbidden` for Basic credentials from a web
        page of another origin, since the browser may have saved them, and `Refused` like `find_tokens`.
        """
        grant = self.find_grant(request, path, action)
        if grant is None:
            self.refuse(request, path, action)
        self.check_page(request)
        request.authenticated = True
        return grant

    def admit_operator(self, request: Request) -> None:
        """Admit a request to an operators' path, such as ``/metrics``. Raises `Refused`."""
        self.authorize(request, decode_path(request.raw_path), "operate")

    def refuse(self, request: Request, path: str, action: Action) -> NoReturn:
        """Count a request without a valid token as a failure, and raise what `authorize` raises for it."""
        self._failures.use(client_network(request.client), now_s=self._clock.monotonic_s)
        raise Unauthorized.because(self._rejection(request, path, action))

    def check_page(self, request: Request) -> None:
        """Raise `Forbidden` for Basic credentials from a web page of another origin."""
        # Browsers add saved Basic credentials to a websocket or a form post of any page. In any other way, a page can
        # only send a token that it was given.
        if request.is_foreign(self.origins) and request.header("authorization").lower().startswith("basic "):
            raise Forbidden(f"pages of {request.header('origin')[:80]!r} may not use this hub with saved credentials")

    def find_grant(self, request: Request, path: str, action: Action) -> Grant | None:
        """Grant of the first valid token of the request, or None. Raises `Refused` like `find_tokens`."""
        now_s = self._clock() / 1e6
        grants = (self.authorizer.grant(token, path, action, now_s=now_s) for token in find_tokens(request))
        return next(filter(None, grants), None)

    def _rejection(self, request: Request, path: str, action: Action) -> str:
        """Reason for which the request has no valid token: that of the first token that it has."""
        token = next(filter(None, find_tokens(request)), None)
        if token is None:
            return missing_token(request)
        why = self.authorizer.rejection(token, path, action, now_s=self._clock() / 1e6)
        has_password = bool(basic_credentials(request)[1])
        return f"the token is taken from the user name, not from the password: {why}" if has_password else why
