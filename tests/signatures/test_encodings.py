"""Encodings of signatures and keys as text."""

import pytest

from hookbot.signatures.encodings import DECODERS, ENCODERS


@pytest.mark.parametrize("name", ENCODERS)
def test_what_is_encoded_is_decoded(name: str) -> None:
    data = bytes(range(256))

    assert DECODERS[name](ENCODERS[name](data)) == data


def test_base64_may_lack_its_padding() -> None:
    assert DECODERS["base64"]("YQ") == DECODERS["base64"]("YQ==") == b"a"


def test_text_is_its_bytes_whatever_they_are() -> None:
    assert DECODERS["text"]("é\udcff") == b"\xc3\xa9\xff"


@pytest.mark.parametrize(("name", "text"), [("hex", "0"), ("hex", "xy"), ("base64", "a b="), ("base64", "a")])
def test_what_is_not_encoded_is_refused(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        DECODERS[name](text)
