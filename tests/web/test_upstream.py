"""Websockets to another hub, which is a scripted one here."""

import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme
from trio.testing import wait_all_tasks_blocked

from hookbot.errors import Ended, HookbotError, Lost, Refused
from hookbot.web import upstream as module
from hookbot.web.upstream import Answered, Upstream, open_upstream
from support.ports import free_ports
from support.scripted_hub import Peer, Script, ScriptedHub, answering, on_bytes, read_head, response, scripted_hub

V1 = ["hookbot.v1"]


def connecting(hub: ScriptedHub, scheme: str = "http") -> AbstractAsyncContextManager[Upstream]:
    return open_upstream(f"{scheme}://localhost:{hub.port}", "/sub/t?cursor=c", (("Authorization", "Bearer x"),), V1)


@asynccontextmanager
async def connected(*scripts: Script) -> AsyncIterator[tuple[Upstream, ScriptedHub]]:
    async with scripted_hub(*scripts) as hub, connecting(hub) as upstream:
        yield upstream, hub


async def staying(peer: Peer) -> None:
    await peer.accept()
    await peer.stay()


async def test_the_other_hub_is_asked_for_the_target_with_these_headers() -> None:
    async with connected(staying) as (upstream, hub):
        [peer] = hub.peers

        assert peer.request.path == "/sub/t?cursor=c"
        assert (peer.headers["authorization"], peer.headers["host"]) == ("Bearer x", f"localhost:{hub.port}")
        assert (upstream.subprotocol, peer.subprotocols) == ("hookbot.v1", ("hookbot.v1",))


async def test_a_message_in_fragments_is_one_between_which_pings_are_answered() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        async with trio.open_nursery() as nursery:
            await peer.send_raw(b"\x01\x01a")
            nursery.start_soon(peer.websocket.ping)
            await wait_all_tasks_blocked()
            await peer.send_raw(b"\x80\x01b")
        await peer.websocket.send_message("pinged")
        await peer.stay()

    async with connected(script) as (upstream, _):
        assert [await upstream.receive(), await upstream.receive()] == ["ab", "pinged"]


async def test_nothing_is_read_ahead() -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.accept()
        while True:
            await peer.websocket.send_message(b"a" * (8 << 20))
            sent += 1

    async with connected(script) as (upstream, _):
        await upstream.receive()
        await wait_all_tasks_blocked()

        # What the sockets on the way take is less than one.
        assert sent <= 2


async def test_pings_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.stay)
            await peer.pinged(2, answering=True)
            await peer.websocket.send_message("pinged twice")

    monkeypatch.setattr(module, "PING_S", 0.01)
    async with connected(script) as (upstream, _), trio.open_nursery() as nursery:
        nursery.start_soon(upstream.keep_pinging)
        assert await upstream.receive() == "pinged twice"
        nursery.cancel_scope.cancel()


# -- how it ends


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1013, "try again"), (4001, "\u00e9 was deleted")])
async def test_a_close_frame_is_told_and_what_is_sent_after_it_arrives(code: int, reason: str) -> None:
    received = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        payload = code.to_bytes(2, "big") + reason.encode()
        await peer.send_raw(bytes((0x88, len(payload))) + payload)
        received.append(await peer.websocket.get_message())
        await peer.stay()

    async with scripted_hub(script) as hub:
        async with connecting(hub) as upstream:
            with pytest.raises(Ended) as ended:
                await upstream.receive()
            await upstream.send("acknowledged")

        assert (ended.value.code, str(ended.value)) == (code, reason)
        assert received == ["acknowledged"]
        assert hub.peers[0].close_code == 1000


async def test_leaving_waits_until_everything_that_was_sent_is_read() -> None:
    received: list[str | bytes] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        while True:
            received.append(await peer.websocket.get_message())

    async with scripted_hub(script) as hub:
        async with connecting(hub) as upstream:
            for number in range(100):
                await upstream.send(str(number))

        assert received == [str(number) for number in range(100)]


async def test_leaving_waits_for_no_hub_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.read_nothing_more()
        await trio.sleep_forever()

    monkeypatch.setattr(module, "CLOSE_S", 0.05)
    async with connected(script):
        pass


@pytest.mark.parametrize("sent", [b"", b"\x83\x00", b"\x81\x02\xff\xff", b"\x88\x01\x00"])
async def test_a_connection_that_breaks_or_violates_the_protocol_is_lost(sent: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send_raw(sent)
        await peer.cut()

    async with connected(script) as (upstream, _):
        with pytest.raises(Lost):
            await upstream.receive()
        await upstream.send("to nobody")


async def test_a_message_that_is_too_large_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.websocket.send_message("a" * (1 << 20))

    monkeypatch.setattr(module, "MAX_MESSAGE_BYTES", 1 << 18)
    async with connected(script) as (upstream, _):
        with pytest.raises(Lost, match="too large"):
            await upstream.receive()


async def test_a_hub_that_takes_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.read_nothing_more()
        await trio.sleep_forever()

    monkeypatch.setattr(module, "SILENCE_S", 0.05)
    async with connected(script) as (upstream, _):
        await upstream.send(b"a" * (32 << 20))

        with pytest.raises(Lost):
            await upstream.receive()


# -- what is refused


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 503])
async def test_a_refusal_is_the_answer_of_the_other_hub(status: int) -> None:
    async with scripted_hub(answering(status, b"no\n", "Retry-After: 7", "Date: today")) as hub:
        with pytest.raises(Answered) as answered:
            async with connecting(hub):
                pass

    got = answered.value.response
    assert (got.status, got.body) == (status, b"no\n")
    assert [(name.lower(), value) for name, value in got.headers] == [("retry-after", "7")]


@pytest.mark.parametrize("status", [200, 302, 500, 502])
async def test_what_no_client_could_use_is_lost(status: int) -> None:
    async with scripted_hub(answering(status, b"no\n")) as hub:
        with pytest.raises(Lost, match=str(status)):
            async with connecting(hub):
                pass


@pytest.mark.parametrize(
    "answer", [b"", b"no HTTP\r\n\r\n", b"HTTP/1.1 101 Fine\r\n\r\n", response(400, b"a" * (1 << 20))]
)
async def test_what_is_no_answer_to_a_handshake_is_an_error(answer: bytes) -> None:
    @on_bytes
    async def script(stream: trio.abc.Stream) -> None:
        await read_head(stream)
        await stream.send_all(answer)

    async with scripted_hub(script) as hub:
        with pytest.raises((Lost, Answered)):
            async with connecting(hub):
                pass


async def test_an_answer_that_does_not_come_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.05)
    async with scripted_hub(on_bytes(lambda _: trio.sleep_forever())) as hub:
        with pytest.raises(Lost, match="no response"):
            async with connecting(hub):
                pass


@pytest.mark.parametrize(("url", "error"), [("http://127.0.0.1:{}", Lost), ("hub:{}", Refused)])
async def test_no_connection_is_an_error(url: str, error: type[HookbotError]) -> None:
    with pytest.raises(error):
        async with open_upstream(url.format(free_ports(1)[0]), "/", (), V1):
            pass


# -- TLS


async def test_an_https_url_has_to_have_a_certificate_that_the_system_trusts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))

    async with scripted_hub(staying, ssl_context=context) as hub:
        module._default_tls.cache_clear()
        with pytest.raises(Lost, match="certificate"):
            async with connecting(hub, "https"):
                pass
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        module._default_tls.cache_clear()
        async with connecting(hub, "https") as upstream:
            assert upstream.subprotocol == "hookbot.v1"
    module._default_tls.cache_clear()
