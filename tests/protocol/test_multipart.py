"""Forms of several parts, from any sender."""

import pytest

from hookbot.errors import BodyTooLarge
from hookbot.protocol.multipart import MAX_HEADER_BYTES, MAX_PARTS, Part, parse_parts

FIELD = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
END = b"--b--\r\n"


def test_fields_and_files_are_in_the_order_of_the_form() -> None:
    body = (
        b"preamble\r\n"
        + FIELD
        + b'--b\r\nContent-Disposition: form-data; name="f"; filename="\xc3\xbc.bin"\r\nContent-Type: a/b\r\n\r\n'
        + b"\r\n\0--b\r" * 10_000
        + b"\r\n--b\r\nContent-Disposition: form-data\r\n\r\nnameless\r\n"
        + END
    )

    assert parse_parts(body, "b") == [
        Part("a", b"1", None, ""),
        Part("f", b"\r\n\0--b\r" * 10_000, "ü.bin", "a/b"),
    ]


def test_a_name_that_is_not_utf_8_costs_no_other_part() -> None:
    head = '--é\r\nContent-Disposition: form-data; name="f"; filename="café.bin"\r\n\r\n'.encode("latin-1")
    data = bytes(range(256)) * 100 + "ü€".encode()

    assert parse_parts(FIELD.replace(b"--b", b"--\xe9") + head + data + b"\r\n--\xe9--", "é") == [
        Part("a", b"1", None, ""),
        Part("f", data, "café.bin", ""),
    ]


def test_as_many_parts_and_headers_as_allowed_are_parsed() -> None:
    assert len(parse_parts(FIELD * MAX_PARTS + END, "b")) == MAX_PARTS
    with pytest.raises(BodyTooLarge, match="more than 100 parts"):
        parse_parts(FIELD * (MAX_PARTS + 1) + END, "b")

    long = FIELD.replace(b"\r\n\r\n", b"\r\nX: " + b"x" * 2000 + b"\r\n\r\n")
    parse_parts(long * (MAX_HEADER_BYTES // 2100) + END, "b")
    with pytest.raises(BodyTooLarge, match="16 KiB of headers"):
        parse_parts(long * (MAX_HEADER_BYTES // 2000 + 1) + END, "b")


@pytest.mark.parametrize("filler", [b"x", b"a: b\r\n", b'n="x"; ', b";", b"\\"])
def test_a_header_without_end_is_not_searched_for_ever(filler: bytes) -> None:
    with pytest.raises(BodyTooLarge):
        parse_parts(b"--b\r\nContent-Disposition: form-data; " + filler * 1_000_000, "b")


@pytest.mark.parametrize(
    ("body", "boundary"),
    [
        (b"", "b"),
        (FIELD, "b"),
        (FIELD + END, "other"),
        (FIELD + END, "b" * 71),
        (FIELD + END, "é\u20ac"),
        (b"--b\r\nX: y\r\n\r\n1\r\n" + END, "b"),
        (b"--b\r\nContent-Disposition \xff\r\n\r\n1\r\n" + END, "b"),
    ],
)
def test_a_malformed_form_is_an_error_of_its_value(body: bytes, boundary: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- the text is that of Werkzeug
        parse_parts(body, boundary)
