"""HTTP/2 behind `hookbot.web.asgi`."""

from collections.abc import AsyncIterator
from typing import Any, Self

import h2.config
import h2.connection
import h2.events
import pytest
import trio
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import DataFrame, GoAwayFrame, PingFrame, RstStreamFrame
from quart import Response
from trio.testing import wait_all_tasks_blocked

from hookbot.web.asgi.http2 import MAX_WASTED
from support import GUARD_S
from support.apps import ObservedApp, ServedApp, open_app
from support.clients import Client


@pytest.fixture
def app(app: ObservedApp) -> ObservedApp:
    """The app of all these tests, and a response without an end."""

    @app.get("/flood")
    async def flood() -> Response:
        async def parts() -> AsyncIterator[bytes]:
            try:
                while True:
                    app.sent += 1
                    yield bytes(1 << 20)
            finally:
                app.ended.set()

        return Response(parts())

    return app


# --- HTTP/2


HEAD = [(":method", "GET"), (":path", "/"), (":scheme", "https"), (":authority", "hub")]


class H2Client:
    """One HTTP/2 connection; the windows are opened as data comes."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.events: list[h2.events.Event] = []

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

    async def reset_at_once(self) -> None:
        """Begin a request and reset it, before it can be answered."""
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, HEAD, end_stream=True)
        self.h2.reset_stream(stream)
        await self.flush()

    async def upload(self, stream: int, size: int, *, end: bool = False) -> None:
        """Send a part of a body as soon as flow control allows it."""
        while self.h2.local_flow_control_window(stream) < size:
            await self.wait(h2.events.WindowUpdated)
        for start in range(0, size, 16_000):
            part = min(16_000, size - start)
            self.h2.send_data(stream, bytes(part), end_stream=end and start + part == size)
        await self.flush()

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


async def test_requests_are_answered_over_http2(app: ObservedApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate) as hub:
        client = await H2Client.connect(hub)
        first, second = await client.ask("/?a=%20"), await client.ask("/pub", "POST", end=False)
        client.h2.send_data(second, b"abc", end_stream=True)
        await client.flush()

        assert await client.answer(first) == ("200", b"hello")
        assert await client.answer(second) == ("200", b"3 bytes")
        assert app.seen[0].target == b"/?a=%20"
        assert app.seen[0].header("host") == "hub"


async def test_an_idle_http2_connection_is_closed_after_a_while(app: ObservedApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate, keep_alive_s=0.05) as hub:
        client = await H2Client.connect(hub)

        assert (await client.wait(h2.events.ConnectionTerminated)).error_code == ErrorCodes.NO_ERROR
        assert await client.client.rest() == b""


async def test_http2_offers_no_websockets(app: ObservedApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate) as hub:
        client = await H2Client.connect(hub)

        settings = (await client.wait(h2.events.RemoteSettingsChanged)).changed_settings
        assert settings[SettingCodes.ENABLE_CONNECT_PROTOCOL].new_value == 0


@pytest.mark.parametrize("method", ["CONNECT", "connect", "POST\xff"])
async def test_a_websocket_over_http2_is_answered_by_400(app: ObservedApp, certificate: str, method: str) -> None:
    async with open_app(app, certificate=certificate) as hub:
        client = await H2Client.connect(hub)
        client.h2.config.validate_outbound_headers = client.h2.config.normalize_outbound_headers = False
        protocol = ((":protocol", "websocket"),) if method == "CONNECT" else ()
        stream = await client.ask("/ws", method, *protocol, ("sec-websocket-version", "13"), end=False)

        answer = await client.wait(h2.events.ResponseReceived, stream)
        assert dict(answer.headers)[":status"] == "400"


@pytest.mark.parametrize(("path", "method"), [("/\xff", "GET"), ("*", "OPTIONS"), ("/a b", "GET"), ("/", "CONNECT")])
async def test_a_malformed_request_over_http2_is_answered_by_400_or_ends_alone(
    app: ObservedApp, certificate: str, path: str, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_app(app, certificate=certificate) as hub:
        client, other = await H2Client.connect(hub), await H2Client.connect(hub)
        client.h2.config.validate_outbound_headers = client.h2.config.normalize_outbound_headers = False
        await client.ask(path, method)

        answer = await client.wait((h2.events.ResponseReceived, h2.events.ConnectionTerminated, h2.events.StreamReset))
        assert isinstance(answer, h2.events.ConnectionTerminated) or dict(answer.headers)[":status"] == "400"
        assert await other.answer(await other.ask()) == ("200", b"hello")
    assert caplog.text == ""


async def test_a_body_that_goes_on_after_its_answer_disturbs_no_other_stream(
    app: ObservedApp, certificate: str
) -> None:
    async with open_app(app, certificate=certificate) as hub:
        client = await H2Client.connect(hub)
        locked = await client.ask("/locked", "POST", end=False)
        assert await client.answer(locked) == ("401", b"401 Unauthorized")

        client.h2.send_data(locked, bytes(10000), end_stream=True)
        await client.flush()

        assert await client.answer(await client.ask()) == ("200", b"hello")


async def test_refused_bodies_leave_the_window_to_the_other_streams(app: ObservedApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate) as hub:
        client = await H2Client.connect(hub)
        for _ in range(3):
            locked = await client.ask("/locked", "POST", end=False)
            assert await client.answer(locked) == ("401", b"401 Unauthorized")
            for _ in range(25):
                await client.upload(locked, 16_000)
        good = await client.ask("/pub", "POST", end=False)
        await client.upload(good, 60_000, end=True)

        assert await client.answer(good) == ("200", b"60000 bytes")


async def test_a_body_that_nobody_reads_holds_up_no_other_stream(app: ObservedApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate) as hub:
        client = await H2Client.connect(hub)
        flood = await client.ask("/flood", end=False)
        await client.wait(h2.events.ResponseReceived, flood)
        for _ in range(50):
            client.h2.send_data(flood, b"x")
        await client.flush()

        assert (await client.wait(h2.events.ResponseReceived, await client.ask())).stream_id != flood


async def test_a_frame_on_a_closed_stream_is_answered_at_once(app: ObservedApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate) as hub:
        client = await H2Client.connect(hub)
        over = await client.ask()
        assert await client.answer(over) == ("200", b"hello")

        await client.client.send(DataFrame(over, b"late").serialize())

        await client.client.until(RstStreamFrame(over, ErrorCodes.STREAM_CLOSED).serialize())


async def test_a_client_may_reset_what_was_refused_as_often_as_it_wants(app: ObservedApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate) as hub:
        client = await H2Client.connect(hub)
        for _ in range(MAX_WASTED + 1):
            locked = await client.ask("/locked", "POST", end=False)
            assert await client.answer(locked) == ("401", b"401 Unauthorized")
            client.h2.reset_stream(locked)

        assert await client.answer(await client.ask()) == ("200", b"hello")


async def test_a_client_may_reset_as_many_requests_as_were_answered(app: ObservedApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate) as hub:
        client = await H2Client.connect(hub)
        for _ in range(MAX_WASTED + 1):
            assert await client.answer(await client.ask()) == ("200", b"hello")
            await client.reset_at_once()

        assert await client.answer(await client.ask()) == ("200", b"hello")


async def test_a_client_cannot_make_the_table_of_headers_grow(app: ObservedApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate) as hub:
        client = await H2Client.connect(hub)
        client.h2.update_settings({SettingCodes.HEADER_TABLE_SIZE: 1 << 30})
        for _ in range(2):
            assert await client.answer(await client.ask()) == ("200", b"hello")

        assert client.h2.decoder.header_table_size == 4096


async def test_who_only_changes_settings_is_sent_away(app: ObservedApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate) as hub:
        client = await H2Client.connect(hub)
        for size in range(MAX_WASTED + 1):
            client.h2.update_settings({SettingCodes.HEADER_TABLE_SIZE: size})
        await client.flush()

        terminated = await client.wait(h2.events.ConnectionTerminated)
        assert terminated.error_code == ErrorCodes.ENHANCE_YOUR_CALM


async def test_a_client_that_sends_many_tiny_frames_gets_short_turns(app: ObservedApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate) as hub, trio.open_nursery() as nursery:
        noisy, other = await H2Client.connect(hub), await H2Client.connect(hub)
        last = PingFrame(0, b"the last", flags=["ACK"]).serialize()
        await noisy.client.send(PingFrame(0, b"any ping").serialize() * 3000 + PingFrame(0, b"the last").serialize())
        nursery.start_soon(noisy.client.until, last)

        assert await other.answer(await other.ask()) == ("200", b"hello")
        assert nursery.child_tasks


async def test_priorities_are_ignored(app: ObservedApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate) as hub:
        client = await H2Client.connect(hub)
        for stream in range(1001, 5001, 2):
            client.h2.prioritize(stream, depends_on=stream + 2, exclusive=True)
        await client.flush()

        assert await client.answer(await client.ask()) == ("200", b"hello")


async def test_a_body_that_stops_coming_ends_the_http2_connection(app: ObservedApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate, slow_s=0.05) as hub:
        client = await H2Client.connect(hub)
        await client.ask("/pub", "POST", end=False)

        assert await client.wait(h2.events.ConnectionTerminated)


async def test_a_stream_whose_reader_opens_no_window_is_reset_and_no_other(app: ObservedApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate, stall_s=0.1) as hub:
        client = await H2Client.connect(hub)
        flood = await client.ask("/flood")

        assert (await client.wait(h2.events.StreamReset, flood)).error_code == ErrorCodes.CANCEL
        await app.ended.wait()
        assert app.sent < 5
        client.h2.acknowledge_received_data(1, flood)
        client.h2.increment_flow_control_window(65535)
        await client.flush()
        assert await client.answer(await client.ask()) == ("200", b"hello")


@pytest.mark.slow
async def test_a_peer_that_only_opens_and_resets_streams_is_sent_away(app: ObservedApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate) as hub:
        client = await H2Client.connect(hub)
        for _ in range(MAX_WASTED + 1):
            await client.reset_at_once()

        terminated = await client.wait(h2.events.ConnectionTerminated)
        assert terminated.error_code == ErrorCodes.ENHANCE_YOUR_CALM


async def test_a_shutdown_goes_away_from_an_idle_connection_over_http2(app: ObservedApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate, grace_s=GUARD_S) as hub:
        client = await H2Client.connect(hub)
        assert await client.answer(await client.ask()) == ("200", b"hello")
        hub.server.shut_down()

        assert await client.wait(h2.events.ConnectionTerminated)


async def test_a_shutdown_over_http2_does_not_wait_for_a_stalled_reader(app: ObservedApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate, grace_s=0.1, stall_s=1000) as hub:
        client = await H2Client.connect(hub)
        await client.wait(h2.events.DataReceived, await client.ask("/flood"))
        hub.server.shut_down()

        await app.ended.wait()


async def test_a_shutdown_lets_an_answer_over_http2_finish(app: ObservedApp, certificate: str) -> None:
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


async def test_a_request_that_comes_after_the_shutdown_began_is_refused(app: ObservedApp, certificate: str) -> None:
    @app.get("/slow")
    async def slow() -> str:
        app.begun.set()
        await app.go_on.wait()
        return "done"

    async with open_app(app, certificate=certificate, grace_s=GUARD_S) as hub:
        client = await H2Client.connect(hub)
        stream = await client.ask("/slow")
        await app.begun.wait()
        hub.server.shut_down()
        await wait_all_tasks_blocked()

        late = await client.ask()
        assert (await client.wait(h2.events.StreamReset, late)).error_code == ErrorCodes.REFUSED_STREAM
        app.go_on.set()
        assert await client.answer(stream) == ("200", b"done")


async def test_a_stream_may_be_given_a_priority_after_another_that_never_was(
    app: ObservedApp, certificate: str
) -> None:
    async with open_app(app, certificate=certificate) as hub:
        client = await H2Client.connect(hub)
        over = await client.ask()
        assert await client.answer(over) == ("200", b"hello")

        client.h2.prioritize(over, depends_on=1001)
        await client.flush()

        assert await client.answer(await client.ask()) == ("200", b"hello")


async def test_a_body_that_a_client_holds_back_is_not_invited_but_simply_comes(
    app: ObservedApp, certificate: str
) -> None:
    async with open_app(app, certificate=certificate) as hub:
        client = await H2Client.connect(hub)
        stream = await client.ask("/pub", "POST", ("expect", "100-continue"), end=False)
        client.h2.send_data(stream, b"abc", end_stream=True)
        await client.flush()

        assert await client.answer(stream) == ("200", b"3 bytes")


async def test_a_large_body_arrives_whole_through_flow_control(app: ObservedApp, certificate: str) -> None:
    @app.get("/large")
    async def large() -> bytes:
        return bytes(300_000)

    async with open_app(app, certificate=certificate) as hub:
        client = await H2Client.connect(hub)
        stream = await client.ask("/large")
        body = unread = 0
        while body < 300_000:
            event = await client.wait(h2.events.DataReceived, stream)
            body += len(event.data)
            unread += event.flow_controlled_length
            if unread == 65_535:
                # The window is used up: the hub has to wait until it is opened again.
                await wait_all_tasks_blocked()
                client.h2.acknowledge_received_data(unread, stream)
                await client.flush()
                unread = 0

        assert body == 300_000
        assert await client.wait(h2.events.StreamEnded, stream)


async def test_a_mebibyte_is_sent_without_waiting_for_the_hub(app: ObservedApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate) as hub:
        client = await H2Client.connect(hub)
        await client.wait(h2.events.RemoteSettingsChanged)
        await client.wait(h2.events.WindowUpdated)
        stream = await client.ask("/pub", "POST", end=False)

        assert client.h2.local_flow_control_window(stream) == 1 << 20


async def test_a_client_that_goes_away_gets_the_answers_to_what_it_asked_before(
    app: ObservedApp, certificate: str
) -> None:
    async with open_app(app, certificate=certificate) as hub:
        client = await H2Client.connect(hub)
        first, second = await client.ask("/pub", "POST", end=False), await client.ask("/pub", "POST", end=False)
        client.h2.send_data(first, b"a", end_stream=True)
        body = DataFrame(second, b"abc", flags=["END_STREAM"]).serialize()
        goaway = GoAwayFrame(0, last_stream_id=0, error_code=ErrorCodes.NO_ERROR).serialize()

        await client.flush()
        await client.client.send(goaway + body)

        assert await client.answer(first) == ("200", b"1 bytes")
        assert await client.answer(second) == ("200", b"3 bytes")
        assert (await client.wait(h2.events.ConnectionTerminated)).error_code == ErrorCodes.NO_ERROR
        assert await client.client.rest() == b""


async def test_a_client_that_goes_away_from_an_error_is_left_at_once(app: ObservedApp, certificate: str) -> None:
    async with open_app(app, certificate=certificate) as hub:
        client = await H2Client.connect(hub)
        await client.ask("/flood")

        await client.client.send(GoAwayFrame(0, error_code=ErrorCodes.PROTOCOL_ERROR).serialize())

        await app.ended.wait()
