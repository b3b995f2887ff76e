"""Listening sockets, and the URLs that they are reached by."""

import os
import socket
import sys
from pathlib import Path

import pytest

from hookbot.web.listening import ListeningSocket, peer_address
from hookbot.web.tls import Tls
from support.tls import hub_context


def test_a_socket_has_the_url_by_which_it_is_reached_on_this_machine() -> None:
    for host, family, shown in (("127.0.0.1", socket.AF_INET, "127.0.0.1"), ("0.0.0.0", socket.AF_INET, "localhost")):
        with socket.create_server((host, 0), family=family) as sock:
            port = sock.getsockname()[1]
            assert ListeningSocket(sock).url == f"http://{shown}:{port}"
            assert ListeningSocket(sock, Tls(hub_context())).url == f"https://{shown}:{port}"


def test_a_unix_socket_is_reached_by_its_path(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "hub"))
        assert ListeningSocket(sock).url == f"unix:{tmp_path}/hub"


@pytest.mark.skipif(sys.platform != "linux", reason="abstract addresses are of Linux")
def test_an_abstract_unix_socket_is_shown_as_systemd_writes_it() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"\0hookbot-{os.getpid()}")
        assert ListeningSocket(sock).url == f"unix:@hookbot-{os.getpid()}"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (("192.0.2.1", 80), "192.0.2.1"),
        (("::ffff:192.0.2.1", 80, 0, 0), "192.0.2.1"),
        (("2001:db8::1", 80, 0, 0), "2001:db8::1"),
        *(("", ""), ("/run/client", ""), (b"\0client", ""), (None, "")),
    ],
)
def test_a_client_has_the_address_of_its_machine_and_none_at_a_unix_socket(address: object, shown: str) -> None:
    assert peer_address(address) == shown
