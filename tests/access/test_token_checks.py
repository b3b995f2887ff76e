"""Checks of the tokens of requests."""

from base64 import b64encode

import pytest

from hookbot.access.authorizer import Authorizer
from hookbot.access.narrowed_tokens import NarrowedToken
from hookbot.access.rate_limits import Rate, RateLimiter
from hookbot.access.token_checks import TokenChecks
from hookbot.access.tokens import make_token
from hookbot.errors import Forbidden, TooManyRequests, Unauthorized
from hookbot.log.trusted_clock import TrustedClock
from hookbot.protocol.request import Request
from support import KEY

OWN = "https://own.example"


def checks(key: str = KEY, *, now_s: int = 0, failures: str = "100/s") -> TokenChecks:
    limiter = RateLimiter(Rate.parse(failures), "failures")
    return TokenChecks(Authorizer([key]), TrustedClock.of(lambda: now_s * 1_000_000), limiter, {OWN})


def basic(user: str, password: str = "") -> str:
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


def asking(authorization: str = "", origin: str = "") -> Request:
    headers = {"Host": "hub.example.com", "Authorization": authorization, "Origin": origin}
    return Request("GET", b"/metrics", tuple((name, value) for name, value in headers.items() if value), "192.0.2.1")


def test_a_request_with_a_valid_token_is_authenticated() -> None:
    request = asking(f"Bearer {make_token(KEY, '/metrics')}")

    checks().admit_operator(request)

    assert request.authenticated


def test_a_request_without_one_is_told_why_until_it_has_failed_too_often() -> None:
    strict = checks(failures="2/m")

    with pytest.raises(Unauthorized, match="there is no token"):
        strict.admit_operator(asking())
    with pytest.raises(Unauthorized, match="not from the password"):
        strict.admit_operator(asking(basic("x", "secret")))
    with pytest.raises(TooManyRequests, match="failures"):
        strict.admit_operator(asking(f"Bearer {make_token('another key', '/')}"))


@pytest.mark.parametrize(("origin", "may"), [("", True), (OWN, True), ("https://other.example", False)])
def test_saved_credentials_are_for_the_pages_of_the_hub(origin: str, may: bool) -> None:
    request = asking(basic(make_token(KEY, "/")), origin)

    if may:
        checks().admit_operator(request)
    else:
        with pytest.raises(Forbidden, match="saved credentials"):
            checks().admit_operator(request)


def test_after_a_reload_other_keys_count_by_the_same_clock() -> None:
    running, loaded = checks(now_s=100), checks("another key", now_s=0)
    of_new_key = make_token("another key", "/")
    ended = str(NarrowedToken.of(of_new_key, "/").narrow("expires", "50"))

    running.adopt(loaded)

    assert running.find_grant(asking(f"Bearer {of_new_key}"), "/metrics", "operate")
    assert not running.find_grant(asking(f"Bearer {ended}"), "/metrics", "operate")
