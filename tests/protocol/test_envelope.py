"""Large bodies as JSON, slice by slice: the same text as in one go."""

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookbot.protocol import envelope as module
from hookbot.protocol.envelope import (
    SLICE_BYTES,
    base64_in_slices,
    body_in_slices,
    encode_github_metadata,
    encode_go_json,
    encode_json,
    join_object,
    parse_github_metadata,
)
from hookbot.protocol.message import Message

BODIES = st.binary() | st.text().map(str.encode)


@pytest.fixture(autouse=True, scope="module")
def small_slices() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SLICE_BYTES", 3)
        yield


def test_base64_of_a_slice_has_no_padding() -> None:
    assert SLICE_BYTES % 3 == 0


@given(st.text())
def test_text_is_what_json_makes_of_it(text: str) -> None:
    assert join_object(body_in_slices(text.encode())) == encode_json({"body": text}).encode()


@given(BODIES)
def test_a_body_is_text_or_base64_and_never_harmed(body: bytes) -> None:
    fields = json.loads(join_object(body_in_slices(body)))
    try:
        assert fields == {"body": body.decode()}
    except UnicodeDecodeError:
        assert fields == {"body_base64": b64encode(body).decode()}


@pytest.mark.parametrize("body", [b"abc\xff", b"abcdef\xe2\x82", b"\xe2\x82", b"ab\xf0\x9f\x98", b"abcde\xed\xa0\x80"])
def test_what_is_broken_in_the_last_slice_or_between_two_is_no_text(body: bytes) -> None:
    assert list(body_in_slices(body)) == ["body_base64"]


@given(st.binary())
def test_base64_is_the_same_as_in_one_go(body: bytes) -> None:
    assert b"".join(base64_in_slices(body)) == b'"' + b64encode(body) + b'"'


@given(
    st.dictionaries(st.text(), st.text() | st.none() | st.lists(st.text()), min_size=1),
    st.text(),
    st.text(),
    st.sampled_from([encode_json, encode_go_json]),
)
def test_an_object_of_slices_and_other_values_is_encoded_as_a_whole(
    fields: dict[str, Any], name: str, text: str, encode: Callable[..., Any]
) -> None:
    fields = dict(sorted({name: "", **fields}.items()))
    sliced = {**fields, name: base64_in_slices(text.encode())}
    whole = {**fields, name: b64encode(text.encode()).decode()}
    assert join_object(sliced, encode) == encode(whole).encode()


# -- the ancestor's object with GitHub's headers

PUSH = json.dumps({"ref": "refs/heads/main", "after": "abc", "repository": {"full_name": "acme/app"}}).encode()


@pytest.mark.parametrize(
    ("body", "content_type"), [(PUSH, "application/json"), (b"payload=%7B%7D", "application/x-www-form-urlencoded")]
)
def test_a_frame_with_metadata_is_the_delivery_again(body: bytes, content_type: str) -> None:
    headers = (("X-GitHub-Event", "push"), ("X-Hub-Signature", "sha1=00"), ("X-Hub-Signature-256", "sha256=00"))
    frame = Message("t", encode_github_metadata(Message("t", body, headers)))

    message = parse_github_metadata(frame)

    assert (message.topic, message.body) == ("t", body)
    assert message.headers == (("Content-Type", content_type), *headers)
    assert message.wrapped


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"Payload": "!"}', b'{"Payload": "", "Event": 1, "Signature": ""}']
)
def test_any_other_frame_is_no_delivery(body: bytes) -> None:
    assert parse_github_metadata(Message("t", body)) is None
