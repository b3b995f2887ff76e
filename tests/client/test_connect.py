"""Proxies and certificates."""

import base64
import re
import socket
import ssl
from pathlib import Path

import pytest
import trio
import trustme

from hookbot.client import Disconnected, Event
from hookbot.client.address import Address
from hookbot.client.connect import open_stream, proxy_of, reason_of, tls_context
from hookbot.client.http import ask
from hookbot.errors import ConfigError, Lost, Refused, Unavailable
from support.scripted_hub import (
    Peer,
    Script,
    answering,
    listen,
    next_message,
    on_bytes,
    publish,
    read_head,
    scripted_hub,
)

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxy_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def why(event: Event) -> str:
    """Reason for which a connection was lost."""
    assert isinstance(event, Disconnected)
    return event.why


async def one_message(peer: Peer) -> None:
    await peer.hello()
    await peer.messages(1)
    await peer.stay()


@on_bytes
async def stored(stream: trio.abc.Stream) -> None:
    await read_head(stream)
    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nHookbot-Message-Id: id\r\n\r\nOK\n")


class Proxy:
    """A CONNECT proxy that forwards everything, or refuses with a status."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> None:
        self.answer = answer
        self.heads: list[bytes] = []

    @property
    def script(self) -> Script:
        return on_bytes(self._serve)

    async def _serve(self, stream: trio.abc.Stream) -> None:
        head = await read_head(stream)
        self.heads.append(head)
        await stream.send_all(self.answer)
        if b" 200 " not in self.answer:
            return
        host, port = head.split()[1].rsplit(b":", 1)
        async with await trio.open_tcp_stream(host.decode(), int(port)) as beyond, trio.open_nursery() as nursery:
            for source, sink in ((stream, beyond), (beyond, stream)):
                nursery.start_soon(self._pump, source, sink, nursery.cancel_scope)

    async def _pump(self, source: trio.abc.Stream, sink: trio.abc.Stream, scope: trio.CancelScope) -> None:
        async for data in source:
            await sink.send_all(data)
        scope.cancel()


# -- which proxy


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({}, "https://hub/", None),
        ({"HTTPS_PROXY": "http://p:3128"}, "https://hub/", "http://p:3128/"),
        ({"https_proxy": "p:3128"}, "wss://hub/", "http://p:3128/"),
        ({"HTTPS_PROXY": "https://p"}, "wss://hub/", "https://p/"),
        ({"HTTPS_PROXY": "\ufeffhttp://p:3128\r\n"}, "https://hub/", "http://p:3128/"),
        ({"HTTPS_PROXY": " \r"}, "https://hub/", None),
        ({"HTTPS_PROXY": '"http://p:3128"'}, "https://hub/", "http://p:3128/"),
        ({"HTTPS_PROXY": "http://p:3128"}, "http://hub/", None),
        ({"http_proxy": "http://p:3128"}, "ws://hub/", "http://p:3128/"),
        ({"ALL_PROXY": "http://p:3128"}, "wss://hub/", "http://p:3128/"),
        ({"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "hub"}, "https://hub/", None),
        ({"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "example.com"}, "https://a.example.com:8443/", None),
        ({"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "::1"}, "https://[::1]/", None),
        ({"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "*"}, "https://hub/", None),
        ({"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "other"}, "https://hub/", "http://p:3128/"),
    ],
)
def test_the_environment_names_the_proxy_as_for_every_other_program(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], url: str, proxy: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = proxy_of(Address.parse(url))
    assert (None if found is None else str(found)) == proxy


def test_a_proxy_of_another_kind_is_refused_and_not_gone_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://user:s3cret@p:1080")
    with pytest.raises(ConfigError, match="socks5") as caught:
        proxy_of(Address.parse("https://hub/"))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["//p:3128", "http://", "http:p:3128", "http://p:port", "${PROXY}", "http://[::1:1"])
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "all_proxy"])
def test_a_malformed_proxy_is_not_taken_for_the_url_of_the_hub(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str
) -> None:
    monkeypatch.setenv(name, url)
    with pytest.raises(ConfigError, match=r"^the proxy that the environment names cannot be used: "):
        proxy_of(Address.parse("https://hub/"))


# -- through it


@pytest.mark.parametrize("secure", [False, True])
async def test_listening_goes_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, tls: ssl.SSLContext, ca_file: Path, secure: bool
) -> None:
    proxy = Proxy()
    async with scripted_hub(one_message, ssl_context=tls if secure else None) as hub, scripted_hub(proxy.script) as at:
        monkeypatch.setenv("HTTPS_PROXY" if secure else "http_proxy", f"http://user:pa%20ss@127.0.0.1:{at.port}")
        url = hub.url.replace("ws:", "wss:") if secure else hub.url
        async with listen(url, ca_file=ca_file) as messages:
            await anext(messages)
    [head] = proxy.heads
    assert head.startswith(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n" % hub.port)
    assert base64.b64encode(b"user:pa ss") in head
    assert hub.connections == 1


async def test_publishing_goes_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, tls: ssl.SSLContext, ca_file: Path
) -> None:
    proxy = Proxy()
    async with scripted_hub(stored, ssl_context=tls) as hub, scripted_hub(proxy.script) as at:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:pa%20ss@127.0.0.1:{at.port}")
        assert await publish(hub.pub.replace("http:", "https:"), b"x", ca_file=ca_file) == "id"
    [head] = proxy.heads
    assert head.startswith(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n" % hub.port)
    assert base64.b64encode(b"user:pa ss") in head


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 407 Who are you?\r\nContent-Length: 0\r\n\r\n", "refused to connect to .*: it answered 407"),
        (b"", "gave no response: the connection was cut"),
        (b"HTTP/1.1 200", "gave no response: the connection was cut"),
        (b"\0\1\2\r\n\r\n", "gave no valid response: does this port speak HTTP.$"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "gave no valid response"),
    ],
)
async def test_a_proxy_that_does_not_let_us_through_is_named(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, said: str
) -> None:
    events: list[Event] = []
    async with (
        scripted_hub(one_message) as hub,
        scripted_hub(Proxy(answer).script) as at,
        trio.open_nursery() as nursery,
    ):
        monkeypatch.setenv("http_proxy", f"http://user:s3cret@127.0.0.1:{at.port}")

        def on_event(event: Event) -> None:
            events.append(event)
            nursery.cancel_scope.cancel()

        async with listen(hub.url, on_event=on_event):
            pass
    assert re.match(f"the proxy 127.0.0.1:{at.port} {said}", why(events[0]))
    assert "s3cret" not in why(events[0])


@pytest.mark.parametrize("status", [401, 403, 407, 502, 504])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_publish_that_the_proxy_refuses_is_not_refused_by_the_hub(
    monkeypatch: pytest.MonkeyPatch, status: int, scheme: str
) -> None:
    async with scripted_hub(answering(status)) as at:
        monkeypatch.setenv(f"{scheme}_proxy", f"http://user:s3cret@127.0.0.1:{at.port}")
        reason = f"the proxy 127.0.0.1:{at.port} refused to connect to hub.invalid:[0-9]+: it answered {status}"
        with pytest.raises(Unavailable, match=f"cannot publish to .*: {reason}$"):
            await publish(f"{scheme}://hub.invalid/pub/t", b"x", patience_s=0)
        with pytest.raises(Unavailable, match=f"no response from .*: {reason}$"):
            await ask(Address.parse(f"{scheme}://hub.invalid/hookbot/v1/cursors"))


async def test_a_proxy_that_is_silent_or_gone_is_named() -> None:
    @on_bytes
    async def silent(stream: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    hub, tls = Address.parse("https://hub.invalid"), ssl.create_default_context()
    async with scripted_hub(silent) as at:
        proxy = Address.parse(f"http://127.0.0.1:{at.port}")
        with pytest.raises(Lost, match=f"^no response from the proxy 127.0.0.1:{at.port} within 0.1 s$"):
            await open_stream(hub, proxy, tls, 0.1)
    with pytest.raises(Lost, match=f"^cannot connect to the proxy 127.0.0.1:{at.port}: Connection refused$"):
        await open_stream(hub, proxy, tls, 20)


async def test_requests_name_a_silent_proxy_before_they_give_up_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    @on_bytes
    async def silent(stream: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr("hookbot.client.http._CONNECT_S", 0.1)
    async with scripted_hub(silent) as at:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{at.port}")
        reason = f"no response from the proxy 127.0.0.1:{at.port} within 0.1 s"
        with pytest.raises(Lost, match=reason):
            await ask(Address.parse("https://hub.invalid/hookbot/v1/cursors"))
        with pytest.raises(Lost, match=reason):
            await publish("https://hub.invalid/pub/t", b"x", patience_s=0)


async def test_a_hub_behind_a_proxy_that_is_silent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    @on_bytes
    async def silent(stream: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    async with scripted_hub(silent) as hub, scripted_hub(Proxy().script) as at:
        address = Address.parse(hub.pub.replace("http:", "https:"))
        with pytest.raises(Lost, match=f"^no response from 127.0.0.1:{hub.port} within"):
            await open_stream(address, Address.parse(f"http://127.0.0.1:{at.port}"), ssl.create_default_context(), 0.2)


async def test_informational_responses_of_a_proxy_are_not_its_answer() -> None:
    proxy = Proxy(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")
    async with scripted_hub(stored) as hub, scripted_hub(proxy.script) as at:
        way = Address.parse(f"http://127.0.0.1:{at.port}")
        stream = await open_stream(Address.parse(hub.pub), way, ssl.create_default_context(), 20)
        await stream.aclose()


# -- certificates


async def test_a_hub_with_a_certificate_of_our_own_authority_is_listened_to_and_published_to(
    tls: ssl.SSLContext, ca_file: Path
) -> None:
    async with scripted_hub(one_message, stored, ssl_context=tls) as hub:
        async with listen(hub.url.replace("ws:", "wss:"), ca_file=ca_file) as messages:
            assert (await next_message(messages)).topic == "t"
        assert await publish(hub.pub.replace("http:", "https:"), b"x", ca_file=ca_file) == "id"


async def test_a_hub_with_a_certificate_of_an_unknown_authority_is_not_talked_to(tls: ssl.SSLContext) -> None:
    events: list[Event] = []
    async with scripted_hub(one_message, ssl_context=tls) as hub, trio.open_nursery() as nursery:

        def on_event(event: Event) -> None:
            events.append(event)
            nursery.cancel_scope.cancel()

        async with listen(hub.url.replace("ws:", "wss:"), on_event=on_event):
            pass
        assert "the certificate is not valid" in why(events[0])
        with pytest.raises(Unavailable, match=r"(?i)certificate"):
            await publish(hub.pub.replace("http:", "https:"), b"x", patience_s=0)
    assert hub.peers == []


@on_bytes
async def plain(stream: trio.abc.Stream) -> None:
    """The answer of a server without TLS to what is no HTTP."""
    await stream.receive_some()
    await stream.send_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


async def test_a_port_without_tls_is_told_at_once_and_not_tried_again(ca_file: Path) -> None:
    says = r"does not speak TLS; use http:// or ws://$"
    async with scripted_hub(plain) as hub:
        with pytest.raises(Refused, match=says):
            async with listen(hub.url.replace("ws:", "wss:"), ca_file=ca_file):
                pass
        with pytest.raises(Refused, match=says):
            await publish(hub.pub.replace("http:", "https:"), b"x", ca_file=ca_file)
        with pytest.raises(Refused, match=says):
            await ask(Address.parse(hub.pub.replace("http:", "https:")), ca_file=ca_file)
    assert hub.connections == 3


async def test_a_port_with_tls_is_told_at_once_and_not_tried_again(tls: ssl.SSLContext) -> None:
    says = r"speaks TLS; use https:// or wss://$"
    async with scripted_hub(answering(400), ssl_context=tls) as hub:
        with pytest.raises(Refused, match=says):
            async with listen(hub.url):
                pass
        with pytest.raises(Refused, match=says):
            await publish(hub.pub, b"x")
        with pytest.raises(Refused, match=says):
            await ask(Address.parse(hub.pub))


@on_bytes
async def alerting(stream: trio.abc.Stream) -> None:
    """A TLS server that refuses: alert 80, internal_error (RFC 8446, section 6.2)."""
    await stream.receive_some()
    await stream.send_all(b"\x15\x03\x01\0\x02\x02\x50")


async def test_a_port_that_refuses_tls_speaks_it() -> None:
    async with scripted_hub(alerting) as hub:
        with pytest.raises(Refused, match=r"speaks TLS; use https:// or wss://$"):
            await publish(hub.pub, b"x")


async def test_a_port_that_closes_every_connection_is_tried_again() -> None:
    async with scripted_hub(on_bytes(read_head)) as hub:
        with pytest.raises(Lost, match="cannot publish to"):
            await publish(hub.pub, b"x", patience_s=0)


async def test_a_name_that_does_not_exist_is_said_to_be_so() -> None:
    events: list[Event] = []
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:

            def on_event(event: Event) -> None:
                events.append(event)
                nursery.cancel_scope.cancel()

            async with listen("http://hub.invalid/sub/a", on_event=on_event):
                pass
    assert "cannot connect to hub.invalid: " in why(events[0])


def test_a_ca_file_with_a_byte_order_mark_is_refused_since_its_first_authority_would_be_skipped(
    tmp_path: Path, ca_file: Path
) -> None:
    marked = tmp_path / "marked.pem"
    marked.write_bytes(b"\xef\xbb\xbf" + ca_file.read_bytes() * 2)
    with pytest.raises(ConfigError, match=r"marked\.pem.*byte order mark"):
        tls_context(marked)


def test_a_ca_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")

    with pytest.raises(ConfigError, match=r"cannot read the CA file '/nowhere\.pem': No such file"):
        tls_context("/nowhere.pem")
    with pytest.raises(ConfigError, match=r"cannot read the CA file '.*nonsense\.pem'"):
        tls_context(nonsense)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(111, "whatever"), "Connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (trio.BrokenResourceError(), "the connection was cut"),
        (ExceptionGroup("", [OSError(113, "")]), "No route to host"),
        (ssl.SSLEOFError(8, "[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred"), "the connection was cut"),
    ],
)
def test_the_reason_of_a_failure_is_told_in_the_words_of_the_system(error: BaseException, reason: str) -> None:
    assert reason_of(error).startswith(reason)


def test_the_reason_is_the_innermost_one() -> None:
    outer = OSError("all attempts to connect failed")
    outer.__cause__ = ConnectionResetError(104, "")

    assert reason_of(outer) == "Connection reset by peer"
