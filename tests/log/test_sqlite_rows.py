"""Rows of the SQLite log: messages are read as they were stored, and damage to a body is noticed."""

import json
from typing import Any

import pytest

from hookbot.log.sqlite_rows import ROWS_PER_BREAK, Columns, decode, with_breaks
from hookbot.log.stored_message import encode_meta
from hookbot.protocol.message import Message, Verified, format_id
from support.messages import EPOCH, FULL


def columns(*messages: Message, metas: list[str] | None = None) -> Columns:
    metas = metas or [encode_meta(message) for message in messages]
    return Columns(
        [message.position for message in messages],
        [message.time_us for message in messages],
        [message.topic for message in messages],
        [message.size for message in messages],
        [len(message.body) for message in messages],
        [json.loads(meta).get("crc32") for meta in metas],
        metas,
    )


def test_messages_are_read_as_they_were_stored() -> None:
    empty = Message("empty", b"", id=format_id(EPOCH, 3), time_us=4)

    assert list(decode(EPOCH, columns(FULL, empty), FULL.body + empty.body)) == [FULL, empty]


def test_a_body_that_is_not_what_was_stored_is_noticed() -> None:
    with pytest.raises(ValueError, match="the body at position 2 is not what was stored"):
        list(decode(EPOCH, columns(FULL), b'{"a": 2}'))


def test_an_earlier_version_stored_neither_a_checksum_nor_the_source() -> None:
    meta = json.loads(encode_meta(FULL))
    del meta["crc32"], meta["source"]

    [message] = decode(EPOCH, columns(FULL, metas=[json.dumps(meta)]), FULL.body)

    assert message.body == FULL.body
    assert message.verified == Verified("github", "0", 1_700_000_000.0, None)


@pytest.mark.parametrize(
    "garbled",
    [{"topics": [None]}, {"times_us": [-1]}, {"times_us": [1 << 62]}, {"times_us": ["x"]}]
    + [{"metas": [meta], "checksums": [None]} for meta in ("[]", "{", '{"hops": 3}', '{"verified": []}')],
)
def test_a_garbled_row_is_noticed(garbled: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError, AttributeError)):
        list(decode(EPOCH, columns(FULL)._replace(**garbled), FULL.body))


def test_breaks_leave_no_row_out() -> None:
    assert list(with_breaks(range(2 * ROWS_PER_BREAK + 1))) == list(range(2 * ROWS_PER_BREAK + 1))
