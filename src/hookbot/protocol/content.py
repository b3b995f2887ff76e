"""Content of bodies: the value that a sender meant, whatever it calls it.

What parses as JSON is JSON: many a sender, such as curl, calls it a form or nothing at all. The rest is what the
``Content-Type`` says: a form, or text.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from ..errors import BodyTooLarge
from .bodies import Ceiling, check_json, parse_form
from .charsets import codec_of, decode, parameter
from .json_text import read_json

_FORM = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"
# The first is HTML's, the second in PayPal's notifications:
# https://developer.paypal.com/api/nvp-soap/ipn/IPNandPDTVariables/
_CHARSET_FIELDS = ("_charset_", "charset")


def read_content(body: bytes, content_type: str, ceiling: Ceiling) -> Any:
    """Value of a body: that of JSON, the fields of a form, or text; None if it is not text. Of JSON see `read_json`.

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
    if kind.startswith(_FORM) and text is not None:
        return _form(body, text, charset, ceiling)
    with suppress(ValueError):
        if kind.startswith(_MULTIPART):
            return _fields(_parts(body, parameter(content_type, "boundary") or ""), ceiling)
    return text


def _json(text: str, ceiling: Ceiling) -> Any:
    # Of anything else, only the beginning is read.
    if _is_object_or_array(text):
        check_json(text.encode("utf-8", "surrogatepass"), ceiling)
    return read_json(text)


def _is_object_or_array(text: str) -> bool:
    return text.lstrip(" \t\r\n")[:1] in ("{", "[")


def _form(body: bytes, text: str, charset: str | None, ceiling: Ceiling) -> Any:
    fields = _form_fields(body, text, charset, ceiling)
    if len(fields) == 1 and fields[0][0] == "payload":
        with suppress(ValueError):
            return _json(fields[0][1], ceiling)
        return fields[0][1]
    return _fields(fields, ceiling)


def _form_fields(body: bytes, text: str, charset: str | None, ceiling: Ceiling) -> list[tuple[str, str]]:
    # The label of a signed form is not signed. In another charset, what is UTF-8 could be taken for something else.
    with suppress(UnicodeDecodeError):
        return parse_form(text.encode(), ceiling, errors="strict")
    fields = parse_form(body, ceiling)
    codec = codec_of(charset or next((value for name, value in fields if name in _CHARSET_FIELDS), None))
    return fields if codec is None or codec.startswith("utf_") else parse_form(body, ceiling, codec)


def _parts(body: bytes, boundary: str) -> Iterator[tuple[str, Any]]:
    """Names and values of the parts of a form."""
    # It takes Werkzeug with it, which few messages need.
    from .multipart import parse_parts  # noqa: PLC0415

    parts = parse_parts(body, boundary)
    # RFC 7578, section 4.6.
    default = next((part.data.decode("latin-1") for part in parts if part.name == "_charset_"), None)
    for part in parts:
        text = decode(part.data, parameter(part.content_type, "charset") or default)
        if part.filename is None:
            yield part.name, part.data.decode("utf-8", "replace") if text is None else text
        elif text and _is_object_or_array(text):
            yield part.name, text
        else:
            yield part.name, {"filename": part.filename, "content_type": part.content_type, "size": len(part.data)}


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
