"""The ancestor's JSON object of a delivery."""

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookbot.protocol.envelope import LARGE_BODY
from hookbot.protocol.github_metadata import encode_github_metadata, encode_go_json, parse_github_metadata
from hookbot.protocol.message import Message

PUSH = json.dumps({"ref": "refs/heads/main", "after": "abc", "repository": {"full_name": "acme/app"}}).encode()


@pytest.mark.parametrize(
    ("body", "content_type"), [(PUSH, "application/json"), (b"payload=%7B%7D", "application/x-www-form-urlencoded")]
)
def test_a_frame_with_metadata_is_the_delivery_again(body: bytes, content_type: str) -> None:
    headers = (("X-GitHub-Event", "push"), ("X-Hub-Signature", "sha1=00"), ("X-Hub-Signature-256", "sha256=00"))
    frame = Message("t", encode_github_metadata(Message("t", body, headers)))

    message = parse_github_metadata(frame)

    assert message is not None
    assert (message.topic, message.body) == ("t", body)
    assert message.headers == (("Content-Type", content_type), *headers)
    assert message.wrapped


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"Payload": "!"}', b'{"Payload": "", "Event": 1, "Signature": ""}']
)
def test_any_other_frame_is_no_delivery(body: bytes) -> None:
    assert parse_github_metadata(Message("t", body)) is None


def test_headers_of_github_are_utf_8_to_the_ancestor() -> None:
    headers = (("X-GitHub-Delivery", "\xc3\xa9 \xff"), ("x-hub-signature", "<1>"), ("X-GitHub-Event", "push"))

    metadata = encode_github_metadata(Message("t", b"{}", headers))

    assert metadata == (
        b'{"Delivery":"\xc3\xa9 \\ufffd","Event":"push","Payload":"e30=",'
        b'"Signature":"\\u003c1\\u003e","Signature256":""}'
    )


@pytest.mark.parametrize("size", [LARGE_BODY, LARGE_BODY + 1])
def test_a_large_delivery_has_the_same_metadata_as_any(size: int) -> None:
    metadata = json.loads(encode_github_metadata(Message("t", b"\xff" * size)))

    assert metadata["Payload"] == b64encode(b"\xff" * size).decode()


@pytest.mark.parametrize(
    "change",
    [{"Event": None}, {"Event": 1}, {"Signature": None}, {"Signature": 1}, {"Payload": "!"}, {"Payload": None}],
)
def test_metadata_with_something_else_in_it_are_no_delivery(change: dict[str, Any]) -> None:
    metadata = json.loads(encode_github_metadata(Message("t", b"{}"))) | change

    assert parse_github_metadata(Message("t", json.dumps(metadata).encode())) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": "1", "a": "2"}, '{"a":"2","b":"1"}'),
        ({"k": "<a href='x'>&amp;</a>"}, r"""{"k":"\u003ca href='x'\u003e\u0026amp;\u003c/a\u003e"}"""),
        *(({"k": sign}, f'{{"k":"\\u{ord(sign):04x}"}}') for sign in "<>&"),
        ({"k": 'quote " and \\ and /'}, r'{"k":"quote \" and \\ and /"}'),
        ({"k": "tab\tnew\nline\rnul\0"}, r'{"k":"tab\tnew\nline\rnul\u0000"}'),
        ({"k": "é \u2028\u2029 😀 \x7f"}, '{"k":"é \\u2028\\u2029 😀 \x7f"}'),
        ({"k": b"a\xff\xe2\x82b".decode("utf-8", "surrogateescape")}, r'{"k":"a\ufffd\ufffd\ufffdb"}'),
    ],
)
def test_go_writes_json_in_its_own_way(value: dict[str, str], text: str) -> None:
    assert encode_go_json(value) == text


@given(st.dictionaries(st.text(), st.text()))
def test_gos_json_is_json(fields: dict[str, str]) -> None:
    text = encode_go_json(fields)
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text.encode()) == fields
