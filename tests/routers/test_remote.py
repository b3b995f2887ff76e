import hmac
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

from hookbot.access.tokens import make_token
from hookbot.client.address import Address
from hookbot.client.http import open_client
from hookbot.errors import Unauthorized
from hookbot.log.retention import Retention
from hookbot.protocol.message import Draft, Message
from hookbot.protocol.publish import DEFAULT_MAX_BODY_BYTES
from hookbot.protocol.topics import TopicFilter
from hookbot.routers import Publish, Router, Secret
from hookbot.routers.attempts import RouterLimits
from hookbot.routers.github import GitHubRouter
from hookbot.routers.hub_url import HubUrl
from hookbot.routers.remote import RemoteRunner, unwrap
from hookbot.routers.runner import RouterMaker, RouterSpec
from hookbot.testing import KEY, open_test_hub
from hookbot.testing.hub import TestHub
from support import GUARD_S
from support.fast_path import settled

SECRET = "s3cret"
PUSH = json.dumps({"ref": "refs/heads/main", "after": "abc", "repository": {"full_name": "acme/app"}}).encode()
SIGNATURE = "sha256=" + hmac.new(SECRET.encode(), PUSH, "sha256").hexdigest()
HEADERS = (("X-GitHub-Event", "push"), ("X-Hub-Signature-256", SIGNATURE))


class Copy:
    name = "copy"
    topics: Sequence[str] = ("in/", "more/")

    async def route(self, message: Message, publish: Publish) -> None:
        if message.body == b"bad":
            raise ValueError("a bad one")
        await publish(f"copy/{message.topic}", message)


async def runner_of(router: Router | Callable[[], Router], hub: HubUrl, **fields: Any) -> RemoteRunner:
    """A runner of one router, or of those that a function makes for each start."""
    maker = RouterMaker(RouterSpec("", router if callable(router) else lambda: router), str)
    first = await maker.make_first()
    return RemoteRunner(first.name, first.topics, maker, hub, None, RouterLimits(), **fields)


@asynccontextmanager
async def outside(
    hub: TestHub, router: Router | Callable[[], Router], path: str = "/", key: str = KEY, **fields: Any
) -> AsyncIterator[RemoteRunner]:
    remote = HubUrl(Address.parse(hub.url + path), key, **fields)
    async with trio.open_nursery() as nursery:
        running = await runner_of(router, remote)
        nursery.start_soon(running.run)
        yield running
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def within() -> AsyncIterator[TestHub]:
    with trio.fail_after(GUARD_S):
        async with open_test_hub() as hub:
            yield hub


async def publish_until(
    hub: TestHub, topic: str, body: bytes, found: str, count: int = 1, **fields: Any
) -> Sequence[Message]:
    """Publish repeatedly, since nothing shows from here when the subscription is active."""
    with trio.move_on_after(GUARD_S) as scope:
        async with trio.open_nursery() as nursery:

            async def publish() -> None:
                while True:
                    await hub.publish(topic, body, **fields)
                    await trio.sleep(0.05)

            nursery.start_soon(publish)
            messages = await hub.wait_for(found, count)
            nursery.cancel_scope.cancel()
    assert not scope.cancelled_caught
    return messages


@pytest.mark.slow
async def test_a_router_outside_reads_all_its_topics_and_posts_with_hops_and_headers() -> None:
    async with within() as hub, outside(hub, Copy()):
        [one] = await publish_until(hub, "in/1", b"x", "copy/in/1", headers={"X-Kind": "test"})
        [more] = await publish_until(hub, "more/2", b"y", "copy/more/2")

    assert (one.body, one.hops, one.header("X-Kind")) == (b"x", ("copy",), "test")
    assert (more.body, more.hops) == (b"y", ("copy",))


@pytest.mark.slow
async def test_what_was_published_while_nobody_routed_is_routed_later_and_once() -> None:
    async with within() as hub:
        async with outside(hub, Copy()):
            await publish_until(hub, "in/1", b"first", "copy/in/1")
        for number in range(5):
            await hub.publish("in/later", b"%d" % number)
        async with outside(hub, Copy()):
            copies = await hub.wait_for("copy/in/later", 5)
    assert [copy.body for copy in copies] == [b"0", b"1", b"2", b"3", b"4"]


@pytest.mark.slow
async def test_what_is_posted_again_after_a_crash_reaches_nobody_twice() -> None:
    async with within() as hub:
        async with outside(hub, Copy()):
            await publish_until(hub, "in/1", b"first", "copy/in/1")
        await hub.publish("in/last", b"x")
        async with outside(hub, Copy()) as router:
            [message] = await hub.wait_for("copy/in/last")
            source = (await hub.wait_for("in/last"))[0]
            async with open_client(Address.parse(hub.url)) as client:
                await router._handle(source, client)
        await hub.publish("copy/in/last", b"the end")
        copies = await hub.wait_for("copy/in/last", 2)
    assert [copy.body for copy in copies] == [b"x", b"the end"]
    assert message.id == copies[0].id


@pytest.mark.slow
async def test_a_message_that_fails_goes_to_a_topic_for_that_and_the_next_is_routed() -> None:
    async with within() as hub, outside(hub, Copy()) as router:
        [failed] = await publish_until(hub, "in/1", b"bad", "failed/copy")
        await publish_until(hub, "in/2", b"good", "copy/in/2")

    assert failed.body == b"bad"
    assert failed.header("Hookbot-Failed-Error") == "ValueError: a bad one"
    assert router.stats.failed >= 1


@pytest.mark.slow
async def test_a_failed_message_that_is_replayed_is_routed_and_on_its_own_topic_it_is_left_alone() -> None:
    class Everything(Copy):
        topics: Sequence[str] = ("in/", "failed/")
        mended = False

        async def route(self, message: Message, publish: Publish) -> None:
            await super().route(replace(message, body=b"mended") if self.mended else message, publish)

    everything = Everything()
    async with within() as hub, outside(hub, everything) as router:
        [failed] = await publish_until(hub, "in/1", b"bad", "failed/copy")
        everything.mended = True
        await hub._broker.publish(Draft("in/again", failed.body, failed.headers, hops=failed.hops))
        [copy] = await hub.wait_for("copy/in/again")
        heard = await hub._broker.log.read(TopicFilter(("copy/failed/",)), after=0, limit=1, max_bytes=1)

    assert copy.body == b"mended"
    assert router.stats.routed
    assert heard.messages == []


class Several(Copy):
    """Publishes what the hub refuses beside what it takes; of a message `none`, only the former."""

    async def route(self, message: Message, publish: Publish) -> None:
        await publish("refused", bytes(DEFAULT_MAX_BODY_BYTES + 1))
        if message.body != b"none":
            await publish(f"copy/{message.topic}", message)


@pytest.mark.slow
async def test_a_publish_that_the_hub_refuses_costs_no_other_and_a_message_without_any_other_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = "413 the body is larger than"
    async with within() as hub, outside(hub, Several()):
        await publish_until(hub, "in/1", b"x", "copy/in/1")
        await hub.publish("in/2", b"some")
        await hub.publish("in/3", b"none")
        await hub.wait_for("copy/in/2")
        [failed] = await hub.wait_for("failed/copy")

    assert (failed.body, failed.header("Hookbot-Failed-Topic")) == (b"none", "in/3")
    assert error in str(failed.header("Hookbot-Failed-Error"))
    assert f"'refused' was not published: {error}" in caplog.text


NAMES = ["x" * 300, "\u20ac", "\ud800", "a\nb", "a ", "\xe9", "a b"]


async def test_the_name_of_a_publish_may_be_any_text() -> None:
    class Named(Copy):
        async def route(self, message: Message, publish: Publish) -> None:
            for name in NAMES:
                await publish("copy", name.encode(errors="replace"), name=name)

    async with within() as hub, outside(hub, Named()):
        copies = await publish_until(hub, "in/1", b"x", "copy", count=len(NAMES))

    assert [copy.body for copy in copies] == [name.encode(errors="replace") for name in NAMES]


async def test_a_router_that_crashes_is_made_anew_and_not_entered_twice() -> None:
    made: list[Router] = []

    class Once(Copy):
        entered = False

        async def __aenter__(self) -> None:
            assert not self.entered
            self.entered = True

        async def __aexit__(self, *error: object) -> None:
            pass

        async def route(self, message: Message, publish: Publish) -> None:
            if len(made) == 1:
                raise SystemExit
            await super().route(message, publish)

    def make() -> Router:
        made.append(Once())
        return made[-1]

    async with within() as hub, outside(hub, make):
        await publish_until(hub, "in/1", b"x", "copy/in/1")

    assert len(made) == 2


@pytest.mark.slow
async def test_what_the_hub_refuses_for_its_topic_is_logged_and_the_next_is_routed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Circle(Copy):
        topics: Sequence[str] = ("/unsafe/in/",)

        async def route(self, message: Message, publish: Publish) -> None:
            await publish(message.topic if message.body == b"bad" else f"copy/{message.body.decode()}", message)

    async with within() as hub, outside(hub, Circle()) as router:
        await publish_until(hub, "/unsafe/in/1", b"first", "copy/first")
        await hub.publish("/unsafe/in/1", b"bad")
        await hub.publish("/unsafe/in/1", b"last")
        await hub.wait_for("copy/last")

    assert router.stats.error.startswith("'/unsafe/in/1' was not published: the router also reads this")
    assert router.stats.error in caplog.text


@pytest.mark.slow
async def test_a_token_that_opens_nothing_ends_it() -> None:
    async with within() as hub:
        remote = HubUrl(Address.parse(hub.url.replace("//", "//wrong@")), None)
        with pytest.raises(BaseExceptionGroup) as caught:
            await (await runner_of(Copy(), remote)).run()
    assert caught.group_contains(Unauthorized)


@pytest.mark.slow
async def test_the_github_router_outside_verifies_and_publishes_like_the_one_inside() -> None:
    async with within() as hub, outside(hub, GitHubRouter([Secret(SECRET)]), "/unsafe/sub/github.com/"):
        [whole] = await publish_until(hub, "/unsafe/github.com/org", PUSH, "github.com/repo/acme/app", headers=HEADERS)
        [summary] = await hub.wait_for("github.com/repo/acme/app/branch/main")

    assert (whole.body, whole.query, whole.header("X-Hub-Signature-256")) == (PUSH, "extra-metadata=github", SIGNATURE)
    assert json.loads(summary.body)["Repo"] == "acme/app"


@pytest.mark.slow
async def test_a_router_outside_that_fell_behind_retention_says_so_and_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with within() as hub:
        async with outside(hub, Copy()):
            await publish_until(hub, "in/1", b"first", "copy/in/1")
        for number in range(10):
            await hub.publish("in/later", b"%d" % number)
        while await hub._broker.log.trim(Retention(max_count=3), now_us=0):
            pass
        async with outside(hub, Copy()) as router:
            copies = await hub.wait_for("copy/in/later", 3)

    assert [copy.body for copy in copies] == [b"7", b"8", b"9"]
    assert router.stats.gaps
    assert "router copy missed the messages before" in caplog.text


async def test_messages_that_came_through_the_router_already_are_left_alone() -> None:
    async with within() as hub, outside(hub, Copy()):
        await publish_until(hub, "in/1", b"x", "copy/in/1")
        await hub._broker.publish(Draft("in/2", b"its own", hops=("copy",)))
        await hub.publish("in/2", b"another")
        [copy] = await hub.wait_for("copy/in/2")

    assert copy.body == b"another"


@pytest.mark.slow
async def test_a_failed_message_that_fails_again_is_not_published_once_more() -> None:
    class Everything(Copy):
        topics: Sequence[str] = ("in/", "failed/")

    async with within() as hub, outside(hub, Everything()) as router:
        await publish_until(hub, "in/1", b"x", "copy/in/1")
        await hub.publish("failed/other", b"bad")
        await hub.publish("failed/other", b"good")
        await hub.wait_for("copy/failed/other")
        page = await hub._broker.log.read(TopicFilter(("failed/copy",)), after=0, limit=1, max_bytes=1)

    assert router.stats.failed == 1
    assert page.messages == []


@pytest.mark.slow
async def test_a_topic_that_the_token_does_not_open_costs_neither_other_publishes_nor_other_messages() -> None:
    class Chosen(Copy):
        async def route(self, message: Message, publish: Publish) -> None:
            for topic in message.body.decode().split():
                await publish(topic, message)

    async with within() as hub, outside(hub, Chosen(), publish_token=make_token(KEY, "/pub/failed/")):
        await publish_until(hub, "in/1", b"failed/open", "failed/open")
        await hub.publish("in/2", b"elsewhere failed/other")
        await hub.publish("in/3", b"elsewhere")
        await hub.wait_for("failed/other")
        [failed] = await hub.wait_for("failed/copy")

    assert failed.body == b"elsewhere"
    assert str(failed.header("Hookbot-Failed-Error")).startswith("Unauthorized: 401 Unauthorized")


async def test_a_token_that_opens_no_publish_ends_it() -> None:
    async with within() as hub:
        with pytest.raises(BaseExceptionGroup) as caught:
            async with outside(hub, Copy(), publish_token="wrong"):
                await publish_until(hub, "in/1", b"x", "copy/in/1")
    assert caught.group_contains(Unauthorized)


# -- the ancestor


def frame(**fields: Any) -> bytes:
    wrapped = {"Delivery": "1", "Event": "push", "Payload": b64encode(PUSH).decode(), "Signature": "sha1=00"}
    return b"/unsafe/github.com/org\0" + json.dumps({**wrapped, **fields}).encode()


def test_a_frame_with_metadata_is_the_delivery_again() -> None:
    topic, _, body = frame(Signature256=SIGNATURE).partition(b"\0")

    message = unwrap(Message(topic.decode(), body), "raw-1")

    assert message.body == PUSH
    assert message.header("X-GitHub-Event") == "push"
    assert message.header("X-Hub-Signature-256") == SIGNATURE
    assert message.header("Content-Type") == "application/json"
    assert message.wrapped


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"Payload": "!"}', b'{"Payload": "", "Event": 1, "Signature": ""}']
)
def test_any_other_frame_stays_as_it_is(body: bytes) -> None:
    assert unwrap(Message("t", body), "raw-1") == Message("t", body, id="raw-1")


@dataclass(frozen=True, slots=True)
class SplitUrl(HubUrl):
    """A hub that is listened to at another address than it is published to."""

    listened_to: Address | None = None

    def subscriptions(self, topics: Sequence[str]) -> list[Address]:
        assert self.listened_to
        return [self.listened_to]


@asynccontextmanager
async def ancestor(*frames: Any, busy: int = 0) -> AsyncIterator[tuple[int, int, list[Any], list[Any]]]:
    """A hub that knows raw frames only, and no cursors; what is posted to it is kept, after `busy` refusals."""
    posts: list[Any] = []

    async def serve(stream: trio.SocketStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some()
        head, _, body = head.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        while len(body) < int(headers["content-length"]):
            body += await stream.receive_some()
        posts.append((lines[0], headers, body))
        status = b"503 Busy" if len(posts) <= busy else b"200 OK"
        await stream.send_all(b"HTTP/1.1 " + status + b"\r\nContent-Length: 3\r\nConnection: close\r\n\r\nOK\n")
        await stream.aclose()

    async def subscribe(request: WebSocketRequest) -> None:
        requests.append(request)
        websocket = await request.accept()
        with suppress(ConnectionClosed):
            for one in frames:
                await websocket.send_message(one)
            await websocket.get_message()

    requests: list[WebSocketRequest] = []
    with trio.fail_after(GUARD_S):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve_websocket, subscribe, "127.0.0.1", 0, None)
            [publishing] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, serve, [publishing])
            yield server.port, publishing.socket.getsockname()[1], requests, posts
            nursery.cancel_scope.cancel()


async def route_raw(port: int, publish_port: int, posts: list[Any], count: int) -> None:
    """Run the GitHub router against a hub that speaks raw frames, until so much was posted to it."""
    remote = SplitUrl(
        Address.parse(f"http://127.0.0.1:{publish_port}"),
        KEY,
        headers=(("Origin", "//h"),),
        listened_to=Address.parse(f"ws://tok@127.0.0.1:{port}/unsafe/sub/github.com/"),
    )
    router = GitHubRouter([Secret(SECRET)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon((await runner_of(router, remote, patience_s=0)).run)
        await settled(lambda: len(posts) == count)
        nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_against_the_ancestor_raw_frames_are_understood_and_verified(caplog: pytest.LogCaptureFixture) -> None:
    good = frame(Signature256=SIGNATURE)
    forged = frame(Signature256=SIGNATURE.replace("sha256=", "sha256=0"), Delivery="forged")
    async with ancestor(forged, good) as (port, publish_port, requests, posts):
        await route_raw(port, publish_port, posts, 2)

    [(summary, headers, body), (whole, _, whole_body)] = posts
    assert summary == "POST /pub/github.com/repo/acme/app/branch/main HTTP/1.1"
    assert headers["hookbot-hops"] == "github"
    token = make_token(KEY, "/pub/github.com/repo/acme/app/branch/main")
    assert headers["authorization"] == "Basic " + b64encode(f"{token}:".encode()).decode()
    assert json.loads(body)["Type"] == "push"
    assert whole == "POST /pub/github.com/repo/acme/app?extra-metadata=github HTTP/1.1"
    assert whole_body == PUSH
    assert "dropped delivery forged" in caplog.text
    handshake = {name.decode().lower(): value.decode() for name, value in requests[-1].headers}
    assert handshake["x-hookbot-unsafe-is-ok"] == "I understand the security implications"
    assert handshake["origin"] == "//h"


async def test_a_publish_that_a_hub_cannot_take_now_is_retried_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    async with ancestor(frame(Signature256=SIGNATURE), busy=2) as (port, publish_port, _, posts):
        await route_raw(port, publish_port, posts, 4)

    lines = [line for line, _, _ in posts]
    assert lines[0] == lines[1] == lines[2] != lines[3]
    assert caplog.text.count("is not published yet") == 2
