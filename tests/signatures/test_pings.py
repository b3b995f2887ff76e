"""Unsigned pings: exactly what the senders send, and nothing that could be a delivery."""

import pytest

from hookbot.signatures import SignedRequest, load_provider
from hookbot.signatures.catalogue import PROVIDERS
from hookbot.signatures.pings import MAX_PING_BYTES, Ping

FORM = "application/x-www-form-urlencoded"


def ping_of(provider: str) -> Ping:
    options = {"header": "X-WC-Webhook-Signature"} if provider == "hmac" else {}
    ping = load_provider(provider, options).ping
    assert ping
    return ping


def request(body: bytes, *headers: tuple[str, str], length: str | None = None) -> SignedRequest:
    return SignedRequest(body, (*headers, ("Content-Length", length or str(len(body)))))


PINGS = [
    ("hmac", b"webhook_id=15", ("Content-Type", FORM)),
    ("hmac", b"webhook_id=15", ("content-type", f"{FORM}; charset=UTF-8")),
    ("bitbucket", b'{"test": true}', ("X-Event-Key", "diagnostics:ping")),
    ("bitbucket", b'{"test":true}\n', ("X-Event-Key", "diagnostics:ping")),
    ("bitbucket", b'{"test": true}', ("Content-Type", "application/json")),
]


@pytest.mark.parametrize(("provider", "body", "header"), PINGS)
def test_what_the_sender_sends_is_a_ping(provider: str, body: bytes, header: tuple[str, str]) -> None:
    ping, sent = ping_of(provider), request(body, header)
    assert ping.may_begin(SignedRequest(b"", sent.headers))
    assert ping.matches(sent)


@pytest.mark.parametrize(
    ("provider", "body", "header"),
    [
        ("hmac", b"webhook_id=15&total=5", ("Content-Type", FORM)),
        ("hmac", b"webhook_id=", ("Content-Type", FORM)),
        ("hmac", b"webhook_id=x", ("Content-Type", FORM)),
        ("hmac", b"webhook_id=15\n", ("Content-Type", FORM)),
        ("hmac", b"webhook_id=15", ("Content-Type", "application/json")),
        ("hmac", b"webhook_id=15", ("X-Other", "y")),
        ("hmac", b"", ("Content-Type", FORM)),
        ("bitbucket", b'{"test": false}', ("X-Event-Key", "diagnostics:ping")),
        ("bitbucket", b'{"test": true, "push": {}}', ("X-Event-Key", "diagnostics:ping")),
        ("bitbucket", b'{"test": true}' + b" " * MAX_PING_BYTES, ("X-Event-Key", "diagnostics:ping")),
        ("bitbucket", b'{"test": true}', ("X-Event-Key", "repo:push")),
        ("bitbucket", b"", ("X-Event-Key", "diagnostics:ping")),
    ],
)
def test_whatever_else_is_sent_is_none(provider: str, body: bytes, header: tuple[str, str]) -> None:
    assert not ping_of(provider).matches(request(body, header))


def test_a_ping_is_posted_and_its_length_is_declared() -> None:
    for provider, body, header in PINGS:
        ping, sent = ping_of(provider), request(body, header)
        assert not ping.matches(SignedRequest(body, sent.headers, method="PUT"))
        assert not ping.may_begin(SignedRequest(b"", (header,)))
        for length in ("65", "-1", "x", "9" * 5000, "٣"):
            assert not ping.may_begin(request(body, header, length=length))


def test_few_senders_have_one() -> None:
    assert [name for name, provider in PROVIDERS.items() if provider.ping] == ["bitbucket"]
