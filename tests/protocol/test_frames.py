"""Messages, gaps and heartbeats in each format, and how the client reads them."""

import json
from base64 import b64decode
from dataclasses import replace
from typing import Any

import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from hookbot.protocol.envelope import LARGE_BODY, from_envelope
from hookbot.protocol.frames import (
    CloudEvents,
    ErrorFrame,
    Frame,
    Framing,
    Heartbeat,
    Hello,
    HookbotV1,
    JsonLines,
    Raw,
    ServerSentEvents,
    format_ack,
    framing_for,
    hello,
    parse_frame,
    parse_raw,
)
from hookbot.protocol.message import Gap, Message, Verified, format_id
from hookbot.protocol.subscribe import Format, SubscribeRequest
from hookbot.protocol.topics import TopicFilter
from hookbot.version import __version__

ID = format_id("abcdefgh", 7)
MESSAGE = Message(
    "github.com/repo/acme/app",
    b'{"ref": "refs/heads/main"}',
    headers=(("Content-Type", "application/json"), ("X-GitHub-Event", "push")),
    id=ID,
    time_us=1767323045_678901,
)
GAP = Gap("retention", None, ID)
FRAMINGS: list[Framing] = [
    Raw(subtree=True),
    Raw(subtree=False),
    HookbotV1(),
    CloudEvents("/sub/foo"),
    ServerSentEvents(),
    ServerSentEvents(resumable=False),
    JsonLines(),
]
LATIN = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=20)
MESSAGES = st.builds(
    Message,
    topic=st.text(st.characters(exclude_categories=["Cs", "Cc"])),
    body=st.binary() | st.text().map(str.encode),
    headers=st.lists(st.tuples(st.sampled_from(["Content-Type", "X-Hub-Signature", "Other"]), LATIN), max_size=3).map(
        tuple
    ),
    query=st.sampled_from(["", "a=b", "extra-metadata=github"]),
    verified=st.none() | st.just(Verified("github", "0")),
    id=st.integers(1, 10**15 - 1).map(lambda position: format_id("abcdefgh", position)),
    time_us=st.integers(0, 253402300799_999999),
)


def listening(format: Format, path: str = "/sub/foo", topic: str = "foo") -> SubscribeRequest:
    return SubscribeRequest(TopicFilter.parse(topic), path, topic, format)


def read_events(stream: bytes) -> tuple[list[tuple[str, str, str]], str]:
    """The events of a stream as a browser sees them (HTML Living Standard, section 9.2.6), and the last id."""
    events, last_id = [], ""
    fields: dict[str, str] = {}
    for line in stream.decode("utf-8").splitlines():
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            fields[name] = f"{fields['data']}\n{value}" if name == "data" and "data" in fields else value
        elif fields:
            last_id = fields.get("id", last_id)
            if "data" in fields:
                events.append((fields.get("event", "message"), fields["data"], last_id))
            fields = {}
    return events, last_id


@given(MESSAGES)
def test_a_raw_frame_of_one_topic_is_the_body_byte_for_byte(message: Message) -> None:
    message = replace(message, query="")
    assert Raw(subtree=False).message(message) == message.body


@given(MESSAGES)
def test_a_raw_frame_of_a_subtree_is_the_topic_nul_and_the_body(message: Message) -> None:
    message = replace(message, query="")
    topic, nul, body = Raw(subtree=True).message(message).partition(b"\0")
    assert (topic.decode(), nul, body) == (message.topic, b"\0", message.body)


def test_the_topic_of_an_unsafe_message_says_so() -> None:
    assert Raw(subtree=True).message(replace(MESSAGE, topic="/unsafe/x", body=b"\0a\0")) == b"/unsafe/x\0\0a\0"


def test_extra_metadata_is_what_go_makes_of_it() -> None:
    message = replace(
        MESSAGE,
        body=b'{"a": "<b>"}\xff',
        query="a=b&extra-metadata=github",
        headers=(
            ("X-Hub-Signature-256", "sha256=<2>"),
            ("x-hub-signature", "sha1=1&2"),
            ("X-GitHub-Delivery", "id \xc3\xa9 \xff"),
            ("X-GITHUB-EVENT", 'pu"sh\\'),
            ("X-GitHub-Event", "second"),
        ),
    )
    expected = (
        b'{"Delivery":"id \xc3\xa9 \\ufffd","Event":"pu\\"sh\\\\","Payload":"eyJhIjogIjxiPiJ9/w==",'
        b'"Signature":"sha1=1\\u00262","Signature256":"sha256=\\u003c2\\u003e"}'
    )
    assert Raw(subtree=False).message(message) == expected
    assert Raw(subtree=True).message(message) == b"github.com/repo/acme/app\0" + expected


def test_extra_metadata_that_is_missing_is_empty() -> None:
    message = Message("foo", b"", query="extra-metadata=github", id=ID)
    assert Raw(subtree=False).message(message) == (
        b'{"Delivery":"","Event":"","Payload":"","Signature":"","Signature256":""}'
    )


@given(MESSAGES)
def test_every_other_format_carries_the_original_whatever_raw_frames_look_like(message: Message) -> None:
    v1 = json.loads(HookbotV1().message(message))
    assert v1.pop("type") == "message"
    assert from_envelope(v1) == message

    line = JsonLines().message(message)
    assert line.endswith(b"\n")
    assert len(line.decode().splitlines()) == 1
    assert from_envelope(json.loads(line)) == message

    [(event, data, last_id)], _ = read_events(ServerSentEvents().message(message))
    assert (event, last_id) == ("message", message.id)
    assert from_envelope(json.loads(data)) == message


@given(MESSAGES)
def test_cloud_events_are_valid(message: Message) -> None:
    event = JSONFormat().read(CloudEvent, CloudEvents("/sub/x").message(message))

    assert event.get_data() == message.body
    assert event.get_id() == message.id
    assert event.get_source() == "/sub/x"
    assert event.get_type() == "hookbot.message"
    assert event.get_subject() == (message.topic or None)
    assert event.get_time() == message.time
    assert event.get_specversion() == "1.0"


@pytest.mark.parametrize(
    ("content_type", "shown"),
    [
        ("application/json; charset=utf-8", "application/json; charset=utf-8"),
        ("text/plain", "text/plain"),
        ("application/vnd.github+json", "application/vnd.github+json"),
        ("nonsense", "application/octet-stream"),
        ("text/plain\xe9", "application/octet-stream"),
        ("text/", "application/octet-stream"),
        ("", "application/octet-stream"),
        (None, "application/octet-stream"),
    ],
)
def test_a_cloud_event_says_what_its_data_is(content_type: str | None, shown: str) -> None:
    headers = () if content_type is None else (("content-type", content_type),)
    event = json.loads(CloudEvents("/sub/x").message(replace(MESSAGE, headers=headers)))
    assert event["datacontenttype"] == shown
    assert b64decode(event["data_base64"]) == MESSAGE.body


def test_a_cloud_events_gap_is_a_valid_event_too() -> None:
    event = JSONFormat().read(CloudEvent, CloudEvents("/sub/x").gap(GAP))
    assert event.get_type() == "hookbot.gap"
    assert event.get_data() == {"reason": "retention", "after": None, "before": ID}


@pytest.mark.parametrize(
    ("path", "topic", "source"),
    [
        ("/sub/foo/", "foo/", "/sub/foo/"),
        ("/foo/", "foo/", "/sub/foo/"),
        ("/unsafe/sub/foo", "/unsafe/foo", "/unsafe/sub/foo"),
        ("/sub/é a", "é a", "/sub/%C3%A9%20a"),
        ("/sub/foo?recursive", "foo?recursive", "/sub/foo%3Frecursive"),
    ],
)
def test_the_source_of_a_cloud_event_is_the_path_of_the_subscription(path: str, topic: str, source: str) -> None:
    framing = framing_for(listening("cloudevents", path, topic))
    assert json.loads(framing.message(MESSAGE))["source"] == source


def test_a_stream_of_events_can_be_read_by_a_browser() -> None:
    framing = ServerSentEvents()
    message = replace(MESSAGE, body="a\nb\r\u2028".encode())
    beat = format_id("abcdefgh", 9)
    events, last_id = read_events(framing.message(message) + framing.gap(GAP) + framing.heartbeat(beat))

    assert [(event, id) for event, _, id in events] == [("message", ID), ("gap", ID), ("heartbeat", beat)]
    assert [json.loads(data) for _, data, _ in events[1:]] == [
        {"reason": "retention", "after": None, "before": ID},
        {"id": beat},
    ]
    assert last_id == beat


def test_a_browser_that_asks_for_the_newest_first_begins_again_after_a_reconnect() -> None:
    framing = framing_for(replace(listening("sse"), newest=True))

    events, last_id = read_events(b"".join(filter(None, (framing.message(MESSAGE), framing.heartbeat(ID)))))

    assert [json.loads(data)["id"] for _, data, _ in events] == [ID, ID]
    assert last_id == ""


def test_gaps_and_heartbeats_are_objects_with_a_type() -> None:
    gap = {"type": "gap", "reason": "retention", "after": None, "before": ID}
    beat = {"type": "heartbeat", "id": ID}
    assert json.loads(HookbotV1().gap(GAP)) == gap
    assert json.loads(HookbotV1().heartbeat(ID)) == beat
    assert JsonLines().gap(GAP) == json.dumps(gap, separators=(",", ":")).encode() + b"\n"
    assert JsonLines().heartbeat(ID) == json.dumps(beat, separators=(",", ":")).encode() + b"\n"


def test_an_object_of_the_hub_says_its_type() -> None:
    first = json.loads(hello(listening("v1"), ID, cursor="c"))
    assert list(first) == ["type", "hub", "topic", "last_id", "cursor"]
    assert (first["type"], first["topic"], first["last_id"], first["cursor"]) == ("hello", "foo", ID, "c")
    assert first["hub"].startswith("hookbot/")
    assert json.loads(HookbotV1().error("no such thing")) == {"type": "error", "title": "no such thing"}


@pytest.mark.parametrize("framing", [Raw(subtree=True), Raw(subtree=False), CloudEvents("/sub/x")])
def test_some_formats_have_no_heartbeat(framing: Raw | CloudEvents) -> None:
    assert framing.heartbeat(ID) is None


def test_raw_frames_cannot_tell_a_gap() -> None:
    framing: Framing = Raw(subtree=False)

    assert framing.gap(GAP) is None


@pytest.mark.parametrize(
    ("format", "framing"),
    [("v1", HookbotV1), ("cloudevents", CloudEvents), ("sse", ServerSentEvents), ("jsonl", JsonLines), ("raw", Raw)],
)
def test_each_format_has_its_framing(format: Format, framing: type[Any]) -> None:
    assert isinstance(framing_for(listening(format)), framing)


def test_framings_have_different_keys_where_they_make_different_frames() -> None:
    keys = [framing.key for framing in (*FRAMINGS, CloudEvents("/sub/bar"))]
    assert len(set(keys)) == len(keys)


def test_the_path_of_a_raw_subscription_does_not_matter_only_whether_it_has_several_topics() -> None:
    assert framing_for(listening("raw", topic="foo")).key == framing_for(listening("raw", topic="bar")).key
    assert framing_for(listening("raw", topic="foo?recursive")).key == framing_for(listening("raw", topic="")).key


@pytest.mark.parametrize("body", [b"\n" * (LARGE_BODY + 1), b"\xff" * (LARGE_BODY + 1)], ids=["text", "bytes"])
def test_a_large_body_survives_each_format(body: bytes) -> None:
    message = replace(MESSAGE, body=body)

    assert Raw(subtree=False).message(message) == body
    assert parse_frame(HookbotV1().message(message).decode()) == message
    assert from_envelope(json.loads(JsonLines().message(message))) == message
    [(_, data, _)], _ = read_events(ServerSentEvents().message(message))
    assert from_envelope(json.loads(data)) == message
    assert JSONFormat().read(CloudEvent, CloudEvents("/sub/x").message(message)).get_data() == body


@pytest.mark.parametrize(
    ("path", "frame", "topic", "body"),
    [
        ("a", b"x\0y", "a", b"x\0y"),
        ("a", "text", "a", b"text"),
        ("a/", b"a/b\0x\0y", "a/b", b"x\0y"),
        ("", b"\0", "", b""),
        ("a?recursive", b"a\0x", "a", b"x"),
        ("a/", b"\xff\0x", "\ufffd", b"x"),
    ],
)
def test_a_raw_frame_is_split_as_the_ancestor_joins_it(path: str, frame: bytes | str, topic: str, body: bytes) -> None:
    assert parse_raw(frame, TopicFilter.parse(path), time_us=5) == Message(topic, body, time_us=5)


# --- hookbot.v1, as the client reads and writes it


@pytest.mark.parametrize(
    ("frame", "content"),
    [
        (HookbotV1().message(MESSAGE), MESSAGE),
        (HookbotV1().gap(GAP), GAP),
        (HookbotV1().gap(Gap("other-log", ID, ID)), Gap("other-log", ID, ID)),
        (HookbotV1().heartbeat(ID), Heartbeat(ID)),
        (HookbotV1().error("no such thing"), ErrorFrame("no such thing")),
        (hello(listening("v1"), ID), Hello(f"hookbot/{__version__}", ID)),
        (hello(listening("v1"), ID, cursor="c", position=ID), Hello(f"hookbot/{__version__}", ID, ID)),
        (b'{"type": "hello"}', Hello("", None)),
        (b'{"type": "error"}', ErrorFrame("")),
        (b'{"type": "weather", "title": "fine"}', None),
    ],
)
def test_the_client_reads_what_the_hub_writes(frame: bytes, content: Frame | None) -> None:
    assert parse_frame(frame.decode()) == content


@pytest.mark.parametrize(
    "frame",
    [
        "[]",
        "5",
        "null",
        "{}",
        '{"type": "heartbeat"}',
        '{"type": "gap", "reason": "retention"}',
        '{"type": "message", "id": "x"}',
        '{"type": "heartbeat", "id": 5}',
        '{"type": "heartbeat", "id": "\\u001b[2J"}',
        '{"type": "gap", "reason": ["retention"], "before": "x"}',
        '{"type": "gap", "reason": "retention", "before": "\\u202e"}',
        '{"type": "gap", "reason": "retention", "before": "x", "after": {}}',
        '{"type": "hello", "hub": {}}',
        '{"type": "hello", "hub": "\\ud800"}',
        '{"type": "hello", "last_id": NaN}',
        '{"type": "hello", "time": "soon"}',
        '{"type": "hello", "time": 1}',
        '{"type": "hello", "reply_timeout_s": []}',
        '{"type": "hello", "position": 1e999}',
        '{"type": "error", "title": 5}',
        '{"type": "heartbeat", "id": ' + "[" * 900 + "]" * 900 + "}",
        HookbotV1().heartbeat(ID),
    ],
)
def test_a_malformed_frame_is_an_error_of_value(frame: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"not a frame of hookbot\.v1|not an envelope"):
        parse_frame(frame)


def test_a_frame_that_is_nested_too_deeply_is_an_error_in_plain_words() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_frame('{"type":' + "[" * 100_000)


@pytest.mark.parametrize("frame", ["", "hello", "{", '{"type": "heartbeat", "id": ' + "9" * 5000 + "}"])
def test_a_frame_that_is_not_json_is_an_error_in_plain_words(frame: str) -> None:
    with pytest.raises(ValueError, match=r"^not a frame of hookbot\.v1: it is not JSON$"):
        parse_frame(frame)


def test_an_acknowledgement_is_of_all_up_to_an_id_or_of_each() -> None:
    assert format_ack(up_to=ID) == f'{{"type":"ack","id":"{ID}"}}'
    assert format_ack(each=[ID, "b"]) == f'{{"type":"ack","ids":["{ID}","b"]}}'
