"""Stored messages: to whoever does not look, a message like any other; to who counts, less work."""

import pickle
from collections.abc import Callable
from copy import copy, deepcopy
from dataclasses import fields, replace

import pytest

from hookbot.log import stored_message
from hookbot.log.stored_message import StoredMessage, encode_meta
from hookbot.protocol.envelope import encode_envelope
from hookbot.protocol.frames import Raw
from hookbot.protocol.message import Message, format_id
from support.messages import EPOCH, FULL

WRAPPED = replace(FULL, query="extra-metadata=github")


def stored(message: Message) -> StoredMessage:
    row = (EPOCH, message.position, message.time_us, message.size, encode_meta(message))
    return StoredMessage.of(message.topic, message.body, row)


@pytest.mark.parametrize("message", [FULL, WRAPPED, Message("a", id=format_id(EPOCH, 1))])
def test_it_is_the_message_that_was_stored(message: Message) -> None:
    assert stored(message) == message
    assert message == stored(message)
    assert hash(stored(message)) == hash(message)
    assert repr(stored(message)) == repr(message)
    assert encode_envelope(stored(message)) == encode_envelope(message)


def test_it_differs_from_another_message() -> None:
    assert stored(FULL) != WRAPPED


def test_each_field_can_be_the_first_that_is_asked_for() -> None:
    for name in (*(field.name for field in fields(Message) if field.init), "time"):
        assert getattr(stored(FULL), name) == getattr(FULL, name)
    assert (stored(FULL).position, stored(FULL).size) == (FULL.position, FULL.size)


@pytest.mark.parametrize("duplicate", [copy, deepcopy, lambda message: pickle.loads(pickle.dumps(message))])
def test_a_copy_is_the_same_message(duplicate: Callable[[Message], Message]) -> None:
    assert duplicate(stored(FULL)) == FULL
    assert duplicate(stored(FULL)).position == FULL.position


def test_a_changed_copy_is_a_message_of_its_own() -> None:
    changed = replace(stored(FULL), redelivered=True, id=format_id(EPOCH, 9))

    assert changed.redelivered
    assert (changed.position, changed.headers) == (9, FULL.headers)


@pytest.mark.parametrize("message", [FULL, WRAPPED, replace(FULL, query="a=extra-metadata")])
@pytest.mark.parametrize("subtree", [False, True])
def test_a_raw_frame_of_it_is_the_same(message: Message, subtree: bool) -> None:
    assert Raw(subtree).message(stored(message)) == Raw(subtree).message(message)


def test_a_raw_frame_needs_no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(stored_message, "decode_fields")
    message = stored(FULL)

    assert Raw(subtree=True).message(message) == b'orders\0{"a": 1}'
    assert (message.position, message.size, message.wrapped) == (FULL.position, FULL.size, False)


def test_a_name_that_no_message_has_is_missing() -> None:
    with pytest.raises(AttributeError, match="sender"):
        stored(FULL).sender  # noqa: B018


def test_a_header_with_a_control_character_from_damage_is_read() -> None:
    row = (EPOCH, 1, 0, 0, '{"headers":[["X","\x02"]]}')

    assert StoredMessage.of("a", b"", row).headers == (("X", "\x02"),)


@pytest.mark.parametrize(
    "garbled",
    [
        '{"headers":[["X"]],"verified":["github","0",1,12]}',
        '{"verified":["github*,*0",1]}',
        '{"hops":3}',
        "[]",
        "{x:1}",
    ],
)
def test_of_a_message_whose_headers_are_garbled_the_rest_is_read(
    garbled: str, caplog: pytest.LogCaptureFixture
) -> None:
    message = StoredMessage.of("a", b"hello", (EPOCH, 2, 3, 100, garbled))

    assert message == Message("a", b"hello", id=format_id(EPOCH, 2), time_us=3)
    [record] = caplog.records
    assert "the headers of the message at position 2 are damaged" in record.message
