"""docs/operations.md: the sites for nginx and Caddy are whole ones, and pass on everything that a hub serves."""

import re
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import httpx
import pytest
import trustme

from hookbot.access.client_address import TrustedProxies
from hookbot.access.tokens import make_token
from hookbot.client import Messages, listen, publish
from hookbot.protocol.message import Message
from support import KEY
from support.caddy import needs_caddy, running_caddy
from support.hubs import WholeHub, open_whole_hub
from support.nginx import needs_nginx, running_nginx
from support.pages import blocks, page, section
from support.ports import free_ports

pytestmark = pytest.mark.slow

PART = section(page("docs/operations.md"), "Put it behind a proxy")
[SITE] = blocks(PART, "nginx")
[CADDYFILE] = blocks(PART, "text")


class Proxy:
    """A proxy with a site of the page, for one hub."""

    def __init__(self, port: int, ca_file: Path) -> None:
        self.url = f"https://localhost:{port}"
        self.ca_file = ca_file

    def url_for(self, path: str) -> str:
        return f"{self.url.replace('://', f'://{make_token(KEY, path)}@')}{path}"


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[WholeHub]:
    async with open_whole_hub(tmp_path, trusted_proxies=TrustedProxies.parse("1")) as hub:
        yield hub


def running_proxy(name: str, port: int, hub: WholeHub, directory: Path) -> AbstractAsyncContextManager[None]:
    """A proxy whose certificate and key are in `localhost.pem` of a directory."""
    certificate = str(directory / "localhost.pem")
    if name == "nginx":
        site = SITE.replace("listen 443", f"listen 127.0.0.1:{port}").replace("127.0.0.1:8080", f"127.0.0.1:{hub.port}")
        return running_nginx(re.sub(r"/etc/letsencrypt/\S+(?=;)", certificate, site), directory)
    site = CADDYFILE.replace("127.0.0.1:8080", f"127.0.0.1:{hub.port}")
    site = site.replace("hub.example.com {", f"https://localhost:{port} {{\n    tls {certificate} {certificate}")
    return running_caddy(site, directory)


@pytest.fixture(params=[pytest.param("nginx", marks=needs_nginx), pytest.param("caddy", marks=needs_caddy)])
async def proxy(request: pytest.FixtureRequest, hub: WholeHub, tmp_path: Path) -> AsyncIterator[Proxy]:
    [port] = free_ports(1)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "localhost.pem")
    async with running_proxy(request.param, port, hub, tmp_path):
        yield Proxy(port, tmp_path / "ca.pem")


async def first_of(messages: Messages) -> Message:
    message = await anext(messages)
    assert isinstance(message, Message)
    return message


async def test_a_message_is_published_and_heard_over_a_websocket(proxy: Proxy) -> None:
    async with listen(proxy.url_for("/sub/x"), ca_file=proxy.ca_file) as messages:
        await publish(proxy.url_for("/pub/x"), b"hello", ca_file=proxy.ca_file)
        assert (await first_of(messages)).body == b"hello"


async def test_a_stream_is_not_held_back(proxy: Proxy, hub: WholeHub) -> None:
    async with (
        httpx.AsyncClient(verify=ssl.create_default_context(cafile=proxy.ca_file)) as client,
        client.stream("GET", proxy.url_for("/sub/x"), headers={"Accept": "text/event-stream"}) as response,
    ):
        assert response.status_code == 200
        await hub.post("/pub/x", b"hello", token=make_token(KEY, "/pub/x"))
        lines = response.aiter_lines()
        while "hello" not in await anext(lines):
            pass


async def test_the_largest_body_passes(proxy: Proxy, hub: WholeHub) -> None:
    await publish(proxy.url_for("/pub/x"), bytes(25 << 20), ca_file=proxy.ca_file)
    assert [len(message.body) for message in await hub.stored()] == [25 << 20]


async def test_clients_are_known_by_their_own_address(
    proxy: Proxy, hub: WholeHub, caplog: pytest.LogCaptureFixture
) -> None:
    await publish(proxy.url_for("/pub/x"), b"hello", ca_file=proxy.ca_file)
    assert [record for record in caplog.records if "X-Forwarded-For" in record.getMessage()] == []
