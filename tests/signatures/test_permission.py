"""The permission that senders of CloudEvents ask for."""

import pytest

from hookbot.signatures import SignedRequest
from hookbot.signatures.permission import permission


def asking(origin: str, method: str = "OPTIONS") -> SignedRequest:
    return SignedRequest(headers=(("webhook-request-origin", origin), ("WebHook-Request-Rate", "120")), method=method)


def test_who_asks_is_allowed_to_post_at_any_rate() -> None:
    allowed = permission(asking("eventgrid.azure.net"))

    assert allowed
    assert (allowed.status, allowed.body) == (200, b"")
    assert allowed.headers == (
        ("Allow", "POST"),
        ("WebHook-Allowed-Origin", "eventgrid.azure.net"),
        ("WebHook-Allowed-Rate", "*"),
    )


@pytest.mark.parametrize(
    "request_",
    [
        SignedRequest(method="OPTIONS"),
        asking(""),
        asking("*"),
        asking("a b"),
        asking("a.example\n"),
        asking("\xe4.example"),
        asking("a" * 254),
        asking("a.example", method="POST"),
        asking("a.example", method="GET"),
    ],
)
def test_no_other_request_is(request_: SignedRequest) -> None:
    assert permission(request_) is None
