"""Requests of a listener and the messages that it gets, against a hub that follows a script."""

import logging
from dataclasses import replace
from typing import Any

import pytest
import trio

from hookbot import Message
from hookbot.client import Connected, Disconnected, Event, Gap
from hookbot.errors import BodyTooLarge, ConfigError, InvalidTopic, Refused, Unauthorized
from support.scripted_hub import (
    AT_ONCE,
    Peer,
    answering,
    listen,
    mid,
    next_message,
    scripted_hub,
    sending,
    sending_then_cut,
    taken,
)

# -- what comes


async def test_messages_come_in_order_with_everything_they_have() -> None:
    headers = (("X-A", "1"), ("X-A", "2"), ("X-B", "ü"))
    async with (
        scripted_hub(sending(1, 2, body=b"\xff\x00", headers=headers, query="q=1", hops=("a",))) as hub,
        listen(hub.url) as messages,
    ):
        first = await next_message(messages)
        second = await next_message(messages)
    assert (first.id, first.topic, first.body, first.headers) == (mid(1), "t", b"\xff\x00", headers)
    assert (first.query, first.hops, first.time_us) == ("q=1", ("a",), 1)
    assert second.id == mid(2)


@pytest.mark.slow
async def test_a_message_as_large_as_a_hub_takes_and_as_bad_as_json_makes_it_arrives() -> None:
    body = b"\x01" * (3 << 20)  # six characters each

    async with scripted_hub(sending(1, body=body)) as hub, listen(hub.url, max_body_bytes=len(body)) as messages:
        assert (await next_message(messages)).body == body


async def test_a_message_over_the_limit_is_an_error_and_not_an_endless_circle() -> None:
    async with scripted_hub(sending(1, body=b"x" * (3 << 20))) as hub:
        with pytest.raises(BodyTooLarge, match="max_body_bytes"):
            async with listen(hub.url, max_body_bytes=1000) as messages:
                await anext(messages)


async def test_a_gap_is_handed_over_in_its_place() -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.messages(1)
        await peer.send("gap", reason="retention", after=mid(1), before=mid(5))
        await peer.messages(5)
        await peer.stay()

    async with scripted_hub(script) as hub, listen(hub.url) as messages:
        items = [await anext(messages) for _ in range(3)]
    assert items[1] == Gap("retention", mid(1), mid(5))
    assert [item.id for item in items if isinstance(item, Message)] == [mid(1), mid(5)]


async def test_once_entered_the_subscription_is_active() -> None:
    standing = False

    async def script(peer: Peer) -> None:
        nonlocal standing
        await trio.testing.wait_all_tasks_blocked(0.05)
        standing = True
        await peer.hello()
        await peer.stay()

    async with scripted_hub(script) as hub, listen(hub.url):
        assert standing


async def test_a_limit_ends_the_stream() -> None:
    async with scripted_hub(sending(1, 2, 3)) as hub, listen(hub.url, limit=2) as messages:
        assert [item.id async for item in messages if isinstance(item, Message)] == [mid(1), mid(2)]


async def test_without_following_the_stream_ends_where_history_ends() -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.messages(1, 2)
        await peer.close(1000)

    async with scripted_hub(script) as hub, listen(hub.url, since="all", follow=False) as messages:
        assert [item.id async for item in messages if isinstance(item, Message)] == [mid(1), mid(2)]
    assert hub.peers[0].query == {"since": "all", "follow": "0"}


# -- what is asked for


async def test_the_handshake_carries_what_was_asked_for() -> None:
    async with scripted_hub(sending()) as hub:
        url = f"http://tok%2Fen@127.0.0.1:{hub.port}/unsafe/sub/a b/%C3%BC/?extra=1&since=2h"
        async with listen(url, cursor="c", unsafe=True):
            pass
    [peer] = hub.peers
    assert peer.path == "/unsafe/sub/a%20b/%C3%BC/"
    assert peer.query == {"extra": "1", "since": "2h", "cursor": "c"}
    assert peer.headers["authorization"] == "Basic dG9rL2VuOg=="  # tok/en:
    assert peer.headers["x-hookbot-unsafe-is-ok"] == "I understand the security implications"
    assert peer.headers["host"] == f"127.0.0.1:{hub.port}"
    assert peer.subprotocols == ("hookbot.v1",)


async def test_a_token_that_is_given_wins_over_the_url() -> None:
    async with scripted_hub(sending()) as hub, listen(hub.url.replace("127", "other@127"), token="token"):
        pass
    assert hub.peers[0].headers["authorization"] == "Basic dG9rZW46"


@pytest.mark.parametrize(
    ("url", "error", "says"),
    [
        ("http://hub/pub/a", Refused, "for publishing"),
        ("http://hub/unsafe/pub/a", Refused, "for publishing"),
        ("http://hub/unsafe/sub/a", Refused, "unsafe"),
        ("http://hub/sub/a//b", InvalidTopic, "empty"),
        ("ftp://hub/sub/a", Refused, "https://"),
        ("http://hub:port/sub/a", Refused, "malformed"),
        ("hub/sub/a", Refused, "https://"),
        ("http://hub/sub/a?limit=some", Refused, "a number"),
    ],
)
async def test_a_url_that_cannot_work_is_refused_before_connecting(url: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        async with listen(url):
            pass


async def test_headers_of_ones_own_go_along() -> None:
    async with scripted_hub(sending()) as hub, listen(hub.url, headers=[("X-A", "ü"), ("x-b", "2")]):
        pass
    assert (hub.peers[0].headers["x-a"], hub.peers[0].headers["x-b"]) == ("ü", "2")


@pytest.mark.parametrize("header", [("X A", "1"), ("X-A", "1\r\nX-B: 2"), ("X-A", "\N{SNOWMAN}"), ("", "1")])
async def test_what_is_no_header_is_refused_before_connecting(header: tuple[str, str]) -> None:
    with pytest.raises(Refused, match=r"invalid (name|value) of"):
        async with listen("http://hub/sub/a", headers=[header]):
            pass


async def test_a_ca_file_that_is_not_there_is_refused_before_connecting() -> None:
    with pytest.raises(ConfigError, match=r"/nowhere\.pem"):
        async with listen("https://hub/sub/a", ca_file="/nowhere.pem"):
            pass


@pytest.mark.parametrize(
    ("asked", "ahead"),
    [
        ({"cursor": "c"}, None),
        ({"group": "g"}, "1"),
        ({"group": "g", "manual_ack": True}, None),
        ({"group": "g", "max_unacked": 5}, "5"),
        ({"cursor": "c", "max_unacked": 5}, "5"),
    ],
)
async def test_a_member_of_a_group_who_works_step_by_step_leases_step_by_step(
    asked: dict[str, Any], ahead: str | None
) -> None:
    async with scripted_hub(sending()) as hub, listen(hub.url, **asked):
        pass
    assert hub.peers[0].query.get("max_unacked") == ahead


async def test_a_refusal_is_raised_on_entering() -> None:
    async with scripted_hub(answering(401)) as hub:
        with pytest.raises(Unauthorized):
            async with listen(hub.url):
                pytest.fail("the hub refuses")


# -- telling


async def test_what_happens_to_the_connection_is_logged_and_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hookbot.client")
    events: list[Event] = []
    async with (
        scripted_hub(sending_then_cut(1), sending(2)) as hub,
        listen(hub.url, on_event=events.append) as messages,
    ):
        await taken(messages, 2)
    shown = hub.url.replace("ws:", "http:")
    assert [type(event) for event in events] == [Connected, Disconnected, Connected]
    assert events[0] == Connected(shown, "hookbot/test")
    lost = events[1]
    assert isinstance(lost, Disconnected)
    assert (lost.address, lost.why) == (shown, "the connection was cut")
    assert [record.message for record in caplog.records if record.name == "hookbot.client"] == list(map(str, events))


async def test_the_token_is_never_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    events: list[Event] = []
    script = answering(503, b"later")
    async with scripted_hub(script, sending_then_cut(1), answering(401, b"no")) as hub:
        url = hub.url.replace("127", "s3cret@127") + "?token=s3cret"
        with pytest.raises(Unauthorized) as caught:
            async with listen(url, on_event=events.append) as messages:
                await taken(messages, 2)
    assert "s3cret" not in caplog.text + str(events) + repr(caught.value)
    assert hub.connections == 3


async def test_what_breaks_in_a_callback_breaks_the_program_and_not_only_the_stream() -> None:
    def on_event(event: Event) -> None:
        if isinstance(event, Disconnected):
            raise ZeroDivisionError

    async with scripted_hub(sending_then_cut(1)) as hub:
        with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
            async with listen(hub.url, on_event=on_event) as messages:
                await taken(messages, 2)


# -- leaving


async def test_an_error_in_the_body_comes_out_as_it_is() -> None:
    async with scripted_hub(sending(1)) as hub:
        with pytest.raises(ZeroDivisionError):
            async with listen(hub.url):
                raise ZeroDivisionError


async def test_leaving_sends_a_close_frame() -> None:
    codes = []
    gone = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.hello()
        try:
            await peer.stay()
        finally:
            codes.append(peer.close_code)
            gone.set()

    async with scripted_hub(script) as hub:
        async with listen(hub.url):
            pass
        await gone.wait()
    assert codes == [1000]


async def test_cancelling_while_waiting_loses_nothing() -> None:
    go_on = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.hello()
        await go_on.wait()
        await peer.messages(1)
        await peer.stay()

    async with scripted_hub(script) as hub, listen(hub.url) as messages:
        with trio.move_on_after(0.05):
            await anext(messages)
        go_on.set()
        assert await taken(messages, 1) == [1]


async def test_a_hub_that_sends_no_close_frame_does_not_keep_anybody() -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        peer.read_nothing_more()
        await trio.sleep_forever()

    async with scripted_hub(script) as hub, listen(hub.url, timing=replace(AT_ONCE, close_s=0.1)):
        pass
    assert hub.connections == 1


async def test_a_heartbeat_moves_the_place_and_is_not_handed_over() -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.send("heartbeat", id=mid(7))
        await peer.messages(8)
        await peer.stay()

    async with scripted_hub(script) as hub, listen(hub.url) as messages:
        assert await taken(messages, 1) == [8]


async def test_a_limit_in_the_url_holds_for_all_connections_together() -> None:
    async with (
        scripted_hub(sending_then_cut(1, 2), sending(3, 4)) as hub,
        listen(hub.url + "?limit=3", since="all") as messages,
    ):
        assert [item.id async for item in messages if isinstance(item, Message)] == [mid(1), mid(2), mid(3)]
    assert hub.connections == 2
    assert "limit" not in hub.peers[1].query
