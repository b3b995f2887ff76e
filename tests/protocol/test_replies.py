"""Replies: their frames, their bounds, and the headers that may reach a sender."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookbot.protocol.message import Message
from hookbot.protocol.replies import (
    MAX_REPLY_BODY,
    MAX_REPLY_FRAME,
    MAX_REPLY_HEADER_BYTES,
    MAX_REPLY_HEADERS,
    Answer,
    Reply,
    answers_topic,
    asks_reply,
    awaits_reply,
    first_answer,
    parse_reply,
    safe_headers,
)

ANSWERED = [
    ("a", "hookbot/replies/a"),
    ("a/", "hookbot/replies/a/"),
    ("", "hookbot/replies/"),
    ("/unsafe/", "/unsafe/hookbot/replies/"),
    ("/unsafe/a", "/unsafe/hookbot/replies/a"),
]
ID = "abcdefgh-000000000000001"


@given(
    st.integers(200, 599).filter(lambda status: status not in {204, 205, 304}), st.binary() | st.text().map(str.encode)
)
def test_a_reply_is_what_its_frame_says(status: int, body: bytes) -> None:
    reply = Reply(status, (("Content-Type", "text/plain"), ("X-A", '\u00e9\t"')), body)

    assert parse_reply(json.loads(reply.to_frame(ID))) == (ID, reply)


def test_text_is_written_as_text() -> None:
    assert json.loads(Reply(200, (), "\u20ac".encode()).to_frame(ID)) == {
        "type": "reply",
        "id": ID,
        "status": 200,
        "headers": [],
        "body": "\u20ac",
    }


@pytest.mark.parametrize("byte", [b"a", b"\0", b"\\", b"\xff", "\u00e9".encode()])
@pytest.mark.parametrize("character", ["a", '"', "\xe9"])
def test_each_reply_fits_into_a_frame(byte: bytes, character: str) -> None:
    names = [f"x-{n:02}" for n in range(MAX_REPLY_HEADERS)]
    left = MAX_REPLY_HEADER_BYTES - sum(map(len, names))
    headers = [(name, character) for name in names[1:]] + [(names[0], character * (left - len(names) + 1))]

    frame = Reply(200, tuple(headers), (byte * MAX_REPLY_BODY)[:MAX_REPLY_BODY]).to_frame("a" * 64)

    assert len(frame) <= MAX_REPLY_FRAME


def test_only_id_and_status_are_needed() -> None:
    assert parse_reply({"id": ID, "status": 204}) == (ID, Reply(204))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"status": 199}, "200 to 599, not 199"),
        ({"status": 600}, "200 to 599, not 600"),
        ({"status": "200"}, "the status is not a number, but a string"),
        ({"status": True}, "the status is not a number, but true or false"),
        ({"status": 204, "body": "x"}, "the status 204 has no body"),
        ({"status": 304, "body": "x"}, "the status 304 has no body"),
        ({"id": "not an id"}, "a message id has"),
        ({"body": 1}, "not a string"),
        ({"body_base64": "?"}, "base64|padding"),
        ({"body": "x" * (MAX_REPLY_BODY + 1)}, "at most 65536 bytes, not 65537"),
        ({"headers": [["X-A", "1"]] * (MAX_REPLY_HEADERS + 1)}, "at most 64 headers, not 65"),
        ({"headers": [["X-A", "x" * MAX_REPLY_HEADER_BYTES]]}, "together at most 6144 bytes"),
        ({"headers": [["X-A", "1\r\nX-B: 2"]]}, "malformed header: 'X-A'"),
        ({"headers": [["X-A", "\u20ac"]]}, "malformed header: 'X-A'"),
        ({"headers": [["X A", "1"]]}, "malformed header: 'X A'"),
        ({"headers": [["X-A"]]}, "not enough values"),
        ({"headers": 1}, "the headers are not a list, but an integer"),
        ({"headers": None}, "the headers are not a list, but nothing"),
        ({"headers": {"ab": 1}}, "the headers are not a list, but a table"),
    ],
)
def test_another_reply_is_refused_with_the_reason(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_reply({"id": ID, "status": 200, "headers": [], "body": "", **changed})


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: st.none() | st.integers() | st.floats() | st.text() | st.lists(st.text() | st.lists(st.text()))
            for name in ("id", "status", "headers", "body", "body_base64")
        },
    )
)
def test_whatever_a_listener_sends_it_is_a_reply_or_refused(fields: dict[str, Any]) -> None:
    with suppress(ValueError):
        parse_reply({"id": ID, "status": 200, **fields})


def test_a_reply_without_a_status_is_refused() -> None:
    with pytest.raises(ValueError, match="a reply lacks the field 'status'"):
        parse_reply({"id": ID})


@pytest.mark.parametrize("query", ["reply", "reply=", "reply=1", "a=b&reply", "reply&extra-metadata=github"])
def test_a_query_asks_for_a_reply(query: str) -> None:
    assert asks_reply(query)


@pytest.mark.parametrize("query", ["", "reply=0", "reply=later", "replying", "in-reply-to=1", "a=reply"])
def test_another_query_asks_for_none(query: str) -> None:
    assert not asks_reply(query)


def test_a_sender_gets_what_senders_look_at() -> None:
    headers = (("Content-Type", "text/xml"), ("Retry-After", "5"), ("X-Slack-No-Retry", "1"), ("Ce-Id", "1"))

    assert safe_headers(headers) == headers


@pytest.mark.parametrize(
    "name",
    [
        *("Set-Cookie", "Set-Cookie2", "Clear-Site-Data", "Service-Worker-Allowed", "Strict-Transport-Security"),
        *("Alt-Svc", "Public-Key-Pins", "Report-To", "NEL", "Reporting-Endpoints", "WWW-Authenticate", "Refresh"),
        *("Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Content-Security-Policy", "Link"),
        *("Connection", "Transfer-Encoding", "Content-Length", "Keep-Alive", "Upgrade", "Trailer", "Date", "Server"),
        *("Hookbot-Message-Id", "X-Content-Type-Options", "X-Accel-Redirect", "X-Sendfile", "X-Hookbot-Unsafe-Is-Ok"),
        *("Cache-Control", "Origin-Agent-Cluster", "Accept-CH", "Set-Login", "SourceMap"),
    ],
)
def test_a_sender_gets_no_header_that_speaks_for_the_hub(name: str) -> None:
    assert safe_headers([(name, "1"), (name.lower(), "1"), (name.upper(), "1")]) == ()


def test_a_malformed_header_is_left_out() -> None:
    assert safe_headers([("X-A", "1\n"), ("X-B", "2")]) == (("X-B", "2"),)


def test_only_headers_of_applications_may_be_repeated() -> None:
    headers = [("Content-Type", "text/plain"), ("X-A", "1"), ("content-type", "text/html"), ("x-a", "2")]

    assert safe_headers(headers) == (("Content-Type", "text/plain"), ("X-A", "1"), ("x-a", "2"))


@pytest.mark.parametrize(("topic", "of_answers"), ANSWERED)
def test_answers_have_topics_of_their_own(topic: str, of_answers: str) -> None:
    assert answers_topic(topic) == of_answers


@pytest.mark.parametrize("topic", ["a", "/unsafe/a/b", "hookbot/replies/a"])
def test_an_answer_is_stored_as_a_message(topic: str) -> None:
    answer = Answer(ID, topic, Reply(404, (("X-A", "1"), ("x-a", "2")), b"no"))

    draft = answer.draft

    assert Answer.of(draft.stored("abcdefgh", 2, 0, None)) == answer
    assert (draft.once, draft.routed_from) == ((first_answer(ID),), ID)


def test_headers_that_no_sender_gets_are_not_stored() -> None:
    reply = Reply(200, (("Set-Cookie", "a=b"), ("Hookbot-Reply-Id", "another"), ("X-A", "1")))

    assert Answer(ID, "a", reply).draft.headers == (
        ("X-A", "1"),
        ("Hookbot-Reply-Id", ID),
        ("Hookbot-Reply-Status", "200"),
    )


@pytest.mark.parametrize("topic", ["a", "replies/a", "hookbot/failed/a", "x/hookbot/replies/a", "/unsafe/a"])
def test_only_what_is_on_a_topic_of_the_hub_is_an_answer(topic: str) -> None:
    headers = Answer(ID, "a", Reply()).draft.headers

    assert Answer.of(Message(topic, headers=headers)) is None


def test_nobody_waits_for_a_reply_to_a_copy() -> None:
    assert awaits_reply(Message("a", query="reply"))
    assert awaits_reply(Message("a", query="reply", duplicate_of=ID))
    assert not awaits_reply(Message("a", query="reply", replay_of=ID))
    assert not awaits_reply(Message("a", query="reply", routed_from=ID))
    assert not awaits_reply(Message("a"))
