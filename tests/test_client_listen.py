"""Listening, against a hub that misbehaves as scripted."""

import logging

import pytest
import trio

from hookbot.client import Connected, Disconnected, Gap, Waiting, backoff, connection, keeping, listen
from hookbot.errors import (
    BodyTooLarge,
    Forbidden,
    InvalidTopic,
    NotFound,
    Refused,
    Unauthorized,
    UpgradeRequired,
)
from scripted_hub import answering, mid, on_bytes, read_head, scripted_hub


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(backoff, "SHORTEST_S", 0.01)
    monkeypatch.setattr(backoff, "LONGEST_S", 0.02)


async def taken(messages, count):
    """The numbers of the next messages."""
    return [int((await anext(messages)).id[-3:]) for _ in range(count)]


def sending(*numbers, last=0, **fields):
    """A hub that sends some messages, and then nothing."""

    async def script(peer):
        await peer.hello(last)
        await peer.messages(*numbers, **fields)
        await peer.stay()

    return script


def sending_then_cut(*numbers, last=0):
    async def script(peer):
        await peer.hello(last)
        await peer.messages(*numbers)
        await peer.cut()

    return script


# -- what comes


async def test_messages_come_in_order_with_everything_they_have():
    headers = (("X-A", "1"), ("X-A", "2"), ("X-B", "ü"))
    async with (
        scripted_hub(sending(1, 2, body=b"\xff\x00", headers=headers, query="q=1", hops=("a",))) as hub,
        listen(hub.url) as messages,
    ):
        first = await anext(messages)
        second = await anext(messages)
    assert (first.id, first.topic, first.body, first.headers) == (mid(1), "t", b"\xff\x00", headers)
    assert (first.query, first.hops, first.time_us) == ("q=1", ("a",), 1)
    assert second.id == mid(2)


async def test_a_message_as_large_as_a_hub_takes_and_as_bad_as_json_makes_it_arrives():
    body = b"\x01" * (3 << 20)  # six characters each

    async with scripted_hub(sending(1, body=body)) as hub, listen(hub.url, max_body_bytes=len(body)) as messages:
        assert (await anext(messages)).body == body


async def test_a_message_over_the_limit_is_an_error_and_not_an_endless_circle():
    async with scripted_hub(sending(1, body=b"x" * (3 << 20))) as hub:
        with pytest.raises(BodyTooLarge, match="max_body_bytes"):
            async with listen(hub.url, max_body_bytes=1000) as messages:
                await anext(messages)


async def test_a_gap_is_handed_over_in_its_place():
    async def script(peer):
        await peer.hello()
        await peer.messages(1)
        await peer.send("gap", reason="retention", after=mid(1), before=mid(5))
        await peer.messages(5)
        await peer.stay()

    async with scripted_hub(script) as hub, listen(hub.url) as messages:
        items = [await anext(messages) for _ in range(3)]
    assert items[1] == Gap("retention", mid(1), mid(5))
    assert [items[0].id, items[2].id] == [mid(1), mid(5)]


async def test_a_hub_that_does_not_say_hello_first_is_left(caplog):
    async def script(peer):
        await peer.accept()
        await peer.messages(1)
        await peer.stay()

    async with scripted_hub(script, sending(2)) as hub, listen(hub.url) as messages:
        assert await taken(messages, 1) == [2]
    assert "hello" in caplog.text


async def test_frames_of_a_later_version_are_passed_over():
    async def script(peer):
        await peer.hello()
        await peer.send("weather", sky="blue")
        await peer.messages(1)
        await peer.stay()

    async with scripted_hub(script) as hub, listen(hub.url) as messages:
        assert await taken(messages, 1) == [1]


async def test_what_the_hub_complains_about_is_logged(caplog):
    async def script(peer):
        await peer.hello()
        await peer.send("error", title="that was no acknowledgement")
        await peer.messages(1)
        await peer.stay()

    async with scripted_hub(script) as hub, listen(hub.url) as messages:
        await anext(messages)
    assert "that was no acknowledgement" in caplog.text


async def test_once_entered_the_subscription_stands():
    standing = False

    async def script(peer):
        nonlocal standing
        await trio.testing.wait_all_tasks_blocked(0.05)
        standing = True
        await peer.hello()
        await peer.stay()

    async with scripted_hub(script) as hub, listen(hub.url):
        assert standing


async def test_a_limit_ends_the_stream():
    async with scripted_hub(sending(1, 2, 3)) as hub, listen(hub.url, limit=2) as messages:
        assert [message.id async for message in messages] == [mid(1), mid(2)]


async def test_without_following_the_stream_ends_where_history_ends():
    async def script(peer):
        await peer.hello()
        await peer.messages(1, 2)
        await peer.close(1000)

    async with scripted_hub(script) as hub, listen(hub.url, since="all", follow=False) as messages:
        assert [message.id async for message in messages] == [mid(1), mid(2)]
    assert hub.peers[0].query == {"since": "all", "follow": "0"}


async def test_history_that_breaks_off_is_gone_on_with():
    async def rest(peer):
        await peer.hello()
        await peer.messages(3)
        await peer.close(1000)

    async with (
        scripted_hub(sending_then_cut(1, 2), rest) as hub,
        listen(hub.url, since="all", follow=False) as messages,
    ):
        assert [message.id async for message in messages] == [mid(1), mid(2), mid(3)]
    assert hub.peers[1].query == {"since": mid(2), "follow": "0"}


# -- what is asked for


async def test_the_handshake_carries_what_was_asked_for():
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
    assert peer.request.proposed_subprotocols == ("hookbot.v1",)


async def test_a_token_that_is_given_wins_over_the_url():
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
        ("http://hub:port/sub/a", Refused, "not a URL"),
        ("hub/sub/a", Refused, "https://"),
        ("http://hub/sub/a?limit=some", Refused, "a number"),
    ],
)
async def test_a_url_that_cannot_work_is_refused_before_connecting(url, error, says):
    with pytest.raises(error, match=says):
        async with listen(url):
            pass


async def test_headers_of_ones_own_go_along():
    async with scripted_hub(sending()) as hub, listen(hub.url, headers=[("X-A", "ü"), ("x-b", "2")]):
        pass
    assert (hub.peers[0].headers["x-a"], hub.peers[0].headers["x-b"]) == ("ü", "2")


@pytest.mark.parametrize("header", [("X A", "1"), ("X-A", "1\r\nX-B: 2"), ("X-A", "\N{SNOWMAN}"), ("", "1")])
async def test_what_is_no_header_is_refused_before_connecting(header):
    with pytest.raises(Refused, match="not a header"):
        async with listen("http://hub/sub/a", headers=[header]):
            pass


async def test_a_ca_file_that_is_not_there_is_refused_before_connecting():
    with pytest.raises(Refused, match=r"/nowhere\.pem"):
        async with listen("https://hub/sub/a", ca_file="/nowhere.pem"):
            pass


# -- going on where it broke off


async def test_after_a_cut_it_goes_on_after_the_last_message():
    async with scripted_hub(sending_then_cut(1, 2), sending(3)) as hub, listen(hub.url, since="all") as messages:
        assert await taken(messages, 3) == [1, 2, 3]
    assert [peer.query.get("since") for peer in hub.peers] == ["all", mid(2)]


async def test_after_a_cut_it_goes_on_after_the_last_heartbeat():
    async def script(peer):
        await peer.hello()
        await peer.messages(1)
        await peer.send("heartbeat", id=mid(7))
        await peer.cut()

    async with scripted_hub(script, sending(8)) as hub, listen(hub.url) as messages:
        assert await taken(messages, 2) == [1, 8]
    assert hub.peers[1].query == {"since": mid(7)}


@pytest.mark.parametrize("since", [None, "10m"])
async def test_before_the_first_message_it_goes_on_where_it_began_and_not_from_a_later_now(since):
    async with scripted_hub(sending_then_cut(last=4), sending(5)) as hub, listen(hub.url, since=since) as messages:
        assert await taken(messages, 1) == [5]
    assert hub.peers[1].query == {"since": mid(4)}


async def test_what_was_sent_but_not_yet_taken_is_asked_for_again():
    cut = trio.Event()

    async def script(peer):
        await peer.hello()
        await peer.messages(1, 2, 3, 4)
        await peer.cut()
        cut.set()

    async with scripted_hub(script, sending(2, 3, 4)) as hub, listen(hub.url) as messages:
        assert await taken(messages, 1) == [1]
        await cut.wait()
        assert await taken(messages, 3) == [2, 3, 4]


async def test_a_connection_cut_in_the_middle_of_a_frame_is_made_again():
    async def script(peer):
        await peer.hello()
        await peer.messages(1)
        await peer.websocket._stream.send_all(b"\x81\x7e\x10\x00{")
        await peer.cut()

    async with scripted_hub(script, sending(2)) as hub, listen(hub.url) as messages:
        assert await taken(messages, 2) == [1, 2]


@pytest.mark.parametrize(
    "frame",
    [
        b"\x81\x03{]}",  # no JSON
        b"\x81\x02[]",  # no object
        b'\x81\x12{"type":"message"}',  # no envelope
        b"\x82\x02{}",  # not text
        b"\x81\x02\xff\xff",  # not UTF-8
        b"\xff\xff\xff\xff",  # no websocket frame
    ],
)
async def test_garbage_makes_it_connect_again(frame, caplog):
    async def script(peer):
        await peer.hello()
        await peer.messages(1)
        await peer.websocket._stream.send_all(frame)
        await peer.stay()

    async with scripted_hub(script, sending(2)) as hub, listen(hub.url) as messages:
        assert await taken(messages, 2) == [1, 2]
    assert "trying again" in caplog.text


@on_bytes
async def silent(stream):
    await read_head(stream)
    await trio.sleep_forever()


@on_bytes
async def hanging_up(stream):
    await read_head(stream)


@on_bytes
async def talking_nonsense(stream):
    await read_head(stream)
    await stream.send_all(b"220 mail.example ESMTP\r\n")
    await stream.receive_some()


@on_bytes
async def rude(stream):
    stream.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SOL_SOCKET, SO_LINGER: reset


@on_bytes
async def wrong_accept(stream):
    await read_head(stream)
    await stream.send_all(
        b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: eA==\r\n\r\n"
    )
    await stream.receive_some()


@pytest.mark.parametrize(
    "script",
    [silent, hanging_up, talking_nonsense, rude, wrong_accept]
    + [answering(status, b"not now\n", "Retry-After: 0") for status in (408, 429, 500, 502, 503)],
)
async def test_a_hub_that_does_not_answer_well_is_tried_again(script, monkeypatch):
    monkeypatch.setattr(connection, "HANDSHAKE_S", 0.3)
    events = []
    async with scripted_hub(script, script, sending(1)) as hub, listen(hub.url, on_event=events.append) as messages:
        assert await taken(messages, 1) == [1]
    assert [type(event) for event in events] == [Disconnected, Disconnected, Connected]


async def test_a_hub_that_is_not_there_is_tried_until_it_is():
    async with scripted_hub(sending()) as gone:
        pass
    why = []

    async with trio.open_nursery() as nursery:

        def on_event(event):
            why.append(event)
            if len(why) == 3:
                nursery.cancel_scope.cancel()

        async with listen(gone.url, on_event=on_event):
            pytest.fail("nobody is there")
    assert "Connection refused" in why[0].why


async def test_a_deaf_connection_is_noticed_by_its_silence(monkeypatch, caplog):
    monkeypatch.setattr(connection, "SILENCE_S", 0.2)
    async with scripted_hub(sending(1), sending(2)) as hub, listen(hub.url) as messages:
        assert await taken(messages, 2) == [1, 2]
    assert "not a word from the hub" in caplog.text


def after_pings(peer, count, *, answer):
    """An event that is set after so many pings."""
    reached = trio.Event()
    send = peer.websocket._send
    pongs = []

    async def counted(pong):
        pongs.append(pong)
        if len(pongs) == count:
            peer.websocket._send = send
            reached.set()
        if answer:
            await send(pong)

    peer.websocket._send = counted
    return reached


async def test_a_hub_that_answers_pings_is_not_taken_for_deaf(monkeypatch):
    monkeypatch.setattr(connection, "SILENCE_S", 0.4)
    monkeypatch.setattr(connection, "PING_S", 0.02)

    async def script(peer):
        await peer.hello()
        await after_pings(peer, 40, answer=True).wait()
        await peer.messages(1)
        await peer.stay()

    async with scripted_hub(script) as hub, listen(hub.url) as messages:
        assert await taken(messages, 1) == [1]
    assert len(hub.peers) == 1


async def test_pings_go_out_while_the_listener_is_busy(monkeypatch):
    monkeypatch.setattr(connection, "PING_S", 0.02)
    pinged = trio.Event()

    async def script(peer):
        await peer.hello()
        await peer.messages(1, 2, 3, 4, 5, 6)
        await after_pings(peer, 5, answer=False).wait()
        pinged.set()
        await peer.stay()

    async with scripted_hub(script) as hub, listen(hub.url) as messages:
        await anext(messages)
        await pinged.wait()  # nobody takes the next message meanwhile
        assert await taken(messages, 5) == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1012, 1013, 4000])
async def test_any_goodbye_of_the_hub_is_followed_by_another_connection(code):
    async def script(peer):
        await peer.hello()
        await peer.messages(1)
        await peer.close(code, "as scripted")

    async with scripted_hub(script, sending(2)) as hub, listen(hub.url) as messages:
        assert await taken(messages, 2) == [1, 2]


# -- being refused


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, Refused), (401, Unauthorized), (403, Forbidden), (404, NotFound), (426, UpgradeRequired), (418, Refused)],
)
async def test_a_refusal_is_raised_at_once_as_the_error_that_the_hub_raised(status, error):
    async with scripted_hub(answering(status, b"because of this\n")) as hub:
        with pytest.raises(error, match="because of this") as caught:
            async with listen(hub.url):
                pass
    assert type(caught.value) is error
    assert len(hub.peers) == 1


async def test_a_refusal_without_a_length_is_understood_as_well():
    @on_bytes
    async def script(stream):
        await read_head(stream)
        await stream.send_all(b"HTTP/1.0 401 Unauthorized\r\n\r\nno")

    async with scripted_hub(script) as hub:
        with pytest.raises(Unauthorized):
            async with listen(hub.url):
                pass


async def test_a_redirection_is_not_followed_since_the_token_is_not_for_others():
    script = answering(301, b"", "Location: https://elsewhere.example/sub/t?token=secret")
    async with scripted_hub(script) as hub:
        with pytest.raises(Refused, match=r"https://elsewhere\.example/sub/t$"):
            async with listen(hub.url):
                pass


async def test_a_refusal_after_hours_of_service_reaches_the_loop():
    async with scripted_hub(sending_then_cut(1), answering(401)) as hub, listen(hub.url) as messages:
        assert await taken(messages, 1) == [1]
        with pytest.raises(Unauthorized):
            await anext(messages)


# -- acknowledging


class Acks:
    """What a hub is told, in order."""

    def __init__(self):
        self._put, self._taken = trio.open_memory_channel(1000)

    async def take(self):
        return await self._taken.receive()

    async def until(self, **ack):
        """The frames up to this one."""
        frames = []
        while not frames or frames[-1] != {"type": "ack", **ack}:
            frames.append(await self.take())
        return frames

    async def record(self, peer):
        while True:
            await self._put.send(await peer.receive())


def recording(acks, *numbers):
    """A hub that writes down what is acknowledged."""

    async def script(peer):
        await peer.hello()
        await peer.messages(*numbers)
        await acks.record(peer)

    return script


async def test_with_a_cursor_a_message_is_acknowledged_when_the_next_one_is_asked_for():
    acks = Acks()
    async with scripted_hub(recording(acks, 1, 2, 3)) as hub:
        async with listen(hub.url, cursor="c") as messages:
            assert await taken(messages, 3) == [1, 2, 3]
        told = await acks.until(id=mid(2))
    assert mid(3) not in [ack["id"] for ack in told]  # it was in hand when the loop was left


async def test_a_limit_acknowledges_the_last_message_too_before_leaving():
    acks = Acks()
    async with scripted_hub(recording(acks, 1, 2, 3)) as hub:
        async with listen(hub.url, cursor="c", limit=2) as messages:
            async for _ in messages:
                pass
        await acks.until(id=mid(2))


async def test_with_manual_ack_a_cursor_moves_only_over_what_is_done():
    acks = Acks()
    async with scripted_hub(recording(acks, 1, 2, 3)) as hub, listen(hub.url, cursor="c", manual_ack=True) as messages:
        first, second, third = [await anext(messages) for _ in range(3)]
        messages.ack(second)
        messages.ack(first)
        assert await acks.take() == {"type": "ack", "id": mid(2)}
        messages.ack(third)
        assert await acks.take() == {"type": "ack", "id": mid(3)}


async def test_acknowledgements_are_collected_where_the_hub_does_not_wait_for_them():
    acks = Acks()
    async with scripted_hub(recording(acks, *range(1, 501))) as hub:
        async with listen(hub.url, cursor="c", limit=500) as messages:
            async for _ in messages:
                pass
        assert len(await acks.until(id=mid(500))) < 250


async def test_a_group_is_told_of_each_message():
    acks = Acks()
    async with scripted_hub(recording(acks, 1, 2, 3)) as hub, listen(hub.url, group="g", manual_ack=True) as messages:
        _, second, third = [await anext(messages) for _ in range(3)]
        messages.ack(third)
        assert await acks.take() == {"type": "ack", "ids": [mid(3)]}
        messages.ack(second)
        assert await acks.take() == {"type": "ack", "ids": [mid(2)]}


async def test_a_message_in_hand_is_not_handed_out_again_after_a_reconnection():
    acks = Acks()

    async def again(peer):
        await peer.hello()
        await peer.messages(1, 2, 3)
        await acks.record(peer)

    async with (
        scripted_hub(sending_then_cut(1, 2), again) as hub,
        listen(hub.url, cursor="c", manual_ack=True) as messages,
    ):
        first, second = await anext(messages), await anext(messages)
        third = await anext(messages)
        for message in (first, second, third):
            messages.ack(message)
        assert await acks.take() == {"type": "ack", "id": mid(3)}
    assert third.id == mid(3)


async def test_the_last_acknowledgement_is_repeated_on_a_new_connection():
    acks = Acks()

    async def deaf_then_cut(peer):
        await peer.hello()
        await peer.messages(1)
        await peer.receive()  # and forget it
        await peer.cut()

    async def again(peer):
        await peer.hello()
        await acks.record(peer)

    async with scripted_hub(deaf_then_cut, again) as hub, listen(hub.url, cursor="c", manual_ack=True) as messages:
        messages.ack(await anext(messages))
        assert await acks.take() == {"type": "ack", "id": mid(1)}


async def test_without_a_cursor_nobody_is_told_anything():
    frames = []

    async def script(peer):
        await peer.hello()
        await peer.messages(1, 2)
        frames.append(await peer.receive())

    async with scripted_hub(script) as hub, listen(hub.url) as messages:
        messages.ack(await anext(messages))
        await anext(messages)
    assert frames == []


async def test_a_hub_that_does_not_begin_is_waited_for_and_the_cursor_is_named(monkeypatch):
    monkeypatch.setattr(keeping, "HELLO_S", 0.05)
    told = trio.Event()
    events = []

    async def script(peer):
        await peer.accept()
        await told.wait()
        await peer.send("hello", hub="hookbot/test", last_id=mid(0), cursor="deploy", position=mid(0))
        await peer.stay()

    def on_event(event):
        events.append(event)
        told.set()

    async with scripted_hub(script) as hub, listen(hub.url, cursor="deploy", on_event=on_event):
        pass
    assert [type(event) for event in events] == [Waiting, Connected]
    assert "'deploy'" in str(events[0])


async def test_a_cursor_that_was_taken_over_is_not_taken_back():
    async def script(peer):
        await peer.hello()
        await peer.close(4001, "another connection took over the cursor c")

    async with scripted_hub(script) as hub, listen(hub.url, cursor="c") as messages:
        with pytest.raises(Refused, match="took over"):
            await anext(messages)
    assert len(hub.peers) == 1


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
async def test_a_member_of_a_group_who_works_step_by_step_leases_step_by_step(asked, ahead):
    async with scripted_hub(sending()) as hub, listen(hub.url, **asked):
        pass
    assert hub.peers[0].query.get("max_unacked") == ahead


# -- an ancestor


def raw(*frames, subprotocol=None):
    async def script(peer):
        await peer.accept(subprotocol)
        for frame in frames:
            await peer.websocket.send_message(frame)
        await peer.stay()

    return script


async def test_a_hub_that_knows_only_raw_frames_is_listened_to_with_a_warning(caplog):
    async with scripted_hub(raw(b"a\0b", b"")) as hub, listen(hub.url) as messages:
        first, second = await anext(messages), await anext(messages)
    assert [(m.topic, m.body, m.id) for m in (first, second)] == [("t", b"a\0b", ""), ("t", b"", "")]
    assert first.time_us > 0
    [warning] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "cannot resume" in warning.message


async def test_raw_frames_of_a_subtree_say_their_topic():
    async with scripted_hub(raw(b"t/a\0x\0y")) as hub, listen(hub.url + "/") as messages:
        message = await anext(messages)
    assert (message.topic, message.body) == ("t/a", b"x\0y")


@pytest.mark.parametrize("asked", [{"cursor": "c"}, {"group": "g"}, {"follow": False}])
async def test_what_raw_frames_cannot_do_is_refused_and_not_pretended(asked):
    async with scripted_hub(raw()) as hub:
        with pytest.raises(Refused, match="raw frames"):
            async with listen(hub.url, **asked):
                pass


# -- telling


async def test_what_happens_to_the_connection_is_logged_and_told(caplog):
    caplog.set_level(logging.INFO, "hookbot.client")
    events = []
    async with (
        scripted_hub(sending_then_cut(1), sending(2)) as hub,
        listen(hub.url, on_event=events.append) as messages,
    ):
        await taken(messages, 2)
    shown = hub.url.replace("ws:", "http:")
    assert [type(event) for event in events] == [Connected, Disconnected, Connected]
    assert events[0] == Connected(shown, "hookbot/test")
    assert (events[1].address, events[1].why) == (shown, "the connection was cut")
    assert [record.message for record in caplog.records if record.name == "hookbot.client"] == list(map(str, events))


async def test_the_token_is_never_told(caplog):
    caplog.set_level(logging.DEBUG)
    events = []
    script = answering(503, b"later")
    async with scripted_hub(script, sending_then_cut(1), answering(401, b"no")) as hub:
        url = hub.url.replace("127", "s3cret@127") + "?token=s3cret"
        with pytest.raises(Unauthorized) as caught:
            async with listen(url, on_event=events.append) as messages:
                await taken(messages, 2)
    assert "s3cret" not in caplog.text + str(events) + repr(caught.value)
    assert len(hub.peers) == 3


async def test_what_breaks_in_a_callback_breaks_the_program_and_not_only_the_stream():
    def on_event(event):
        if isinstance(event, Disconnected):
            raise ZeroDivisionError

    async with scripted_hub(sending_then_cut(1)) as hub:
        with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
            async with listen(hub.url, on_event=on_event) as messages:
                await taken(messages, 2)


# -- leaving


async def test_an_error_in_the_body_comes_out_as_it_is():
    async with scripted_hub(sending(1)) as hub:
        with pytest.raises(ZeroDivisionError):
            async with listen(hub.url):
                raise ZeroDivisionError


async def test_leaving_says_goodbye():
    codes = []
    gone = trio.Event()

    async def script(peer):
        await peer.hello()
        try:
            await peer.stay()
        finally:
            codes.append(peer.websocket.closed.code)
            gone.set()

    async with scripted_hub(script) as hub:
        async with listen(hub.url):
            pass
        await gone.wait()
    assert codes == [1000]


async def test_being_cancelled_still_tells_the_hub_what_is_done():
    acks = Acks()
    async with scripted_hub(recording(acks, 1)) as hub:
        with trio.CancelScope() as scope:
            async with listen(hub.url, cursor="c", manual_ack=True) as messages:
                messages.ack(await anext(messages))
                scope.cancel()
                await trio.sleep_forever()
        await acks.until(id=mid(1))


async def test_cancelling_while_waiting_loses_nothing():
    go_on = trio.Event()

    async def script(peer):
        await peer.hello()
        await go_on.wait()
        await peer.messages(1)
        await peer.stay()

    async with scripted_hub(script) as hub, listen(hub.url) as messages:
        with trio.move_on_after(0.05):
            await anext(messages)
        go_on.set()
        assert await taken(messages, 1) == [1]


async def test_a_hub_that_does_not_say_goodbye_does_not_keep_anybody(monkeypatch):
    from hookbot.client import listening

    monkeypatch.setattr(listening, "GOODBYE_S", 0.1)

    async def script(peer):
        await peer.hello()
        peer.websocket._stream.receive_some = trio.sleep_forever
        await trio.sleep_forever()

    async with scripted_hub(script) as hub, listen(hub.url):
        pass
    assert len(hub.peers) == 1
