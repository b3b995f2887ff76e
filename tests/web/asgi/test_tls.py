"""TLS and HTTP/2 behind `hookbot.web.asgi`."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import h2.config
import h2.connection
import h2.events
import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from quart import Response, request, websocket

from hookbot.web.asgi import HookbotApp, plain_request
from hookbot.web.asgi.http2 import MAX_RESETS
from support import GUARD_S
from support.apps import ServedApp, open_app
from support.clients import Client


def self_signed(path: Path, name: str) -> tuple[str, bytes]:
    """A file with a certificate and its key; returns its path and the certificate, DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    return str(path), certificate.public_bytes(Encoding.DER)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    return self_signed(tmp_path_factory.mktemp("tls") / "hub.pem", "hub")[0]


@pytest.fixture
def app() -> HookbotApp:
    app = HookbotApp("test", max_body_bytes=1000)
    app.ended = trio.Event()
    app.seen = []
    app.parts = 0

    @app.get("/")
    async def index() -> str:
        app.seen.append(plain_request(request))
        return "hello"

    @app.post("/pub")
    async def publish() -> str:
        return f"{len(await request.get_data())} bytes"

    @app.post("/locked")
    async def locked() -> tuple[str, int]:
        return "401 Unauthorized", 401

    @app.get("/flood")
    async def flood() -> Response:
        async def parts() -> AsyncIterator[bytes]:
            try:
                while True:
                    app.parts += 1
                    yield bytes(1 << 20)
            finally:
                app.ended.set()

        return Response(parts())

    @app.websocket("/ws")
    async def echo() -> None:
        await websocket.accept()
        while True:
            await websocket.send(await websocket.receive())

    return app


# --- TLS


@pytest.mark.parametrize("sent", [b"", b"\x16", b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n"])
async def test_a_handshake_that_does_not_come_is_not_waited_for(
    app: HookbotApp, certificate: str, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_app(app, certificate=certificate, slow_s=0.05) as hub:
        stream = await trio.open_tcp_stream("127.0.0.1", hub.port)
        await stream.send_all(sent)
        async with stream:
            assert b"HTTP" not in b"".join([data async for data in stream])
    assert caplog.text == ""


async def test_a_response_that_ends_with_the_connection_is_ended_for_tls_as_well(
    app: HookbotApp, certificate: str
) -> None:
    async with open_app(app, certificate=certificate) as hub:
        assert (await hub.ask(b"GET / HTTP/1.0\r\n\r\n")).endswith(b"hello")
    assert app.seen[0].secure


async def test_a_client_that_sends_more_than_it_may_can_read_why(app: HookbotApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate) as hub, await hub.connect() as client:
        await client.send(b"POST /pub HTTP/1.1\r\nHost: hub\r\nContent-Length: 200000\r\n\r\n" + bytes(100000))

        assert (await client.until(b"\r\n")).startswith(b"HTTP/1.1 413 ")


async def test_a_handler_sees_the_certificate_of_a_client_that_has_one(
    app: HookbotApp, certificate: str, tmp_path: Path
) -> None:
    path, der = self_signed(tmp_path / "client.pem", "client")
    async with open_app(app, certificate=certificate, clients=path) as hub:
        for shown in (None, path):
            client = await hub.connect(certificate=shown)
            await client.send(b"GET / HTTP/1.0\r\n\r\n")
            await client.rest()

    assert [plain.certificate for plain in app.seen] == [None, der]


async def test_a_websocket_hears_of_a_shutdown_also_through_tls(app: HookbotApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate) as hub:
        socket = await (await hub.websocket()).accepted()
        hub.server.shut_down()

        assert await socket.closed() == 1001


# --- HTTP/2


class H2Client:
    """One HTTP/2 connection; the windows are opened as data comes."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.events = []

    @classmethod
    async def connect(cls, hub: ServedApp) -> Self:
        client = cls(await hub.connect(alpn="h2"))
        client.h2.initiate_connection()
        await client.flush()
        return client

    async def flush(self) -> None:
        await self.client.send(self.h2.data_to_send())

    async def ask(self, path: str = "/", method: str = "GET", *fields: Any, end: bool = True) -> int:
        """Begin a request; its stream."""
        stream = self.h2.get_next_available_stream_id()
        head = [(":method", method), (":path", path), (":scheme", "https"), (":authority", "hub"), *fields]
        self.h2.send_headers(stream, head, end_stream=end)
        await self.flush()
        return stream

    async def wait(self, kind: type[Any] | tuple[Any, ...], stream: int | None = None) -> Any:
        """The next event of that kind (and of that stream); None once the server has closed."""
        while True:
            for event in self.events:
                if isinstance(event, kind) and stream in (None, getattr(event, "stream_id", None)):
                    self.events.remove(event)
                    return event
            data = await self.client.stream.receive_some(65536)
            if not data:
                return None
            self.events += self.h2.receive_data(data)
            await self.flush()

    async def answer(self, stream: int) -> tuple[str, bytes]:
        """Status and body."""
        head, body = await self.wait(h2.events.ResponseReceived, stream), b""
        while not isinstance(
            event := await self.wait((h2.events.DataReceived, h2.events.StreamEnded), stream), h2.events.StreamEnded
        ):
            body += event.data
        return dict(head.headers)[":status"], body


async def test_requests_are_answered_over_http2(app: HookbotApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate) as hub:
        client = await H2Client.connect(hub)
        first, second = await client.ask("/?a=%20"), await client.ask("/pub", "POST", end=False)
        client.h2.send_data(second, b"abc", end_stream=True)
        await client.flush()

        assert await client.answer(first) == ("200", b"hello")
        assert await client.answer(second) == ("200", b"3 bytes")
        assert app.seen[0].target == b"/?a=%20"
        assert app.seen[0].header("host") == "hub"


async def test_an_idle_http2_connection_is_closed_after_a_while(app: HookbotApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate, keep_alive_s=0.05) as hub:
        client = await H2Client.connect(hub)

        assert (await client.wait(h2.events.ConnectionTerminated)).error_code == ErrorCodes.NO_ERROR
        assert await client.client.rest() == b""


async def test_http2_offers_no_websockets(app: HookbotApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate) as hub:
        client = await H2Client.connect(hub)

        settings = (await client.wait(h2.events.RemoteSettingsChanged)).changed_settings
        assert settings[SettingCodes.ENABLE_CONNECT_PROTOCOL].new_value == 0


@pytest.mark.parametrize(("path", "method"), [("/\xff", "GET"), ("*", "OPTIONS"), ("/a b", "GET"), ("/", "CONNECT")])
async def test_a_malformed_request_over_http2_is_answered_by_400_or_ends_alone(
    app: HookbotApp, certificate: str, path: str, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_app(app, certificate=certificate) as hub:
        client, other = await H2Client.connect(hub), await H2Client.connect(hub)
        client.h2.config.validate_outbound_headers = client.h2.config.normalize_outbound_headers = False
        await client.ask(path, method)

        answer = await client.wait((h2.events.ResponseReceived, h2.events.ConnectionTerminated, h2.events.StreamReset))
        assert isinstance(answer, h2.events.ConnectionTerminated) or dict(answer.headers)[":status"] == "400"
        assert await other.answer(await other.ask()) == ("200", b"hello")
    assert caplog.text == ""


async def test_a_body_that_goes_on_after_its_answer_disturbs_no_other_stream(app: HookbotApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate) as hub:
        client = await H2Client.connect(hub)
        locked = await client.ask("/locked", "POST", end=False)
        assert await client.answer(locked) == ("401", b"401 Unauthorized")

        client.h2.send_data(locked, bytes(10000), end_stream=True)
        await client.flush()

        assert await client.answer(await client.ask()) == ("200", b"hello")


async def test_a_body_that_stops_coming_ends_the_http2_connection(app: HookbotApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate, slow_s=0.05) as hub:
        client = await H2Client.connect(hub)
        await client.ask("/pub", "POST", end=False)

        assert await client.wait(h2.events.ConnectionTerminated)


async def test_a_stream_whose_reader_opens_no_window_is_reset_and_no_other(app: HookbotApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate, stall_s=0.1) as hub:
        client = await H2Client.connect(hub)
        flood = await client.ask("/flood")

        assert (await client.wait(h2.events.StreamReset, flood)).error_code == ErrorCodes.CANCEL
        await app.ended.wait()
        assert app.parts < 5
        client.h2.acknowledge_received_data(1, flood)
        client.h2.increment_flow_control_window(65535)
        await client.flush()
        assert await client.answer(await client.ask()) == ("200", b"hello")


async def test_a_peer_that_only_opens_and_resets_streams_is_sent_away(app: HookbotApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate) as hub:
        client = await H2Client.connect(hub)
        for _ in range(MAX_RESETS + 1):
            client.h2.reset_stream(await client.ask())
        await client.flush()

        terminated = await client.wait(h2.events.ConnectionTerminated)
        assert terminated.error_code == ErrorCodes.ENHANCE_YOUR_CALM


async def test_a_shutdown_goes_away_from_http2_and_does_not_wait_for_a_stalled_reader(
    app: HookbotApp, certificate: str
) -> None:
    async with open_app(app, certificate=certificate, grace_s=0.1, stall_s=1000) as hub:
        idle, stalled = await H2Client.connect(hub), await H2Client.connect(hub)
        assert await idle.answer(await idle.ask()) == ("200", b"hello")
        await stalled.wait(h2.events.DataReceived, await stalled.ask("/flood"))
        hub.server.shut_down()

        assert await idle.wait(h2.events.ConnectionTerminated)
        await app.ended.wait()


async def test_a_shutdown_lets_an_answer_over_http2_finish(app: HookbotApp, certificate: str) -> None:
    begun, go_on = trio.Event(), trio.Event()

    @app.get("/slow")
    async def slow() -> str:
        begun.set()
        await go_on.wait()
        return "done"

    async with open_app(app, certificate=certificate, grace_s=GUARD_S) as hub:
        client = await H2Client.connect(hub)
        stream = await client.ask("/slow")
        await begun.wait()
        hub.server.shut_down()
        go_on.set()

        assert await client.answer(stream) == ("200", b"done")
        assert await client.wait(h2.events.ConnectionTerminated)
