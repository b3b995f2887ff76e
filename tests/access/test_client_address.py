"""Client addresses, also behind proxies."""

from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookbot.access.client_address import TrustedProxies, client_network, is_within, read_address
from hookbot.errors import ConfigError


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded_for", "client"),
    [
        ("0", "192.0.2.1", "", "192.0.2.1"),
        ("0", "192.0.2.1", "203.0.113.9", "192.0.2.1"),
        ("1", "192.0.2.1", "203.0.113.9", "203.0.113.9"),
        ("1", "192.0.2.1", "1.1.1.1, 203.0.113.9", "203.0.113.9"),
        ("2", "192.0.2.1", "1.1.1.1, 203.0.113.9, 198.51.100.7", "203.0.113.9"),
        ("2", "192.0.2.1", "203.0.113.9", "203.0.113.9"),
        ("1", "192.0.2.1", "", "192.0.2.1"),
        ("1", "", "203.0.113.9", "203.0.113.9"),
        ("192.0.2.0/24", "192.0.2.1", "1.1.1.1, 203.0.113.9", "203.0.113.9"),
        ("192.0.2.0/24", "198.51.100.7", "203.0.113.9", "198.51.100.7"),
        ("192.0.2.0/24", "", "203.0.113.9", ""),
        ("192.0.2.0/24, 10.0.0.0/8", "192.0.2.1", "1.1.1.1, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
        ("192.0.2.0/24", "192.0.2.1", "192.0.2.2, 192.0.2.3", "192.0.2.2"),
        ("fd00::/8", "fd00::1", "2001:db8::9", "2001:db8::9"),
        ("fd00::/8", "192.0.2.1", "2001:db8::9", "192.0.2.1"),
        ("1", "192.0.2.1", "203.0.113.9:5678", "203.0.113.9"),
        ("1", "192.0.2.1", "[2001:db8::9]:5678", "2001:db8::9"),
        ("1", "192.0.2.1", "[2001:db8::9]", "2001:db8::9"),
        ("1", "192.0.2.1", "::ffff:203.0.113.9", "203.0.113.9"),
        ("1", "192.0.2.1", "2001:DB8:0::9", "2001:db8::9"),
        ("1", "192.0.2.1", "unknown", "192.0.2.1"),
        ("2", "192.0.2.1", "203.0.113.9, _hidden", "192.0.2.1"),
        ("2", "192.0.2.1", "nonsense, 203.0.113.9", "203.0.113.9"),
        ("1", "192.0.2.1", "203.0.113.9,", "192.0.2.1"),
    ],
)
def test_the_rightmost_address_that_is_not_a_trusted_proxys_is_the_clients(
    trusted: str, peer: str, forwarded_for: str, client: str
) -> None:
    assert TrustedProxies.parse(trusted).client(peer, forwarded_for) == client


@given(st.integers(0, 3), st.lists(st.ip_addresses(), min_size=1, max_size=5), st.text(max_size=40))
def test_nobody_changes_who_they_are_by_what_they_write_themselves(count: int, added: list[Any], written: str) -> None:
    """Each proxy appends the address that it received the request from; the client may have written anything before."""
    hops = [str(address) for address in added]
    honest = TrustedProxies(min(count, len(hops))).client("192.0.2.1", ", ".join(hops))
    assert TrustedProxies(min(count, len(hops))).client("192.0.2.1", ", ".join([written, *hops])) == honest


@given(st.text(), st.text())
def test_whatever_is_written_there_is_a_client(peer: str, forwarded_for: str) -> None:
    for trusted in ("0", "5", "0.0.0.0/0,::/0"):
        assert isinstance(TrustedProxies.parse(trusted).client(peer, forwarded_for), str)


@pytest.mark.parametrize("text", ["", "-1", "proxy.example", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/8;fd00::/8", "1.5"])
def test_what_names_no_proxies_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="trusted proxies must be"):
        TrustedProxies.parse(text)


def test_an_address_lies_within_networks_of_its_own_kind() -> None:
    networks = (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))
    assert is_within("192.0.2.255", networks)
    assert is_within("2001:db8::1", networks)
    assert is_within("::ffff:192.0.2.1", networks)
    for outside in ("192.0.3.0", "2001:db9::1", "", "unknown", "192.0.2", "192.0.2.1/32"):
        assert not is_within(outside, networks)
    assert not is_within("192.0.2.1", ())


def test_neighbours_are_counted_as_one_where_one_customer_has_them_all() -> None:
    assert client_network("2001:db8:1:2::3") == client_network("2001:db8:1:2:ffff::") == "2001:db8:1:2::/64"
    assert client_network("2001:db8:1:3::3") != client_network("2001:db8:1:2::3")
    assert client_network("192.0.2.1") == client_network("::ffff:192.0.2.1") == "192.0.2.1"
    assert client_network("") == ""


def test_what_is_no_address_is_none() -> None:
    for text in ("", "localhost", "1.2.3.4:", "1.2.3.4:x", "[::1", "::1]", "[]", "1.2.3.4, 5.6.7.8"):
        assert read_address(text) is None, text


@pytest.mark.parametrize(
    ("proxies", "peer", "trusted"),
    [
        ("0", "192.0.2.1", False),
        ("1", "192.0.2.1", True),
        ("192.0.2.0/24", "192.0.2.1", True),
        ("192.0.2.0/24", "198.51.100.1", False),
        ("192.0.2.0/24", "", False),
    ],
)
def test_a_connection_of_a_proxy_is_known_by_its_address(proxies: str, peer: str, trusted: bool) -> None:
    assert TrustedProxies.parse(proxies).trusts(peer) is trusted
