"""Senders that wait for a reply, and listeners that give one: real hubs, with the fast path and without."""

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import httpx
import pytest
import trio

from hookbot.access.rate_limits import Rate
from hookbot.access.tokens import make_token
from hookbot.broker.broker import Broker
from hookbot.errors import Unavailable
from hookbot.log.memory import MemoryLog
from hookbot.log.postgres_address import PostgresAddress
from hookbot.protocol.message import Draft, Once
from hookbot.protocol.replies import MAX_REPLY_BODY, Answer, Reply
from hookbot.signatures import SignedRequest, load_provider
from hookbot.web.replies import MAX_WAITING, Question, Replies
from support import KEY, SECRET
from support.api import narrowed
from support.clients import WebSocket, connect
from support.clock import Clock
from support.hubs import WholeHub, configured, open_whole_hub
from support.ports import free_ports
from support.postgres import PostgresServer, new_schema

NEVER_S = 10.0
EVENT = b'{"id": "evt_1"}'
SOURCE = f"""
[[sources]]
topic = "/unsafe/signed"
provider = "stripe"
secrets = ["{SECRET}"]
"""


@pytest.fixture(params=[True, False], ids=["fast path", "app"])
async def hub(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[WholeHub]:
    async with open_replying(tmp_path, door=request.param) as hub:
        yield hub


@asynccontextmanager
async def open_replying(tmp_path: Path, text: str = SOURCE, **options: Any) -> AsyncIterator[WholeHub]:
    options = {"reply_prefixes": ("cmd", "cmd/", "/unsafe/"), "reply_timeout_s": NEVER_S, **options}
    async with open_whole_hub(tmp_path, text, **options) as hub:
        yield hub


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `replies_of` know the replies of each hub."""

    def make(broker: Broker, *args: Any) -> Replies:
        _made[broker] = Replies(broker, *args)
        return _made[broker]

    monkeypatch.setattr("hookbot.hub.hub.Replies", make)


_made: WeakKeyDictionary[Broker, Replies] = WeakKeyDictionary()


def replies_of(hub: WholeHub) -> Replies:
    """The replies of a hub."""
    return _made[hub.running.broker]


@asynccontextmanager
async def listener(hub: WholeHub, path: str = "/sub/cmd?reply") -> AsyncIterator[WebSocket]:
    async with hub.listen(path, "v1") as websocket:
        assert isinstance(websocket, WebSocket)
        assert websocket.status == 101
        yield websocket


async def taken(websocket: WebSocket) -> dict[str, Any]:
    """The next frame, as JSON."""
    frame = await websocket.take()
    assert frame is not None
    found: dict[str, Any] = json.loads(frame)
    return found


async def ask(
    hub: WholeHub, path: str = "/pub/cmd?reply", body: bytes = b"", headers: Iterable[tuple[str, str]] = ()
) -> httpx.Response:
    return await hub.post(path, body, headers, make_token(KEY, path.partition("?")[0]))


@asynccontextmanager
async def asking(*asks: Any) -> AsyncIterator[list[httpx.Response]]:
    """The responses to some questions, complete at the end of the block."""
    responses: list[httpx.Response] = []

    async def run(question: Any) -> None:
        responses.append(await question)

    async with trio.open_nursery() as nursery:
        for question in asks:
            nursery.start_soon(run, question)
        yield responses


async def answers(hub: WholeHub) -> list[Answer]:
    found = map(Answer.of, await hub.stored())
    return [answer for answer in found if answer]


# What the sender gets


@pytest.mark.parametrize(
    "path", ["/sub/cmd?reply", "/sub/cmd?reply=1&cursor=a", "/sub/cmd?reply&group=a", "/sub/?reply"]
)
async def test_the_sender_gets_what_the_listener_answers(hub: WholeHub, path: str) -> None:
    reply = Reply(418, (("Content-Type", "text/tea"), ("X-Pot", "1"), ("Set-Cookie", "a=b")), b"short and stout")

    async with listener(hub, path) as websocket, asking(ask(hub, body=b"hello")) as responses:
        message = await taken(websocket)
        await websocket.send(reply.to_frame(message["id"]))

    [response] = responses
    assert message["body"] == "hello"
    assert (response.status_code, response.content) == (418, b"short and stout")
    assert response.headers["hookbot-message-id"] == message["id"]
    assert {"text/tea", "1"} == {response.headers["content-type"], response.headers["x-pot"]}
    assert "set-cookie" not in response.headers
    assert replies_of(hub).waits["answered"] == 1


@pytest.mark.parametrize("status", [200, 204, 205, 299, 304, 500, 599])
async def test_each_status_is_passed_on(hub: WholeHub, status: int) -> None:
    async with listener(hub) as websocket, asking(ask(hub)) as responses:
        await websocket.send(Reply(status).to_frame((await taken(websocket))["id"]))

    [response] = responses
    assert (response.status_code, response.content) == (status, b"")
    assert response.headers.get("content-length") == (None if status in (204, 304) else "0")


async def test_nothing_in_an_answer_runs_with_the_rights_of_the_hub(hub: WholeHub) -> None:
    html = Reply(200, (("Content-Type", "text/html"), ("Content-Security-Policy", "")), b"<script>alert(1)</script>")

    async with listener(hub) as websocket, asking(ask(hub)) as responses:
        await websocket.send(html.to_frame((await taken(websocket))["id"]))

    [response] = responses
    assert response.headers["content-security-policy"] == "sandbox"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-type"] == "text/html"


async def test_text_without_a_type_is_plain(hub: WholeHub) -> None:
    async with listener(hub) as websocket, asking(ask(hub)) as responses:
        await websocket.send(Reply(200, (), b"<b>").to_frame((await taken(websocket))["id"]))

    assert responses[0].headers["content-type"] == "text/plain; charset=utf-8"


async def test_the_largest_reply_comes_through(hub: WholeHub) -> None:
    body = b"\0" * MAX_REPLY_BODY

    async with listener(hub) as websocket, asking(ask(hub)) as responses:
        await websocket.send(Reply(200, (), body).to_frame((await taken(websocket))["id"]))

    assert responses[0].content == body


async def test_where_nobody_is_there_the_sender_gets_the_default(hub: WholeHub) -> None:
    async with hub.listen("/sub/cmd", "v1"), listener(hub, "/sub/cmd/other?reply"):
        response = await ask(hub)

    assert (response.status_code, response.content) == (202, b"")
    assert [message.id for message in await hub.stored()] == [response.headers["hookbot-message-id"]]
    assert replies_of(hub).waits["nobody"] == 1


async def test_a_sender_whose_listener_has_left_gets_the_default(hub: WholeHub) -> None:
    async with listener(hub) as websocket:
        await websocket.client.stream.aclose()
    while replies_of(hub)._listening:
        await trio.lowlevel.checkpoint()

    assert (await ask(hub)).status_code == 202


async def test_after_the_timeout_the_sender_gets_the_default(tmp_path: Path) -> None:
    default = '[reply_default]\nstatus = 504\nheaders = { X-A = "1" }\nbody = "too late"\n'
    async with open_replying(tmp_path, default, reply_timeout_s=0.01) as hub, listener(hub):
        response = await ask(hub)

        assert (response.status_code, response.text, response.headers["x-a"]) == (504, "too late", "1")
        assert replies_of(hub).waits["late"] == 1


async def test_a_source_may_have_its_own_default(tmp_path: Path) -> None:
    source = SOURCE + 'answer = { status = 200, body = "busy" }\n'
    async with open_replying(tmp_path, source) as hub:
        response = await hub.deliver("stripe", "/unsafe/pub/signed?reply")

        assert (response.status_code, response.text) == (200, "busy")


async def test_a_source_may_have_an_answer_in_place_of_ok(tmp_path: Path) -> None:
    source = SOURCE + 'answer = { status = 201, headers = { Content-Type = "text/xml" }, body = "<Response/>" }\n'
    async with open_whole_hub(tmp_path, source) as hub:
        responses = [await hub.deliver("stripe", "/unsafe/pub/signed", EVENT) for _ in range(2)]

        assert [(one.status_code, one.text) for one in responses] == [(201, "<Response/>")] * 2
        assert [one.headers["content-type"] for one in responses] == ["text/xml"] * 2
        assert "hookbot-duplicate" in responses[1].headers
        assert len(await hub.stored()) == 1


@pytest.mark.parametrize("path", ["/pub/other?reply", "/pub/cmdx?reply=1", "/pub/cmdx/y?a=b&reply"])
async def test_elsewhere_nobody_may_wait(hub: WholeHub, path: str) -> None:
    response = await ask(hub, path)

    assert response.status_code == 400
    assert response.text.startswith("no sender waits for a reply at '")
    assert await hub.stored() == []


async def test_a_forged_delivery_asks_nobody(hub: WholeHub) -> None:
    async with listener(hub, "/unsafe/sub/signed?reply"):
        response = await hub.deliver("stripe", "/unsafe/pub/signed?reply", secret="whsec_other")

    assert response.status_code == 401
    assert await hub.stored() == []


async def test_a_publish_that_does_not_ask_is_answered_at_once(hub: WholeHub) -> None:
    async with listener(hub):
        response = await ask(hub, "/pub/cmd?reply=later")

    assert (response.status_code, response.text) == (200, "OK\n")


# By GET


async def get(hub: WholeHub, path: str = "/pub/cmd?reply", **headers: str) -> httpx.Response:
    token = {"Authorization": f"Bearer {make_token(KEY, path.partition('?')[0])}"}
    return await hub.http.get(path, headers=token | {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize("path", ["/pub/cmd?reply&a=b", "/unsafe/pub/cmd?a=b&reply=1"])
async def test_a_sender_may_ask_by_get(hub: WholeHub, path: str) -> None:
    topic = path.partition("?")[0].replace("pub", "sub")
    async with listener(hub, f"{topic}?reply") as websocket, asking(get(hub, path, X_A="1")) as responses:
        message = await taken(websocket)
        await websocket.send(Reply(200, (("Content-Type", "text/html"),), b"<p>hi").to_frame(message["id"]))

    [response] = responses
    assert (response.status_code, response.text) == (200, "<p>hi")
    assert response.headers["content-security-policy"] == "sandbox"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-store"
    assert (message["body"], message["query"]) == ("", path.partition("?")[2])
    assert message["headers"][-1] == ["Hookbot-Method", "GET"]
    stored = (await hub.stored())[0]
    assert (stored.method, stored.header("X-A")) == ("GET", "1")


@pytest.mark.parametrize("path", ["/pub/cmd", "/pub/cmd?reply=later", "/pub/other?reply", "/unsafe/pub/signed"])
async def test_a_get_that_does_not_ask_or_asks_elsewhere_is_none(hub: WholeHub, path: str) -> None:
    response = await get(hub, path)

    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert await hub.stored() == []


async def test_a_get_takes_a_token_a_signature_and_no_browser(hub: WholeHub) -> None:
    anybody = await hub.http.get("/pub/cmd?reply")
    forged = await hub.http.get("/unsafe/pub/signed?reply")
    browser = await get(hub, Sec_Fetch_Dest="script")
    other = await get(hub, "/unsafe/pub/cmd?reply", Service_Worker="script")

    assert [response.status_code for response in (anybody, forged, browser, other)] == [401, 401, 403, 403]
    assert browser.text == other.text == "a browser is no sender: only a server may publish by GET\n"
    assert await hub.stored() == []


async def test_a_head_publishes_nothing(hub: WholeHub) -> None:
    response = await hub.http.head("/unsafe/pub/cmd?reply")

    assert response.status_code == 405
    assert await hub.stored() == []


async def test_a_get_has_no_body(hub: WholeHub) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"x"

    url = "/unsafe/pub/cmd?reply"
    for content in (b"x", parts()):
        response = await hub.http.request("GET", url, content=content)
        assert response.status_code == 413
    assert await hub.stored() == []


async def test_a_get_is_signed_like_any_request(hub: WholeHub) -> None:
    path = "/unsafe/pub/signed?reply"
    signed = load_provider("stripe").sign(SignedRequest(b"", (), "GET"), SECRET, now=hub.clock_us() / 1e6)

    responses = [await hub.http.get(path, headers=list(signed.headers)) for _ in range(2)]

    assert [response.status_code for response in responses] == [202, 202]
    assert responses[1].headers["hookbot-duplicate"] == "true"
    [message] = await hub.stored()
    assert (message.method, message.verified and message.verified.provider) == ("GET", "stripe")


async def test_a_sender_cannot_say_that_it_came_by_get(hub: WholeHub) -> None:
    for _ in range(2):
        await ask(hub, "/pub/cmd", b"", [("Hookbot-Method", "GET")])

    assert [(message.method, message.header("Hookbot-Method")) for message in await hub.stored()] == [
        ("POST", None)
    ] * 2


# Repeats


async def test_a_repeat_gets_the_same_answer_and_asks_nobody(hub: WholeHub) -> None:
    async with listener(hub, "/unsafe/sub/signed?reply") as websocket:
        async with asking(hub.deliver("stripe", "/unsafe/pub/signed?reply", EVENT)) as responses:
            await websocket.send(Reply(200, (), b"done").to_frame((await taken(websocket))["id"]))

        repeated = await hub.deliver("stripe", "/unsafe/pub/signed?reply", EVENT)

    assert responses[0].text == repeated.text == "done"
    assert repeated.headers["hookbot-duplicate"] == "true"
    assert [message.topic for message in await hub.stored()] == ["/unsafe/signed", "/unsafe/hookbot/replies/signed"]


async def test_a_repeat_waits_for_the_answer_that_is_to_come(hub: WholeHub) -> None:
    key = [("Idempotency-Key", "1")]
    async with listener(hub) as websocket, asking(*[ask(hub, headers=key) for _ in range(3)]) as responses:
        message = await taken(websocket)
        while replies_of(hub).waiting < 3:
            await trio.lowlevel.checkpoint()
        await websocket.send(Reply(200, (), b"done").to_frame(message["id"]))

    assert [response.text for response in responses] == ["done"] * 3
    assert len(await answers(hub)) == 1


async def test_an_answer_that_comes_too_late_is_for_the_repeat(tmp_path: Path) -> None:
    key = [("Idempotency-Key", "1")]
    async with open_replying(tmp_path, reply_timeout_s=0.01) as hub, listener(hub) as websocket:
        late = await ask(hub, headers=key)
        await websocket.send(Reply(200, (), b"done").to_frame((await taken(websocket))["id"]))
        while not await answers(hub):
            await trio.lowlevel.checkpoint()

        assert (late.status_code, (await ask(hub, headers=key)).text) == (202, "done")


async def test_an_answer_that_was_deleted_is_not_given_again(hub: WholeHub) -> None:
    key = [("Idempotency-Key", "1")]
    async with listener(hub) as websocket, asking(ask(hub, headers=key)):
        await websocket.send(Reply(200, (), b"done").to_frame((await taken(websocket))["id"]))
    await hub.running.broker.delete([message.position for message in await hub.stored() if Answer.of(message)])

    assert (await ask(hub, headers=key)).status_code == 202


async def test_a_repeat_whose_answer_cannot_be_read_is_stored_all_the_same(
    hub: WholeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def find(log: MemoryLog, once: Once) -> None:
        raise Unavailable("the database is away")

    key = [("Idempotency-Key", "1")]
    await ask(hub, headers=key)
    monkeypatch.setattr(MemoryLog, "find", find)

    assert (await ask(hub, headers=key)).status_code == 202
    assert replies_of(hub).waits["failed"] == 1


# Answers in the log


async def test_an_answer_is_stored_with_what_it_answers(hub: WholeHub) -> None:
    reply = Reply(201, (("X-A", "1"),), b"done")
    async with listener(hub, "/unsafe/sub/x/?reply") as websocket, asking(hub.post("/unsafe/pub/x/y?reply")):
        id = (await taken(websocket))["id"]
        await websocket.send(reply.to_frame(id))

    [_, stored] = await hub.stored()
    assert (stored.topic, stored.routed_from) == ("/unsafe/hookbot/replies/x/y", id)
    assert Answer.of(stored) == Answer(id, "/unsafe/x/y", reply)


async def test_only_the_first_answer_counts(hub: WholeHub) -> None:
    async with listener(hub) as first, listener(hub) as second, asking(ask(hub)) as responses:
        id = (await taken(first))["id"]
        await first.send(Reply(200, (), b"first").to_frame(id))
        await first.send(Reply(200, (), b"again").to_frame(id))
        await second.send(Reply(200, (), b"second").to_frame(id))
        while replies_of(hub).given["repeated"] < 2:
            await trio.lowlevel.checkpoint()

    assert responses[0].text in ("first", "second")
    assert len(await answers(hub)) == 1


async def test_an_answer_that_is_there_before_its_sender_waits_is_found(hub: WholeHub) -> None:
    message = await hub.running.broker.publish(Draft("cmd", query="reply"))
    await hub.running.broker.publish(Answer(message.id, "cmd", Reply(200, (), b"done")).draft)
    question = Question(message.id, "cmd", duplicate=False, known=True, default=Reply(202))

    assert (await replies_of(hub).wait(question)).body == b"done"


async def test_a_message_that_was_deleted_is_not_answered_though_its_sender_waits(tmp_path: Path) -> None:
    async with open_replying(tmp_path, reply_timeout_s=0.5) as hub, listener(hub) as websocket, asking(ask(hub)):
        id = (await taken(websocket))["id"]
        await hub.running.broker.delete([message.position for message in await hub.stored()])

        assert await refused(websocket, Reply().to_frame(id)) == f"no message {id} was sent here"
        assert await hub.stored() == []


# What a listener may say


async def refused(websocket: WebSocket, reply: str) -> str:
    """The title of the error frame that answers a frame."""
    await websocket.send(reply)
    while (frame := await taken(websocket))["type"] != "error":
        pass
    title: str = frame["title"]
    return title


async def test_a_listener_replies_only_to_what_it_was_sent_and_is_waited_for(hub: WholeHub) -> None:
    other = (await ask(hub, "/pub/other")).headers["hookbot-message-id"]
    quiet = (await ask(hub, "/pub/cmd")).headers["hookbot-message-id"]
    unknown = f"{other[:-1]}9"

    async with listener(hub) as websocket:
        assert await refused(websocket, Reply().to_frame(other)) == f"no message {other} was sent here"
        assert await refused(websocket, Reply().to_frame(unknown)) == f"no message {unknown} was sent here"
        assert await refused(websocket, Reply().to_frame("x")) == "not a message id: 'x'"
        assert (
            await refused(websocket, Reply().to_frame(quiet)) == f"the sender of the message {quiet} waits for no reply"
        )
        assert "200 to 599" in await refused(websocket, json.dumps({"type": "reply", "id": quiet, "status": 100}))
        assert await refused(websocket, "[]") == "a message from this client has to be a reply"
        assert await refused(websocket, "[") == "a message from a client has to be a JSON object"
        # Nor does any of this end the connection.
        assert (await ask(hub, "/pub/cmd")).status_code == 200
        assert (await taken(websocket))["type"] == "message"

    assert await answers(hub) == []
    assert replies_of(hub).given["refused"] == 4


async def test_who_may_see_new_messages_alone_replies_to_no_older_one(tmp_path: Path) -> None:
    clock = Clock()
    async with open_replying(tmp_path, clock=clock) as hub:
        id = (await ask(hub)).headers["hookbot-message-id"]
        clock.now_us += int(NEVER_S * 1e6) + 1

        async with hub.listen("/sub/cmd?reply", "v1", narrowed("/sub/cmd", live="1")) as websocket:
            assert isinstance(websocket, WebSocket)
            assert await refused(websocket, Reply().to_frame(id)) == f"no message {id} was sent here"

            async with asking(ask(hub)) as responses:
                await websocket.send(Reply(200, (), b"new").to_frame((await taken(websocket))["id"]))

    assert responses[0].text == "new"


async def test_nobody_waits_for_a_reply_to_a_copy(hub: WholeHub) -> None:
    async with listener(hub) as websocket:
        copy = await hub.running.broker.publish(Draft("cmd", query="reply", replay_of="abcdefgh-000000000000001"))

        assert (
            await refused(websocket, Reply().to_frame(copy.id))
            == f"the sender of the message {copy.id} waits for no reply"
        )


async def test_a_cursor_acknowledges_beside_its_replies(hub: WholeHub) -> None:
    async with listener(hub, "/sub/cmd?reply&cursor=a") as websocket, asking(ask(hub)) as responses:
        id = (await taken(websocket))["id"]
        await websocket.send(Reply(200, (), b"done").to_frame(id))
        await websocket.send(json.dumps({"type": "ack", "id": id}))
        assert await refused(websocket, "{}")

    assert responses[0].text == "done"
    async with hub.listen("/sub/cmd?cursor=a", "v1") as again:
        await ask(hub, "/pub/cmd", b"next")
        assert isinstance(again, WebSocket)
        assert (await taken(again))["body"] == "next"


async def test_an_old_message_is_not_replied_to(tmp_path: Path) -> None:
    clock = Clock()
    async with open_replying(tmp_path, reply_timeout_s=0.01, clock=clock) as hub, listener(hub) as websocket:
        await ask(hub)
        id = (await taken(websocket))["id"]
        clock.now_us += 2 * 86_400_000_000

        assert await refused(websocket, Reply().to_frame(id)) == f"the message {id} is too old for a reply"


@pytest.mark.parametrize(
    ("path", "form"), [("/sub/cmd?reply", "raw"), ("/sub/cmd?reply", "cloudevents"), ("/sub/cmd?reply", "sse")]
)
async def test_a_reply_takes_a_format_with_frames_of_the_client(hub: WholeHub, path: str, form: str) -> None:
    async with hub.listen(path, form) as refused:
        assert refused.status == 400


async def test_a_subscription_says_reply_or_not(hub: WholeHub) -> None:
    async with hub.listen("/sub/cmd?reply=yes", "v1") as one, hub.listen("/sub/cmd?reply=0", "raw") as other:
        assert (one.status, other.status) == (400, 101)


async def test_only_who_replies_may_send_long_frames(hub: WholeHub) -> None:
    frame = json.dumps({"type": "ack", "id": "x" * (65 << 10)})
    async with listener(hub, "/sub/cmd?cursor=a") as one, listener(hub, "/sub/cmd?reply&cursor=b") as other:
        await one.send(frame)
        assert await one.closed() == 1009
        assert await refused(other, frame)


async def test_replies_that_change_nothing_are_noise(hub: WholeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookbot.web.subscribe.NOISE", Rate(3, 1000))
    async with listener(hub) as websocket:
        async with asking(*[ask(hub) for _ in range(5)]):
            frames = [Reply().to_frame((await taken(websocket))["id"]) for _ in range(5)]
            # None of these is noise.
            for frame in frames:
                await websocket.send(frame)

        for frame in frames[:4]:
            await websocket.send(frame)
        assert await websocket.closed() == 1008


# Bounds, and ends


async def test_a_sender_that_leaves_is_waited_for_no_longer(hub: WholeHub) -> None:
    path = "/pub/cmd"
    head = f"POST {path}?reply HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {make_token(KEY, path)}\r\n"
    async with listener(hub) as websocket:
        async with await connect(hub.port) as client:
            await client.send(head.encode() + b"Content-Length: 1\r\n\r\nx")
            await taken(websocket)
            assert replies_of(hub).waiting == 1
        while replies_of(hub).waiting:
            await trio.sleep(0.01)

    assert replies_of(hub).waits["left"] == 1


async def test_a_sender_that_waits_holds_no_body(hub: WholeHub) -> None:
    async with listener(hub) as websocket, asking(ask(hub, body=b"x" * 100_000)):
        id = (await taken(websocket))["id"]
        while not replies_of(hub).waiting:
            await trio.lowlevel.checkpoint()
        metrics = (
            await hub.http.get("/metrics", headers={"Authorization": f"Bearer {make_token(KEY, '/metrics')}"})
        ).text
        await websocket.send(Reply().to_frame(id))

    assert "hookbot_body_bytes 0.0" in metrics
    assert "hookbot_waiting_senders 1.0" in metrics


async def test_only_so_many_senders_wait(hub: WholeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookbot.web.replies.MAX_WAITING", 2)
    assert MAX_WAITING > 2
    async with listener(hub) as websocket, listener(hub, "/unsafe/sub/cmd?reply"), asking(ask(hub)):
        id = (await taken(websocket))["id"]
        while not replies_of(hub).waiting:
            await trio.lowlevel.checkpoint()
        # Of nobody knows whom, half as many.
        assert (await hub.post("/unsafe/pub/cmd?reply")).status_code == 202
        async with asking(ask(hub)):
            other = (await taken(websocket))["id"]
            while replies_of(hub).waiting < 2:
                await trio.lowlevel.checkpoint()
            assert (await ask(hub)).status_code == 202
            for one in (id, other):
                await websocket.send(Reply().to_frame(one))

    assert replies_of(hub).waits == {"answered": 2, "full": 2, "nobody": 0, "late": 0, "failed": 0, "left": 0}


async def test_a_hub_that_shuts_down_gives_the_default(tmp_path: Path) -> None:
    responses: list[httpx.Response] = []
    async with (
        trio.open_nursery() as nursery,
        httpx.AsyncClient(timeout=NEVER_S) as http,
        open_replying(tmp_path, grace_s=5) as hub,
        listener(hub) as websocket,
    ):

        @nursery.start_soon
        async def wait() -> None:
            token = {"Authorization": f"Bearer {make_token(KEY, '/pub/cmd')}"}
            responses.append(await http.post(f"{hub.running.url}/pub/cmd?reply", headers=token))

        await taken(websocket)
        while not replies_of(hub).waiting:
            await trio.lowlevel.checkpoint()

    assert [response.status_code for response in responses] == [202]


# Several hubs, and restarts


@asynccontextmanager
async def family(tmp_path: Path, postgres: PostgresServer) -> AsyncIterator[tuple[WholeHub, WholeHub]]:
    """Two hubs that share a log."""
    store = PostgresAddress.parse(f"{postgres.url}?schema={new_schema()}")
    ports = free_ports(2)
    hubs = [
        open_replying(tmp_path, store=store, bind=(f"127.0.0.1:{port}",), advertise=f"http://127.0.0.1:{port}")
        for port in ports
    ]
    async with hubs[0] as one, hubs[1] as other:
        yield one, other


async def heard_of(hub: WholeHub, pattern: str) -> None:
    """Wait until a hub knows that a listener of another one replies to the messages of some topics."""
    while pattern not in hub.running.broker.log.duties.replying:
        await trio.sleep(0.01)


@pytest.mark.parametrize("path", ["/sub/cmd?reply", "/sub/cmd?reply&cursor=a"])
async def test_a_listener_at_another_hub_replies(tmp_path: Path, postgres: PostgresServer, path: str) -> None:
    async with family(tmp_path, postgres) as (one, other), listener(other, path) as websocket:
        assert (await ask(one, "/pub/cmd/else?reply")).status_code == 202
        await heard_of(one, "cmd")

        async with asking(ask(one, headers=[("Idempotency-Key", "1")])) as responses:
            await websocket.send(Reply(200, (), b"done").to_frame((await taken(websocket))["id"]))
        repeated = await ask(other, headers=[("Idempotency-Key", "1")])

        assert responses[0].text == repeated.text == "done"
        assert len(await answers(one)) == 1


async def test_a_relayed_listener_replies(tmp_path: Path, postgres: PostgresServer) -> None:
    async with family(tmp_path, postgres) as (one, other), listener(one, "/sub/cmd?reply&group=a") as first:
        async with listener(other, "/sub/cmd?reply&group=a") as second, asking(ask(one), ask(one)) as responses:
            for websocket in (first, second):
                body = f"{'x' * MAX_REPLY_BODY}".encode()
                await websocket.send(Reply(200, (), body).to_frame((await taken(websocket))["id"]))

        assert [len(response.content) for response in responses] == [MAX_REPLY_BODY] * 2


async def test_of_two_hubs_at_which_a_message_is_answered_one_counts(tmp_path: Path, postgres: PostgresServer) -> None:
    async with (
        family(tmp_path, postgres) as (one, other),
        listener(one) as first,
        listener(other) as second,
        asking(ask(one)) as responses,
    ):
        id = (await taken(first))["id"]
        assert (await taken(second))["id"] == id
        await second.send(Reply(200, (), b"second").to_frame(id))
        await first.send(Reply(200, (), b"first").to_frame(id))
        while replies_of(one).given.total() + replies_of(other).given.total() < 2:
            await trio.sleep(0.01)

        [answer] = await answers(one)
        assert await answers(other) == [answer]
    assert [response.content for response in responses] == [answer.reply.body]


async def test_a_repeat_after_a_restart_gets_the_answer(tmp_path: Path) -> None:
    key = [("Idempotency-Key", "1")]
    async with open_replying(tmp_path, store="sqlite:", reply_timeout_s=0.01) as hub:
        # Nobody has answered yet when the hub ends.
        await ask(hub, headers=key)

    async with open_replying(tmp_path, store="sqlite:") as hub, listener(hub, "/sub/cmd?reply&since=all") as websocket:
        id = (await taken(websocket))["id"]
        async with asking(ask(hub, headers=key)) as responses:
            await websocket.send(Reply(200, (), b"done").to_frame(id))

    async with open_replying(tmp_path, store="sqlite:") as hub:
        assert (await ask(hub, headers=key)).text == responses[0].text == "done"


async def test_a_reload_changes_who_may_wait(hub: WholeHub, tmp_path: Path) -> None:
    assert (await ask(hub, "/pub/other?reply")).status_code == 400

    config = configured(tmp_path, "[reply_default]\nstatus = 200\n", reply_prefixes=("other",))
    await hub.running.reload(lambda: config)

    assert (await ask(hub, "/pub/other?reply")).status_code == 200
    assert (await ask(hub, "/pub/cmd?reply")).status_code == 400
