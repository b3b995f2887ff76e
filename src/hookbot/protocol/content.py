"""Content of bodies: the value that a sender meant, whatever it calls it.

What parses as JSON is JSON: many a sender, such as curl, calls it a form or nothing at all. The rest is what the
``Content-Type`` says: a form, or text.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from ..errors import BodyTooLarge
from .bodies import FORM, Ceiling, check_json, parse_form
from .charsets import BYTE_ORDER_MARK, codec_of, decode, parameter
from .json_text import read_json

_MULTIPART = "multipart/form-data"
# The first is HTML's, the second in PayPal's notifications:
# https://developer.paypal.com/api/nvp-soap/ipn/IPNandPDTVariables/
_CHARSET_FIELDS = ("_charset_", "charset")
# Bytes that are not UTF-8, as `parse_form` has them, and the escapes of ISO-2022-JP, whose bytes are all ASCII.
_NOT_UTF_8 = re.compile("[\udc80-\udcff]")
_ESCAPES = re.compile("[\x1b\udc80-\udcff]")
# Bytes that no form has. What curl uploads is labelled as one, too.
_BINARY = re.compile(rb"[\0-\x08\x0e-\x1f]")


def read_content(body: bytes, content_type: str, ceiling: Ceiling) -> Any:
    """Value of a body: that of JSON, the fields of a form, or text; None if it is not text.

    A form is an object of its fields: a string, or the value if the field holds a JSON object or array; a list if the
    field is repeated. Files of a multipart form that are not JSON are objects with ``filename``, ``content_type`` and
    ``size``. A URL-encoded form whose only field is ``payload`` counts as the JSON or text in that field.

    Raises `BodyTooLarge` beyond the ceiling.
    """
    if len(body) > ceiling.json_bytes:
        raise BodyTooLarge.than(ceiling.json_bytes)
    charset = parameter(content_type, "charset")
    text = decode(body, charset)
    with suppress(ValueError):
        if text is not None:
            return _json(text, ceiling)
    kind = content_type.lower()
    if kind.startswith(FORM) and not (text is None and _BINARY.search(body)):
        return _form(body, text, charset, ceiling)
    with suppress(ValueError):
        if kind.startswith(_MULTIPART):
            return _fields(_parts(body, content_type, ceiling), ceiling)
    return text


def part_reader(shape: type) -> Callable[[bytes], Any]:
    """Reader of a part of bodies, in a tenth of the time: of an object in JSON, the fields that a `TypedDict` has.

    They are those of `read_content`. The reader returns None for what is no such object in UTF-8: it lacks a field, or
    has one of another type. No ceiling limits the part: the shape must not have fields of any length or depth.
    """
    # Most processes read no part.
    from msgspec.json import Decoder  # noqa: PLC0415

    decode: Callable[[bytes | str], Any] = Decoder(shape).decode

    def read(body: bytes) -> Any:
        try:
            # Bytes that are not UTF-8 would be found in the part only.
            return decode(body if body.isascii() else body.decode())
        except (ValueError, RecursionError):
            return None

    return read


def _json(text: str, ceiling: Ceiling) -> Any:
    text = text.lstrip(BYTE_ORDER_MARK)
    # Of anything else, only the beginning is read.
    if _is_object_or_array(text):
        check_json(text.encode(), ceiling)
    return read_json(text)


def _is_object_or_array(text: str) -> bool:
    return text.lstrip(f"{BYTE_ORDER_MARK} \t\r\n").startswith(("{", "["))


def _form(body: bytes, text: str | None, charset: str | None, ceiling: Ceiling) -> Any:
    fields = _form_fields(body, text, charset, ceiling)
    if len(fields) == 1 and fields[0][0] == "payload":
        with suppress(ValueError):
            return _json(fields[0][1], ceiling)
        return fields[0][1]
    return _fields(fields, ceiling)


def _form_fields(body: bytes, text: str | None, charset: str | None, ceiling: Ceiling) -> list[tuple[str, str]]:
    """Fields in the charset that the form declares, unless they are UTF-8.

    The label of a signed form is not signed: in another charset, what is UTF-8 could be taken for something else.
    """
    fields = parse_form(body if text is None else text.encode(), ceiling)
    codec = codec_of(charset or next((value for name, value in fields if name in _CHARSET_FIELDS), None))
    other = _ESCAPES if codec == "iso2022_jp" else _NOT_UTF_8
    if codec is None or codec.startswith("utf_") or not any(other.search(name + value) for name, value in fields):
        codec = "utf-8"
    else:
        fields = parse_form(body, ceiling)
    return [(_in(name, codec), _in(value, codec)) for name, value in fields]


def _in(text: str, codec: str) -> str:
    """Text of a field of `parse_form` whose bytes are in a codec."""
    return text.encode("utf-8", "surrogateescape").decode(codec, "replace")


def _parts(body: bytes, content_type: str, ceiling: Ceiling) -> Iterator[tuple[str, Any]]:
    """Names and values of the parts of a form."""
    # It takes Werkzeug with it, which few messages need.
    from .multipart import parse_parts  # noqa: PLC0415

    parts = parse_parts(body, parameter(content_type, "boundary") or "")
    named = {part.name: part.data.decode("latin-1") for part in parts if part.name in ("_charset_", "charsets")}
    # RFC 7578, section 4.6.
    default = named.get("_charset_") or parameter(content_type, "charset")
    charsets = _charsets(named.get("charsets", ""), ceiling)
    for part in parts:
        text = decode(part.data, parameter(part.content_type, "charset") or charsets.get(part.name, default))
        if part.filename is None:
            yield part.name, part.data.decode("utf-8", "replace") if text is None else text
        elif text and _is_object_or_array(text):
            yield part.name, text
        else:
            yield part.name, {"filename": part.filename, "content_type": part.content_type, "size": len(part.data)}


def _charsets(text: str, ceiling: Ceiling) -> dict[str, str]:
    """Charsets of the fields of a form, by name, as SendGrid's Inbound Parse lists them in JSON.

    https://www.twilio.com/docs/sendgrid/for-developers/parsing-email/setting-up-the-inbound-parse-webhook
    """
    with suppress(ValueError):
        match _json(text, ceiling):
            case dict(listed):
                return {name: charset for name, charset in listed.items() if isinstance(charset, str)}
    return {}


def _fields(fields: Iterable[tuple[str, Any]], ceiling: Ceiling) -> dict[str, Any]:
    values: dict[str, list[Any]] = {}
    left = ceiling.values
    for name, value in fields:
        inner = value
        if isinstance(value, str) and _is_object_or_array(value):
            left -= sum(map(value.count, "[{,"))
            if left < 0:
                raise BodyTooLarge(f"the fields of the form hold more than {ceiling.values} values")
            with suppress(ValueError):
                inner = _json(value, ceiling)
        values.setdefault(name, []).append(inner)
    return {name: several if len(several) > 1 else several[0] for name, several in values.items()}
