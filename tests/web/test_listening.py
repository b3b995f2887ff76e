"""Listening sockets, and the URLs that they are reached by."""

import socket
from pathlib import Path

from hookbot.web.listening import ListeningSocket
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
