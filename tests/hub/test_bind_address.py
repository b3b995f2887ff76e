"""Addresses to listen on: of TCP with and without TLS, and Unix sockets."""

from pathlib import Path

import pytest

from hookbot.errors import ConfigError
from hookbot.hub.bind_address import BindAddress


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":8080", BindAddress("", 8080)),
        ("127.0.0.1:0", BindAddress("127.0.0.1", 0)),
        ("[::1]:80", BindAddress("::1", 80)),
        ("hub.example:65535", BindAddress("hub.example", 65535)),
        ("hub_1.exämple:1", BindAddress("hub_1.exämple", 1)),
        (":::8080", BindAddress("::", 8080)),
        ("[fe80::1%eth0]:80", BindAddress("fe80::1%eth0", 80)),
        ("http://:8080", BindAddress("", 8080, "http")),
        ("https://[::1]:443", BindAddress("::1", 443, "https")),
        ("unix:/run/hookbot.sock", BindAddress(scheme="http", path=Path("/run/hookbot.sock"), mode=0o660)),
        ("unix:hub,mode=666", BindAddress(scheme="http", path=Path("hub"), mode=0o666)),
    ],
)
def test_an_address_is_a_host_and_a_port_or_a_path(text: str, address: BindAddress) -> None:
    assert BindAddress.parse(text) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", "8080", "hub.example", ":", ":http", ":-1", ":65536", ":٨٠", "[::1]", "[::1:80", "::1]:80"),
        *("*:80", " :80", "a b:80", "http://localhost", "localhost:80/", "localhost:80:80", '"localhost:80"'),
        *("256.1.1.1:80", "1.2.3:80:80", "a..b:80", f"{'a' * 64}.b:80", "[1::2::3]:80", "ftp://:80", "tls::80"),
        *("unix:", "unix:a,mode=", "unix:a,mode=9", "unix:a,b", "unix:a\0b", "http://unix:a"),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="address"):
        BindAddress.parse(text)
