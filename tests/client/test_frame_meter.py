"""What a hub may send before a message is whole, in frames and in reads of any size."""

import pytest

from hookbot.client import frame_meter
from hookbot.client.frame_meter import FrameMeter
from hookbot.errors import BodyTooLarge, Lost
from hookbot.protocol.websocket import PING, TEXT, frame, frame_header

BEGINNING = b"\x01\x01{"
"""A frame of one byte that does not end its message."""
EMPTY = b"\x00\x00"
"""A frame of none that does not end it either."""


def feed(meter: FrameMeter, data: bytes, size: int) -> None:
    """Feed the data in reads of this size."""
    for at in range(0, len(data), size):
        meter.feed(data[at : at + size])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100_000])
@pytest.mark.parametrize("payload", [0, 125, 126, 65_535, 65_536, 70_000])
def test_messages_up_to_the_limit_pass_however_they_arrive(payload: int, size: int) -> None:
    meter = FrameMeter(70_000)
    feed(meter, frame(TEXT, b"x" * payload) * 3 + frame(PING, b"x" * 125) + BEGINNING + b"\x80\x01}", size)


@pytest.mark.parametrize(
    "data",
    [
        frame_header(TEXT, 1001),
        frame_header(TEXT, (1 << 63) - 1),
        frame(TEXT, "\U0001f600".encode() * 251),
        BEGINNING + b"\x00\x7d" + b"x" * 125 + frame_header(0, 900),
    ],
    ids=["a length", "an absurd length", "wide characters", "fragments"],
)
@pytest.mark.parametrize("size", [1, 5, 100_000])
def test_a_message_over_the_limit_is_refused_when_it_declares_its_length(data: bytes, size: int) -> None:
    meter = FrameMeter(1000)
    meter.feed(frame(TEXT, b"x" * 1000))

    with pytest.raises(BodyTooLarge, match="raise max_body_bytes"):
        feed(meter, data, size)


@pytest.mark.parametrize(
    "data",
    [BEGINNING + EMPTY * 20, BEGINNING + (EMPTY + frame(PING, b"x")) * 20, frame_header(TEXT, 100) + b"x" * 100],
    ids=["fragments", "pings between them", "slow bytes"],
)
@pytest.mark.parametrize("size", [1, 2])
def test_a_message_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch, data: bytes, size: int) -> None:
    monkeypatch.setattr(frame_meter, "MAX_PIECES", 20)
    meter = FrameMeter(1000)

    with pytest.raises(Lost, match="too many pieces"):
        feed(meter, data, size)


def test_pieces_of_other_messages_and_pings_are_not_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_meter, "MAX_PIECES", 20)
    meter = FrameMeter(1000)

    for _ in range(50):
        feed(meter, BEGINNING + EMPTY + b"\x80\x01}" + frame(PING, b"x"), 2)
