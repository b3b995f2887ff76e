"""Clients behind proxies."""

import pytest

from hookbot.access.authorizer import Authorizer
from hookbot.access.client_address import TrustedProxies
from hookbot.access.clients import Clients
from hookbot.access.rate_limits import FAILURES, RateLimiter
from hookbot.access.token_checks import TokenChecks
from hookbot.log.trusted_clock import TrustedClock
from hookbot.protocol.request import Request
from support import KEY


def make_clients(proxies: str) -> Clients:
    clock = TrustedClock()
    tokens = TokenChecks(Authorizer([KEY]), clock, RateLimiter(FAILURES, "requests"), ())
    return Clients(TrustedProxies.parse(proxies), tokens, clock)


def test_a_client_is_known_by_the_address_that_a_trusted_proxy_saw() -> None:
    clients = make_clients("10.0.0.0/8")
    headers = (("X-Forwarded-For", "203.0.113.9, 198.51.100.7"),)

    assert clients.resolve(Request("GET", b"/", headers, client="10.0.0.1")).client == "198.51.100.7"
    assert clients.resolve(Request("GET", b"/", headers, client="192.0.2.1")).client == "192.0.2.1"


@pytest.mark.parametrize(
    ("proxies", "peer", "forwarded", "doubt"),
    [
        ("1", "10.0.0.1", "", "the trusted proxy at 10.0.0.1 sends no X-Forwarded-For"),
        ("10.0.0.0/8", "10.0.0.1", "", "the trusted proxy at 10.0.0.1 sends no X-Forwarded-For"),
        ("0", "127.0.0.1", "203.0.113.9", "a proxy at 127.0.0.1 sends X-Forwarded-For, which is ignored"),
        ("10.0.0.0/8", "::1", "203.0.113.9", "a proxy at ::1 sends X-Forwarded-For, which is ignored"),
        ("0", "", "203.0.113.9", "a proxy at a Unix socket sends X-Forwarded-For, which is ignored"),
        ("1", "", "", "the trusted proxy at a Unix socket sends no X-Forwarded-For"),
        ("1", "10.0.0.1", "203.0.113.9", None),
        ("10.0.0.0/8", "192.0.2.1", "", None),
        ("0", "192.0.2.1", "203.0.113.9", None),
        ("0", "127.0.0.1", "", None),
    ],
)
def test_a_proxy_that_is_not_as_configured_is_told_once(
    caplog: pytest.LogCaptureFixture, proxies: str, peer: str, forwarded: str, doubt: str | None
) -> None:
    clients = make_clients(proxies)
    headers = (("X-Forwarded-For", forwarded),) if forwarded else ()
    for _ in range(3):
        clients.resolve(Request("POST", b"/pub/x", headers, client=peer))
    assert [record.getMessage().startswith(doubt or "") for record in caplog.records] == [True] * bool(doubt)


def test_a_proxy_is_told_again_after_a_reload_that_did_not_help(caplog: pytest.LogCaptureFixture) -> None:
    clients = make_clients("1")
    clients.resolve(Request("POST", b"/pub/x", (), client="10.0.0.1"))
    clients.adopt(make_clients("10.0.0.0/8"))
    clients.resolve(Request("POST", b"/pub/x", (), client="10.0.0.1"))
    assert len(caplog.records) == 2


def test_a_reload_changes_whose_connections_are_a_proxys() -> None:
    clients = make_clients("0")
    assert not clients.is_proxy("10.0.0.1")
    clients.adopt(make_clients("10.0.0.0/8"))
    assert clients.is_proxy("10.0.0.1")
