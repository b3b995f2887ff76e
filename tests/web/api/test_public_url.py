"""The public URL of a hub."""

import pytest

from hookbot.access.authorizer import Authorizer
from hookbot.access.control import AccessControl
from hookbot.protocol.message import Headers
from hookbot.protocol.request import Request
from hookbot.web.api.public_url import is_https, public_url


@pytest.mark.parametrize(
    ("configured", "headers", "secure", "url"),
    [
        ("https://example.com/hooks", (("Host", "10.0.0.5:8080"),), False, "https://example.com/hooks"),
        ("", (("Host", "10.0.0.5:8080"),), False, "http://10.0.0.5:8080"),
        ("", (("Host", "hub.example.com"),), True, "https://hub.example.com"),
        ("", (("Host", "hub.example.com"), ("X-Forwarded-Proto", "https")), False, "https://hub.example.com"),
        ("", (("Host", "a/b"),), False, ""),
    ],
)
def test_the_configuration_or_else_the_request_tells_it(
    configured: str, headers: Headers, secure: bool, url: str
) -> None:
    access = AccessControl(Authorizer(["k"]), clock_us=lambda: 0, public_url=configured)
    request = Request("GET", b"/hookbot/", headers, secure=secure)

    assert public_url(access, request) == url
    assert is_https(access, request) == (url.startswith("https") or secure)
