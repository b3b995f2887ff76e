"""The diagnosis of a subscription: what can be broken is broken here, and named."""

import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from hookbot.cli.diagnosis import Diagnosis
from hookbot.cli.findings import Check, Finding
from hookbot.client.address import Address
from hookbot.client.http import ask
from hookbot.errors import Refused
from hookbot.testing import open_test_hub


async def check(url: str, publish_to: str | None = None, **options: Any) -> tuple[Check | None, dict[Check, Finding]]:
    """The first check that failed, and the findings by check."""
    findings: list[Finding] = []
    address = Address.parse(publish_to) if publish_to else None
    examined = Diagnosis(Address.parse(url), findings.append, publish_to=address, **{"wait_s": 0, **options})
    with trio.fail_after(30):
        await examined.run()
    return examined.broken, {finding.check: finding for finding in findings}


@pytest.mark.slow
async def test_a_hub_that_works_is_good_at_every_hop() -> None:
    async with open_test_hub() as hub:
        broken, found = await check(hub.url_for("/sub/a/"), hub.url_for("/pub/a/b"))
    assert broken is None
    assert {one for one, finding in found.items() if finding.good} == set(Check) - {Check.TLS, Check.HEARTBEAT}
    assert "not encrypted" in found[Check.TLS].text
    assert "hookbot/" in found[Check.HUB].text
    assert "came back" in found[Check.FRAMES].text


@pytest.mark.slow
async def test_a_heartbeat_is_waited_for_or_missed() -> None:
    async with hub_that(hello, beats=True) as url:
        broken, found = await check(url, wait_s=5)
    assert (broken, found[Check.HEARTBEAT].good) == (None, True)
    async with hub_that(hello, beats=False) as url:
        broken, found = await check(url, wait_s=0.1)
    assert broken is Check.HEARTBEAT
    assert "none arrived within 0.1 s" in found[Check.HEARTBEAT].text


@pytest.mark.slow
async def test_a_wrong_token_is_found_and_not_shown() -> None:
    async with open_test_hub() as hub:
        broken, found = await check(hub.url_for("/sub/a").replace("/sub/a", "/sub/b"))
    assert broken is Check.TOKEN
    assert found[Check.TOKEN].text == (
        "401 Unauthorized: the token is for another path than '/sub/b', or made with another key"
    )
    assert Check.UPGRADE not in found


@pytest.mark.slow
async def test_a_mistake_in_the_query_is_found_and_a_cursor_is_left_to_its_listener() -> None:
    async with open_test_hub() as hub:
        broken, found = await check(hub.url_for("/sub/a") + "?sinse=all")
        assert (broken, found[Check.TOKEN].advice) == (Check.TOKEN, "Correct the query of the URL.")
        assert "unknown query parameter 'sinse': did you mean 'since'?" in found[Check.TOKEN].text

        broken, _ = await check(hub.url_for("/sub/a") + "?cursor=c&takeover=1")
        assert broken is None
        assert (await ask(Address.parse(hub.url_for("/hookbot/v1/cursors"))))["cursors"] == []


async def test_a_name_that_does_not_exist_is_found() -> None:
    broken, found = await check("https://hub.invalid/sub/a")
    assert broken is Check.NAME
    assert found[Check.NAME].advice


async def test_a_port_that_nobody_listens_to_is_found() -> None:
    broken, found = await check("http://127.0.0.1:1/sub/a")
    assert (broken, found[Check.TCP].text) == (Check.TCP, "cannot connect to 127.0.0.1:1: Connection refused")


async def test_a_proxy_that_is_not_there_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    broken, found = await check("https://hub.invalid/sub/a")
    assert broken is Check.TCP
    assert "the proxy 127.0.0.1" in found[Check.NAME].text
    assert found[Check.TCP].text == "cannot connect to the proxy 127.0.0.1:1: Connection refused"


@asynccontextmanager
async def served(handler: Callable[..., Any], *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async with trio.open_nursery() as nursery:
        if tls:
            serve = partial(trio.serve_ssl_over_tcp, handler, 0, tls, host="127.0.0.1", https_compatible=True)
            [listener] = await nursery.start(serve)
            yield listener.transport_listener.socket.getsockname()[1]
        else:
            [listener] = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
            yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def answering(status: int, body: bytes = b"OK\n", **headers: Any) -> Callable[..., Any]:
    async def handler(stream: trio.abc.Stream) -> None:
        try:
            await stream.receive_some()
            fields = {
                "Content-Length": str(len(body)),
                "Date": formatdate(usegmt=True),
                "Connection": "close",
                **headers,
            }
            head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            await stream.send_all(f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + body)
        except (trio.BrokenResourceError, ssl.SSLError):
            pass

    return handler


async def test_a_certificate_that_is_not_valid_is_found(tmp_path: Path) -> None:
    authorizer = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authorizer.issue_cert("localhost").configure_cert(context)
    authorizer.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with served(answering(502), tls=context) as port:
        broken, found = await check(f"https://localhost:{port}/sub/a")
        assert broken is Check.TLS
        assert "the certificate is not valid" in found[Check.TLS].text
        broken, found = await check(f"https://127.0.0.1:{port}/sub/a", ca_file=tmp_path / "ca.pem")
        assert broken is Check.TLS
        broken, found = await check(f"https://localhost:{port}/sub/a", ca_file=tmp_path / "ca.pem")
        assert broken is Check.HTTP
        assert "valid until" in found[Check.TLS].text


async def test_a_certificate_that_ends_soon_is_told(tmp_path: Path) -> None:
    authorizer = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    soon = datetime.now(UTC) + timedelta(days=3)
    authorizer.issue_cert("localhost", not_after=soon).configure_cert(context)
    authorizer.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with served(answering(502), tls=context) as port:
        _, found = await check(f"https://localhost:{port}/sub/a", ca_file=tmp_path / "ca.pem")
    assert (found[Check.TLS].good, found[Check.TLS].advice) == (True, "Renew it soon.")


async def test_a_port_without_tls_is_found() -> None:
    async with served(answering(200)) as port:
        broken, found = await check(f"https://localhost:{port}/sub/a")
    assert (broken, found[Check.TLS].good) == (Check.TLS, False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("handler", "where", "text"),
    [
        (answering(502, b"<html>"), Check.HTTP, "502 Bad Gateway"),
        (answering(200, b"<html>"), Check.HUB, "not a hookbot"),
        (answering(404, b"OK"), Check.HUB, "not a hookbot hub: 404 OK"),
        (answering(301, Location="https://h/status"), Check.HUB, "not a hookbot hub: 301 OK: use https://h/status"),
        (answering(401, b"<html>"), Check.HUB, "not a hookbot hub: 401 Unauthorized (from a proxy on the way"),
    ],
)
async def test_something_else_that_answers_is_found(handler: Callable[..., Any], where: Check, text: str) -> None:
    async with served(handler) as port:
        broken, found = await check(f"http://127.0.0.1:{port}/sub/a")
    assert broken is where
    assert text in found[where].text


@pytest.mark.slow
async def test_what_does_not_speak_http_is_found() -> None:
    async def silent(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async def nonsense(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"SSH-2.0\r\n\r\n")

    for handler, text in ((silent, "no response within 2 s"), (nonsense, "")):
        async with served(handler) as port:
            broken, found = await check(f"http://127.0.0.1:{port}/sub/a", patience_s=2)
        assert broken is Check.HTTP
        assert text in found[Check.HTTP].text


async def test_a_proxy_that_is_silent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with served(silent) as port:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        broken, found = await check("http://hub.invalid/sub/a", patience_s=0.5)
    assert broken is Check.TCP
    assert found[Check.TCP].text == f"no response from the proxy 127.0.0.1:{port} within 0.5 s"


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("status", [401, 403, 407, 502, 504])
async def test_what_a_proxy_refuses_is_no_matter_of_tls_or_of_the_hub(
    monkeypatch: pytest.MonkeyPatch, status: int, scheme: str
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with served(answering(status)) as port:
        monkeypatch.setenv(f"{scheme}_proxy", f"http://127.0.0.1:{port}")
        broken, found = await check(f"{scheme}://hub.invalid:8/sub/a")
    assert broken is Check.TCP
    assert found[Check.TCP].text == (
        f"the proxy 127.0.0.1:{port} refused to connect to hub.invalid:8: it answered {status}"
    )


@pytest.mark.slow
@pytest.mark.parametrize(("ahead_s", "said"), [(3600, "behind the hub's"), (-3600, "ahead of the hub's")])
async def test_clocks_that_do_not_agree_are_found_and_the_rest_is_looked_at(ahead_s: int, said: str) -> None:
    async with served(answering(200, Date=formatdate(time.time() + ahead_s, usegmt=True))) as port:
        broken, found = await check(f"http://127.0.0.1:{port}/sub/a")
    assert broken is Check.CLOCK
    assert said in found[Check.CLOCK].text
    assert Check.UPGRADE in found


async def test_a_clock_that_is_not_told_is_not_compared() -> None:
    async with served(answering(200, Date="soon")) as port:
        _, found = await check(f"http://127.0.0.1:{port}/sub/a")
    assert found[Check.CLOCK].good is None


# -- websockets


async def hello(websocket: WebSocketConnection, *, beats: bool) -> None:
    await websocket.send_message('{"type": "hello", "hub": "hookbot/test", "last_id": "x"}')
    if beats:
        await websocket.send_message('{"type": "heartbeat", "id": "x"}')
    await trio.sleep_forever()


async def closes(websocket: WebSocketConnection, *, beats: bool) -> None:
    await websocket.aclose()


async def begins_with_a_heartbeat(websocket: WebSocketConnection, *, beats: bool) -> None:
    await websocket.send_message('{"type": "heartbeat", "id": "x"}')
    await trio.sleep_forever()


async def sends_nonsense(websocket: WebSocketConnection, *, beats: bool) -> None:
    await websocket.send_message("nonsense")
    await trio.sleep_forever()


async def nothing(websocket: WebSocketConnection, *, beats: bool) -> None:
    await trio.sleep_forever()


@asynccontextmanager
async def hub_that(
    script: Callable[..., Any], *, beats: bool = False, subprotocol: str | None = "hookbot.v1"
) -> AsyncIterator[str]:
    """A hub whose plain answers are right, and whose websockets follow a script."""

    class Replayed(trio.abc.Stream):
        def __init__(self, stream: trio.SocketStream, first: bytes) -> None:
            self.stream, self.first = stream, first

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            first, self.first = self.first, b""
            return first or await self.stream.receive_some(max_bytes)

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await self.stream.send_all(data)

        async def wait_send_all_might_not_block(self) -> None:
            await self.stream.wait_send_all_might_not_block()

        async def aclose(self) -> None:
            await self.stream.aclose()

    async def handler(stream: trio.SocketStream) -> None:
        try:
            first = await stream.receive_some()
        except trio.BrokenResourceError:
            return
        replayed = Replayed(stream, bytes(first))
        if b"upgrade: websocket" not in first.lower():
            await answering(200 if b"/status" in first else 426)(replayed)
            return
        try:
            async with trio.open_nursery() as nursery:
                request = await wrap_server_stream(nursery, replayed)
                await script(await request.accept(subprotocol=subprotocol), beats=beats)
        except* ConnectionClosed:
            pass

    async with served(handler) as port:
        yield f"http://127.0.0.1:{port}/sub/a"


async def test_a_proxy_that_does_not_pass_websockets_on_is_found() -> None:
    async with served(answering(200)) as port:
        broken, found = await check(f"http://127.0.0.1:{port}/sub/a")
    assert broken is Check.UPGRADE
    assert "Upgrade and Connection" in found[Check.UPGRADE].advice


@pytest.mark.slow
async def test_a_proxy_that_holds_frames_back_is_found() -> None:
    async with hub_that(nothing) as url:
        broken, found = await check(url, patience_s=2)
    assert broken is Check.FRAMES
    assert found[Check.UPGRADE].good
    assert "buffering" in found[Check.FRAMES].advice


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "text"),
    [
        (closes, "the hub closed the connection"),
        (begins_with_a_heartbeat, "the first frame of the hub is not a hello"),
        (sends_nonsense, "not a frame of hookbot.v1: it is not JSON"),
    ],
)
async def test_frames_that_are_not_those_of_a_hub_are_found(script: Callable[..., Any], text: str) -> None:
    async with hub_that(script) as url:
        broken, found = await check(url)
    assert broken is Check.FRAMES
    assert text in found[Check.FRAMES].text


@pytest.mark.slow
async def test_messages_of_others_are_passed_over() -> None:
    async with open_test_hub() as hub:

        async def publishing_after_another(stream: trio.abc.Stream) -> None:
            await hub.publish("a/other")
            await hub.publish("a/b")
            _, message = await hub.wait_for("a/", 2)
            await answering(200, b"", **{"Hookbot-Message-Id": message.id})(stream)

        async with served(publishing_after_another) as port:
            broken, found = await check(hub.url_for("/sub/a/"), f"http://127.0.0.1:{port}/pub/a/b")
    assert broken is None
    assert "came back" in found[Check.FRAMES].text


@pytest.mark.slow
async def test_a_hub_that_is_older_is_told_from_others() -> None:
    async with hub_that(nothing, subprotocol=None) as url:
        broken, found = await check(url)
    assert broken is None
    assert "older than 1.0" in found[Check.HUB].text


@pytest.mark.slow
async def test_a_message_that_cannot_be_published_is_found() -> None:
    async with open_test_hub() as hub:
        broken, found = await check(hub.url_for("/sub/a"), f"{hub.url}/pub/a")
    assert broken is Check.FRAMES
    assert "401" in found[Check.FRAMES].text


@pytest.mark.parametrize(
    ("url", "publish_to"),
    [
        ("http://h/pub/a", None),
        ("http://h/unsafe/sub/a", None),
        ("http://h/sub/a", "http://h/sub/a"),
        ("http://h/sub/a", "http://h/pub/b"),
        ("http://h/sub/a", "http://h/unsafe/pub/a"),
        ("http://h/sub/a/", "http://h/pub/a"),
    ],
)
async def test_urls_that_make_no_sense_are_refused_before_anything_is_looked_at(
    url: str, publish_to: str | None
) -> None:
    with pytest.raises(Refused):
        await check(url, publish_to)


async def test_an_unsafe_topic_can_be_looked_at() -> None:
    async with open_test_hub() as hub:
        broken, _ = await check(hub.url_for("/unsafe/sub/a"), f"{hub.url}/unsafe/pub/a", unsafe=True)
    assert broken is None
