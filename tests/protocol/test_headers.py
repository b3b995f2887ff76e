"""Header fields that can be sent, and those that are passed on."""

import pytest

from hookbot.errors import Refused
from hookbot.protocol.headers import encoded, end_to_end


def test_header_fields_are_latin_1() -> None:
    assert encoded([("X-A", "ü"), ("x-b", "")]) == [(b"X-A", b"\xfc"), (b"x-b", b"")]


@pytest.mark.parametrize(
    "field", [("X A", "1"), ("", "1"), ("X-Ü", "1"), ("X-A", "s3cret\r\n"), ("X-A", "s3cret\u2603")]
)
def test_what_is_no_header_field_is_refused_without_its_value(field: tuple[str, str]) -> None:
    with pytest.raises(Refused, match=r"invalid (name|value) of") as caught:
        encoded([field])
    assert "s3cret" not in str(caught.value)


def test_fields_of_one_connection_are_not_passed_on() -> None:
    fields = [("Host", "h"), ("Connection", "close, X-Mine"), ("x-mine", "1"), ("TE", "trailers"), ("X-Yours", "2")]
    assert end_to_end(fields) == [("X-Yours", "2")]
