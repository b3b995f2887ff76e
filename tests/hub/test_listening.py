"""The sockets of a hub: several, with and without TLS, Unix sockets, and those that systemd hands over."""

import socket
import ssl
import stat
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from hookbot.errors import ConfigError
from hookbot.hub.listening import listening
from hookbot.hub.systemd import InheritedSocket
from hookbot.web.tls import Tls
from support import GUARD_S
from support.clients import basic
from support.hubs import configured, open_whole_hub
from support.tls import hub_context

HERE = "127.0.0.1:0"


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, Any]:
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    made.private_key_pem.write_to_path(tmp_path / "key.pem")
    made.cert_chain_pems[0].write_to_path(tmp_path / "crt.pem")
    return {"tls_certificate": tmp_path / "crt.pem", "tls_key": tmp_path / "key.pem"}


@contextmanager
def left_behind(path: Path) -> Iterator[None]:
    """The socket of a process that is gone."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    yield


async def ask(address: str, path: str = "/healthz", **options: Any) -> httpx.Response:
    unix = address.removeprefix("unix:") if address.startswith("unix:") else None
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    transport = httpx.AsyncHTTPTransport(uds=unix, verify=context)
    async with httpx.AsyncClient(transport=transport, timeout=GUARD_S) as client:
        return await client.request("GET", ("http://hub" if unix else address) + path, **options)


@pytest.mark.parametrize("door", [True, False])
async def test_a_hub_listens_on_all_of_its_addresses_with_and_without_tls(
    tmp_path: Path, certificate: dict[str, Any], door: bool
) -> None:
    bind = (HERE, f"http://{HERE}", f"https://{HERE}", f"unix:{tmp_path}/hub")
    async with open_whole_hub(tmp_path, bind=bind, door=door, client={"verify": False}, **certificate) as hub:
        addresses = hub.running.addresses

        assert [one.partition(":")[0] for one in addresses] == ["https", "http", "https", "unix"]
        assert [(await ask(address)).status_code for address in addresses] == [200] * 4
        headers = {"Authorization": f"Basic {basic('/pub/a')}"}
        for address in addresses:
            unix = address.removeprefix("unix:") if address.startswith("unix:") else None
            transport = httpx.AsyncHTTPTransport(uds=unix, verify=False)
            async with httpx.AsyncClient(transport=transport) as client:
                answer = await client.post(("http://hub" if unix else address) + "/pub/a", headers=headers)
            assert answer.status_code == 200
        assert hub.head == 4


async def test_a_hub_with_a_unix_socket_alone_has_the_url_of_a_proxy(tmp_path: Path) -> None:
    async with open_whole_hub(tmp_path, bind=(f"unix:{tmp_path}/hub",)) as hub:
        assert hub.running.url == "http://localhost"
        assert (await ask(f"unix:{tmp_path}/hub")).text == "ok\n"


async def test_a_unix_socket_has_its_mode_and_is_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "hub"
    for suffix, mode in (("", 0o660), (",mode=666", 0o666)):
        async with listening(configured(tmp_path, bind=(f"unix:{path}{suffix}",)), None):
            assert stat.S_IMODE(path.stat().st_mode) == mode
        assert not path.exists()


async def test_a_unix_socket_that_a_crash_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "hub"
    with left_behind(path):
        async with listening(configured(tmp_path, bind=(f"unix:{path}",)), None) as [one]:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                one.sock.accept()[0].close()


async def test_a_unix_socket_or_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "hub"
    config = configured(tmp_path, bind=(f"unix:{path}",))
    async with listening(config, None):
        with pytest.raises(ConfigError, match=r"--bind: the hub cannot listen on .*Address already in use"):
            async with listening(config, None):
                pass
        assert path.is_socket()
        path.unlink()
        path.write_text("precious")

        with pytest.raises(ConfigError, match="File exists"):
            async with listening(config, None):
                pass

    assert path.read_text() == "precious"


async def test_a_unix_socket_of_the_next_hub_stays_at_the_end_of_this_one(tmp_path: Path) -> None:
    path = tmp_path / "hub"
    config = configured(tmp_path, bind=(f"unix:{path}",))
    async with AsyncExitStack() as next_one:
        async with listening(config, None) as [one]:
            # As a hub does before it answers what it has accepted. A file system may use its inode again.
            one.sock.close()
            await next_one.enter_async_context(listening(config, None))

        assert path.is_socket()
    assert not path.exists()


async def test_what_systemd_hands_over_takes_the_place_of_the_default(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        inherited = [InheritedSocket(sock.dup(), "hookbot.socket")]
        async with listening(configured(tmp_path, bind=()), None, inherited) as [one]:
            assert (one.sock.getsockname(), one.kept) == (sock.getsockname(), True)
        inherited = [InheritedSocket(sock.dup(), "hookbot.socket")]
        async with listening(configured(tmp_path, bind=(HERE,)), None, inherited) as sockets:
            assert [one.kept for one in sockets] == [True, False]


async def test_of_what_systemd_hands_over_all_but_unix_sockets_and_http_is_encrypted(tmp_path: Path) -> None:
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(tmp_path / "hub"))
    unix.listen()
    tcp = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    inherited = [InheritedSocket(sock, name) for sock, name in zip((unix, *tcp), ("a", "http", "https"), strict=True)]
    async with listening(configured(tmp_path, bind=()), Tls(hub_context()), inherited) as sockets:
        assert [one.tls is not None for one in sockets] == [False, False, True]


async def test_a_socket_of_systemd_that_accepts_no_connections_is_refused(tmp_path: Path) -> None:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with pytest.raises(ConfigError, match="the socket 'odd' of systemd accepts no connections"):
            async with listening(configured(tmp_path), None, [InheritedSocket(socket.socket(type=kind), "odd")]):
                pass


@pytest.mark.skipif(not hasattr(socket, "AF_VSOCK"), reason="sockets between machines and their guests are of Linux")
async def test_a_socket_of_systemd_of_another_family_is_refused(tmp_path: Path) -> None:
    try:
        sock = socket.socket(socket.AF_VSOCK)
    except OSError:
        pytest.skip("this kernel has no such sockets")
    sock.bind((socket.VMADDR_CID_ANY, 12345))
    sock.listen()
    with pytest.raises(ConfigError, match="the socket 'odd' of systemd is neither TCP nor Unix"):
        async with listening(configured(tmp_path), None, [InheritedSocket(sock, "odd")]):
            pass
