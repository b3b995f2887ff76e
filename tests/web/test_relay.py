"""Two hubs, of which one serves the cursors and groups of the other's clients."""

import json
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hookbot.access.client_address import TrustedProxies
from hookbot.access.rate_limits import Rate
from hookbot.access.relayed import HEADER
from hookbot.access.tokens import make_token
from hookbot.broker.broker import Broker
from hookbot.broker.consumers import Consumers
from hookbot.errors import HeldElsewhere
from hookbot.hub.hub import RunningHub
from hookbot.log.postgres_address import PostgresAddress
from hookbot.protocol.subscribe import SubscribeRequest
from hookbot.web.held_bytes import HeldBytes
from support import KEY
from support.app_hubs import auth, hub, publish
from support.clients import Client, WebSocket, connect
from support.ports import free_ports
from support.postgres import PostgresServer, new_schema
from support.scripted_hub import Peer, scripted_hub

Elsewhere = Callable[[RunningHub, str], None]

V1 = "hookbot.v1"
CURSORS = "/hookbot/v1/cursors"
MARK = "X-Forwarded-For"
RETRY_AFTER_S = 5.3


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    """Function that says at which URL the cursors and groups of a hub's clients are served."""
    urls: dict[Broker, str] = {}

    async def locate(consumers: Consumers, request: SubscribeRequest) -> None:
        url = urls.get(consumers._positions.broker)
        if url is not None:
            what = f"cursor {request.cursor}" if request.cursor else f"group {request.group}"
            raise HeldElsewhere.by("b", url, what, retry_after_s=RETRY_AFTER_S)

    def serve(running: RunningHub, url: str) -> None:
        urls[running.broker] = url

    monkeypatch.setattr(Consumers, "locate", locate)
    return serve


@pytest.fixture
async def pair(tmp_path: Path, elsewhere: Elsewhere) -> AsyncIterator[tuple[RunningHub, RunningHub]]:
    """A hub whose clients are relayed, and the one that serves them."""
    async with hub(tmp_path) as (near, _), hub(tmp_path) as (far, _):
        elsewhere(near, far.url)
        yield near, far


@asynccontextmanager
async def asking(running: RunningHub, target: str, headers: Iterable[tuple[str, str]] = ()) -> AsyncIterator[WebSocket]:
    """A websocket whose handshake was answered."""
    async with await connect(urlsplit(running.url).port or 0) as client:
        fields = {**auth(target.partition("?")[0]), **dict(headers)}
        websocket = WebSocket(client, target, V1, headers=fields.items())
        await websocket.ask()
        yield await websocket.answered()


async def frame(websocket: WebSocket) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(await websocket.payload())
    return parsed


async def ack(websocket: WebSocket, id: str) -> None:
    await websocket.send(json.dumps({"type": "ack", "id": id}))


async def closed(websocket: WebSocket) -> tuple[int | None, str]:
    code = await websocket.closed()
    return code, websocket.protocol.close_rcvd.reason if websocket.protocol.close_rcvd else ""


async def refused(running: RunningHub, target: str, headers: dict[str, str]) -> tuple[int, dict[str, str], str]:
    """Status, header fields and body of the answer to a handshake that is refused."""
    async with await connect(urlsplit(running.url).port or 0) as client:
        websocket = WebSocket(client, target, V1, headers=headers.items())
        request = websocket.protocol.connect()
        for name, value in headers.items():
            request.headers[name] = value
        await client.send(request.serialize())
        answer = await client.answer()
        return answer.status, answer.headers, answer.body.decode()


# -- what is passed on


async def test_a_cursor_goes_on_at_either_hub_behind_what_was_acknowledged_at_the_other(
    pair: tuple[RunningHub, RunningHub],
) -> None:
    near, far = pair
    ids = [message.id for message in await publish(far, b"1", b"2", b"3")]

    async with asking(near, "/sub/a?cursor=c&since=all") as websocket:
        hello = await frame(websocket)
        bodies = [(await frame(websocket))["body"] for _ in ids]
        await ack(websocket, ids[0])
        await ack(websocket, "nothing")
        error = await frame(websocket)
    async with asking(far, "/sub/a?cursor=c") as websocket:
        direct = await frame(websocket)
        await frame(websocket)
        await ack(websocket, ids[1])
    async with asking(near, "/sub/a?cursor=c") as websocket:
        again = await frame(websocket)
        left = await frame(websocket)

    assert (websocket.status, websocket.headers["sec-websocket-protocol"]) == (101, V1)
    assert (hello["type"], hello["cursor"], bodies, error["type"]) == ("hello", "c", ["1", "2", "3"], "error")
    assert (direct["position"], again["position"], left["body"]) == (ids[0], ids[1], "3")


async def test_who_is_relayed_is_listed_at_both_hubs_and_may_be_ended_at_either(
    pair: tuple[RunningHub, RunningHub],
) -> None:
    path = "/hookbot/v1/subscriptions"
    for ends in (0, 1):
        async with asking(pair[0], "/sub/a?cursor=c") as websocket, httpx.AsyncClient(headers=auth(path + "/")) as http:
            await frame(websocket)
            listed = [(await http.get(at.url + path, headers=auth(path))).json()["subscriptions"] for at in pair]
            await http.delete(f"{pair[ends].url}{path}/{listed[ends][0]['id']}")

            assert await closed(websocket) == (4001, "an operator has ended this subscription")
        [[near], [far]] = listed
        assert (near["position"], near["behind"]) == (None, None)
        assert (far["behind"], far["client"], far["cursor"]) == (0, near["client"], near["cursor"])


async def test_a_group_has_members_at_both_hubs(pair: tuple[RunningHub, RunningHub]) -> None:
    near, far = pair
    [message] = await publish(far, b"1")

    async with asking(far, "/sub/a?group=g&since=all") as direct:
        await frame(direct)
        first = await frame(direct)
        async with asking(near, "/sub/a?group=g") as relayed:
            await frame(relayed)
            await direct.client.reset()
            second = await frame(relayed)

    assert (first["id"], "redelivered" in first) == (message.id, False)
    assert (second["id"], second["redelivered"]) == (message.id, True)


async def test_a_token_may_be_sent_as_it_may_to_any_hub(pair: tuple[RunningHub, RunningHub]) -> None:
    near, _ = pair
    token = make_token(KEY, "/sub/a")

    for target, offers in (
        (f"/sub/a?cursor=c&token={token}", [V1]),
        ("/sub/a?cursor=d", [f"hookbot.token.{token}", V1]),
    ):
        async with await connect(urlsplit(near.url).port or 0) as client:
            websocket = WebSocket(client, target, offers)
            await websocket.ask()
            await websocket.accepted()
            assert (await frame(websocket))["type"] == "hello"


async def test_a_large_message_arrives_whole(pair: tuple[RunningHub, RunningHub]) -> None:
    near, far = pair
    body = "a" * (4 << 20)

    async with asking(near, "/sub/a?cursor=c") as websocket:
        await frame(websocket)
        await publish(far, body.encode())

        assert (await frame(websocket))["body"] == body


async def test_text_and_bytes_are_passed_on_as_they_are(tmp_path: Path, elsewhere: Elsewhere) -> None:
    sent: list[str | bytes] = ["", "\u00e9" * 40_000, b"", b"\xff\x00" * 40_000]
    received = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        for message in sent:
            await peer.websocket.send_message(message)
            received.append(await peer.websocket.get_message())

    async with hub(tmp_path) as (near, _), scripted_hub(script) as far:
        elsewhere(near, f"http://127.0.0.1:{far.port}")
        async with asking(near, "/sub/a?cursor=c") as websocket:
            passed = []
            for message in sent:
                data = await websocket.take()
                assert data is not None
                passed.append(data.decode() if isinstance(message, str) else data)
                await websocket.send(message[:1000])

    assert passed == sent
    assert received[:3] == [message[:1000] for message in sent[:3]]


async def test_what_a_client_sends_before_it_leaves_is_passed_on(pair: tuple[RunningHub, RunningHub]) -> None:
    near, far = pair
    [message] = await publish(far, b"1")

    async with asking(near, "/sub/a?cursor=c&since=all") as websocket:
        await websocket.payloads(2)
        await ack(websocket, message.id)
        websocket.protocol.send_close(1000)
        await websocket._flush()
        assert await websocket.closed() == 1000

    # The claim is free when the relay has ended.
    async with asking(far, "/sub/a?cursor=c") as websocket:
        assert (await frame(websocket))["position"] == message.id


# -- how it ends


async def test_a_close_of_the_other_hub_has_its_code_and_reason(tmp_path: Path, elsewhere: Elsewhere) -> None:
    async with hub(tmp_path) as (near, _), hub(tmp_path) as (far, client):
        elsewhere(near, far.url)
        async with asking(near, "/sub/a?cursor=c") as websocket:
            await frame(websocket)
            await client.delete(CURSORS, params={"path": "/sub/a", "name": "c"}, headers=auth(CURSORS))

            assert await closed(websocket) == (4001, "the cursor c was deleted")


async def test_a_subscription_that_ends_ends_with_1000(pair: tuple[RunningHub, RunningHub]) -> None:
    near, _ = pair
    async with asking(near, "/sub/a?cursor=c&follow=0") as websocket:
        await frame(websocket)

        assert await closed(websocket) == (1000, "")


async def test_an_acknowledgement_that_crosses_a_close_frame_counts(pair: tuple[RunningHub, RunningHub]) -> None:
    near, far = pair
    [message] = await publish(far, b"1")

    async with asking(near, "/sub/a?cursor=c&since=all&limit=1") as websocket:
        await websocket.payloads(2)
        # The close frame has come, and is not answered yet.
        websocket.pongs = False
        await websocket.frame()
        websocket.protocol.data_to_send()
        frame_of_ack = WebSocket(websocket.client, "/")
        frame_of_ack.protocol.state = frame_of_ack.protocol.state.OPEN
        await frame_of_ack.send(json.dumps({"type": "ack", "id": message.id}))
        await websocket.client.send(b"\x88\x80\0\0\0\0")
        assert await websocket.closed() == 1000

    async with asking(far, "/sub/a?cursor=c") as websocket:
        assert (await frame(websocket))["position"] == message.id


@pytest.mark.parametrize("silent", [False, True])
async def test_a_hub_that_goes_away_is_told_with_1013(
    tmp_path: Path, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        if silent:
            await trio.sleep_forever()
        await peer.cut()

    if silent:
        monkeypatch.setattr("hookbot.web.upstream.SILENCE_S", 1.0)
    async with hub(tmp_path) as (near, _), scripted_hub(script) as far:
        elsewhere(near, f"http://127.0.0.1:{far.port}")
        async with asking(near, "/sub/a?cursor=c") as websocket:
            await frame(websocket)

            assert await closed(websocket) == (1013, "the hub that serves the cursor c went away; reconnect")


async def test_a_hub_that_shuts_down_closes_what_it_relays_with_1001(tmp_path: Path, elsewhere: Elsewhere) -> None:
    async with hub(tmp_path) as (far, _), trio.open_nursery() as nursery:
        [message] = await publish(far, b"1")
        codes = []
        async with hub(tmp_path) as (near, _):
            elsewhere(near, far.url)
            connection = asking(near, "/sub/a?cursor=c&since=all")
            websocket = await connection.__aenter__()
            await websocket.payloads(2)
            await ack(websocket, message.id)

            async def wait() -> None:
                codes.append(await websocket.closed())

            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
        await connection.__aexit__(None, None, None)
        async with asking(far, "/sub/a?cursor=c") as again:
            assert (await frame(again))["position"] == message.id

    assert codes == [1001]


# -- what is refused


async def test_a_hub_that_cannot_be_reached_is_answered_with_503(tmp_path: Path, elsewhere: Elsewhere) -> None:
    async with hub(tmp_path) as (near, _):
        elsewhere(near, f"http://127.0.0.1:{free_ports(1)[0]}")

        status, headers, body = await refused(near, "/sub/a?cursor=c", auth("/sub/a"))

    assert (status, headers["retry-after"]) == (503, "6")
    assert body == "the hub that serves the cursor c cannot be reached; try again later\n"


async def test_a_hub_without_a_url_is_named(tmp_path: Path, elsewhere: Elsewhere) -> None:
    async with hub(tmp_path) as (near, _):
        elsewhere(near, "")

        status, _, body = await refused(near, "/sub/a?cursor=c", auth("/sub/a"))

    assert status == 503
    assert body.startswith("the cursor c is served by the hub b, which says no URL (--advertise)")


async def test_a_refusal_of_the_other_hub_reaches_the_client_as_it_is(pair: tuple[RunningHub, RunningHub]) -> None:
    near, far = pair
    async with asking(far, "/sub/a?group=g&key=topic"):
        direct = await refused(far, "/sub/a?group=g", auth("/sub/a"))
        relayed = await refused(near, "/sub/a?group=g", auth("/sub/a"))
        problem = await refused(near, "/sub/a?group=g", {**auth("/sub/a"), "Accept": "application/json"})

    assert relayed[0] == direct[0] == 400
    assert relayed[2] == direct[2]
    assert problem[1]["content-type"] == "application/problem+json"


async def test_a_limit_of_the_hub_that_relays_counts_what_it_relays(tmp_path: Path, elsewhere: Elsewhere) -> None:
    async with hub(tmp_path, max_subscribers=1) as (near, _), hub(tmp_path) as (far, _):
        elsewhere(near, far.url)
        async with asking(near, "/sub/a?cursor=c") as websocket:
            await frame(websocket)

            assert (await refused(near, "/sub/a?cursor=d", auth("/sub/a")))[0] == 429


async def test_what_is_relayed_is_not_relayed_again(tmp_path: Path, elsewhere: Elsewhere) -> None:
    async with hub(tmp_path) as (near, _), hub(tmp_path) as (far, _):
        elsewhere(near, far.url)
        elsewhere(far, near.url)

        relayed = await refused(near, "/sub/a?cursor=c", auth("/sub/a"))
        forged = await refused(near, "/sub/a?cursor=c", {**auth("/sub/a"), HEADER: "x"})

    assert relayed[0] == forged[0] == 503


async def test_the_other_hub_counts_failures_of_the_client_and_not_of_the_hub_that_relays(
    tmp_path: Path, elsewhere: Elsewhere
) -> None:
    options: dict[str, Any] = {"trusted_proxies": TrustedProxies(count=1)}
    async with (
        hub(tmp_path, old_keys=("an old key",), **options) as (near, _),
        hub(tmp_path, failure_rate=Rate(1, 3600)) as (far, _),
    ):
        elsewhere(near, far.url)
        bearer = {"Authorization": f"Bearer {make_token('an old key', '/sub/a')}"}

        answers = [
            (await refused(near, "/sub/a?cursor=c", {**bearer, MARK: client}))[0]
            for client in ("192.0.2.7", "192.0.2.7", "192.0.2.8")
        ]

    assert answers == [401, 429, 401]


# -- a family of hubs, each of which serves some


@pytest.fixture
def address(postgres: PostgresServer) -> str:
    """Address of a log that hubs share."""
    return f"{postgres.url}?schema={new_schema()}"


@asynccontextmanager
async def sharing(tmp_path: Path, address: str, *, reached: bool = True) -> AsyncIterator[RunningHub]:
    """A hub that shares its log, and says where it is reached: falsely unless it is `reached`."""
    port, other = free_ports(2)
    advertise = f"http://127.0.0.1:{port if reached else other}"
    store = PostgresAddress.parse(address)
    async with hub(tmp_path, store=store, bind=(f"127.0.0.1:{port}",), advertise=advertise) as (running, _):
        yield running


@pytest.fixture
async def family(tmp_path: Path, address: str) -> AsyncIterator[tuple[RunningHub, RunningHub]]:
    """Two hubs that share a log."""
    async with sharing(tmp_path, address) as a, sharing(tmp_path, address) as b:
        yield a, b


async def test_a_cursor_whose_clients_are_at_two_hubs_has_one_at_a_time(family: tuple[RunningHub, RunningHub]) -> None:
    a, b = family
    [message] = await publish(a, b"1")

    async with asking(a, "/sub/a?cursor=c&since=all") as first, asking(b, "/sub/a?cursor=c") as second:
        await first.payloads(2)
        await ack(first, message.id)
        first.protocol.send_close(1000)
        await first._flush()
        hello = await frame(second)
        await publish(b, b"2")
        received = await frame(second)

    assert (hello["position"], received["body"]) == (message.id, "2")


async def test_a_takeover_at_another_hub_tells_the_first_client_not_to_return(
    family: tuple[RunningHub, RunningHub],
) -> None:
    a, b = family
    taken_over = 4001, "another connection took over the cursor c"

    async with asking(a, "/sub/a?cursor=c") as first, asking(b, "/sub/a?cursor=c&takeover=1") as relayed:
        await frame(relayed)
        assert await closed(first) == taken_over
        async with asking(a, "/sub/a?cursor=c&takeover=1") as last:
            await frame(last)
            assert await closed(relayed) == taken_over


async def test_a_takeover_from_a_hub_that_cannot_be_reached_is_done_here(tmp_path: Path, address: str) -> None:
    async with (
        sharing(tmp_path, address, reached=False) as a,
        sharing(tmp_path, address) as b,
        asking(a, "/sub/a?cursor=c") as first,
    ):
        await frame(first)
        assert (await refused(b, "/sub/a?cursor=c", auth("/sub/a")))[0] == 503
        async with asking(b, "/sub/a?cursor=c&takeover=1") as second:
            assert (await frame(second))["cursor"] == "c"
            end = await closed(first)

    assert end == (1013, "another hub of the family serves the cursor c now; reconnect")


async def test_what_is_relayed_takes_nothing_over(family: tuple[RunningHub, RunningHub]) -> None:
    a, b = family
    relayed = {HEADER: "a hub that has done it itself meanwhile"}
    async with asking(a, "/sub/a?cursor=c") as websocket, operating(b) as http:
        await frame(websocket)

        status, _, _ = await refused(b, "/sub/a?cursor=c&takeover=1", {**auth("/sub/a"), **relayed})
        moved = await http.post(CURSORS, params={"path": "/sub/a", "name": "c", "since": "now"}, headers=relayed)
        deleted = await http.delete(CURSORS, params={"path": "/sub/a", "name": "c"}, headers=relayed)
        await publish(a, b"1")

        assert (await frame(websocket))["body"] == "1"
    assert (status, moved.status_code, deleted.status_code) == (503, 503, 503)


@asynccontextmanager
async def operating(running: RunningHub) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=running.url, headers=auth(CURSORS), trust_env=False) as http:
        yield http


async def test_every_hub_tells_operators_of_all_cursors(family: tuple[RunningHub, RunningHub]) -> None:
    a, b = family
    async with asking(a, "/sub/a?cursor=c") as websocket, operating(b) as http:
        await frame(websocket)
        [listed] = (await http.get(CURSORS)).json()["cursors"]

    assert (listed["name"], listed["connected"]) == ("c", True)


async def test_what_operators_do_at_another_hub_is_done_by_the_one_that_serves_the_cursor(
    family: tuple[RunningHub, RunningHub],
) -> None:
    a, b = family
    [message] = await publish(a, b"1")
    named = {"path": "/sub/a", "name": "c"}

    async with operating(b) as http:
        async with asking(a, "/sub/a?cursor=c&since=all") as websocket:
            await frame(websocket)
            moved = await http.post(CURSORS, params={**named, "since": "now"})
            end = await closed(websocket)
        async with asking(a, "/sub/a?cursor=c") as websocket:
            await frame(websocket)
            wrong = await http.post(CURSORS, params={**named, "since": "yesterday"})
            deleted = await http.delete(CURSORS, params=named)
            last = await closed(websocket)

    assert (moved.status_code, moved.json()["position"]) == (200, message.id)
    assert end == (1013, "the cursor c was moved; reconnect to resume from there")
    assert (wrong.status_code, deleted.status_code, deleted.json()) == (400, 200, {})
    assert last == (4001, "the cursor c was deleted")


async def test_what_operators_do_is_done_here_if_the_other_hub_cannot_be_reached(tmp_path: Path, address: str) -> None:
    async with (
        sharing(tmp_path, address, reached=False) as a,
        sharing(tmp_path, address) as b,
        operating(b) as http,
        asking(a, "/sub/a?cursor=c") as websocket,
    ):
        await frame(websocket)
        deleted = await http.delete(CURSORS, params={"path": "/sub/a", "name": "c"})
        code, _ = await closed(websocket)

    assert (deleted.status_code, code) == (200, 1013)


async def test_what_operators_do_is_done_here_if_the_other_hub_does_not_answer(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("hookbot.web.relay.ANSWER_S", 0.2)
    async with sharing(tmp_path, address, reached=False) as a, sharing(tmp_path, address) as b, operating(b) as http:
        [advertised] = [hub.url for hub in await a.broker.log.duties.hubs() if hub.url not in (a.url, b.url)]
        with silent(urlsplit(advertised).port or 0):
            async with asking(a, "/sub/a?cursor=c") as websocket:
                await frame(websocket)
                deleted = await http.delete(CURSORS, params={"path": "/sub/a", "name": "c"}, timeout=10)
                await closed(websocket)

    assert deleted.status_code == 200
    assert f"the cursor c is taken over from another hub: no response from {advertised}" in caplog.text


def silent(port: int) -> socket.socket:
    """A listening socket that nobody serves."""
    return socket.create_server(("127.0.0.1", port))


async def test_no_proxy_is_between_hubs(family: tuple[RunningHub, RunningHub], monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = family
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_ports(1)[0]}")
    async with asking(a, "/sub/a?cursor=c") as first, operating(b) as http:
        await frame(first)
        async with asking(b, "/sub/a?cursor=c&takeover=1") as relayed:
            await frame(relayed)
            await http.delete(CURSORS, params={"path": "/sub/a", "name": "c"})
            end = await closed(relayed)

    assert end == (4001, "the cursor c was deleted")


async def test_a_slow_client_is_cut_if_too_much_waits_for_slow_clients(
    tmp_path: Path, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.websocket.send_message(b"a" * (16 << 20))
        await peer.stay()

    monkeypatch.setattr("hookbot.hub.hub.HeldBytes", lambda _: HeldBytes(1 << 20))
    async with hub(tmp_path) as (near, _), scripted_hub(script) as far, AsyncExitStack() as clients:
        elsewhere(near, f"http://127.0.0.1:{far.port}")
        slow = []
        for name in "cd":
            client = await clients.enter_async_context(await connect(urlsplit(near.url).port or 0, receive_buffer=4096))
            slow.append(WebSocket(client, f"/sub/a?cursor={name}", V1, headers=auth("/sub/a").items()))
            await slow[-1].ask()
            await slow[-1].answered()

        # At least one is cut in the middle of the message.
        whole = [len(await rest(websocket.client)) >= 16 << 20 for websocket in slow]

    assert not all(whole)


async def rest(client: Client) -> bytes:
    """What a client receives until it has the large message, or its connection is cut."""
    received = bytearray(client.received)
    with suppress(trio.BrokenResourceError):
        while len(received) < 16 << 20 and (data := await client.stream.receive_some(1 << 16)):
            received += data
    return bytes(received)
