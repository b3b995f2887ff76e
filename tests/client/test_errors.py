"""Errors of a hub, sorted by what a client does about them."""

import pytest

from hookbot import errors
from hookbot.client.errors import PASSING, retry_after
from hookbot.protocol.response import MAX_RETRY_AFTER_S, error_from


def test_what_passes_is_tried_again_and_what_does_not_is_not() -> None:
    passing = {status for status in range(100, 600) if isinstance(error_from(status, {}, b""), PASSING)}
    assert passing == {*range(100, 200), 408, 409, 429, *range(500, 600)}


@pytest.mark.parametrize(
    ("asked", "waits"), [("7", 7), ("", 0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0), ("99999", MAX_RETRY_AFTER_S)]
)
def test_a_hub_may_ask_to_be_left_alone_for_a_while(asked: str, waits: int) -> None:
    assert retry_after(error_from(503, {"retry-after": asked}, b"")) == waits
    assert retry_after(error_from(429, {"retry-after": asked}, b"")) == waits
    assert retry_after(errors.RequestTimeout("slow")) == 0
