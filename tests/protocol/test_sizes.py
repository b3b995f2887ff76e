"""Sizes as people write them."""

import pytest

from hookbot.protocol.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "size"), [("512B", 512), ("1k", 1024), ("25MiB", 25 << 20), ("1GB", 1 << 30), ("2tib", 2 << 40)]
)
def test_a_size_is_bytes_in_powers_of_1024(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "1", "B", "1.5MB", "-1B", "1 MB", "1PB", "9" * 16 + "B"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="25MiB"):
        parse_size(text)
