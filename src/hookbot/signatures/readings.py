"""Readings of a body: the objects that its readers may find in it, each by rules of its own.

What is checked in all of them cannot be hidden from one of them.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from json import detect_encoding
from typing import Any

from ..errors import Forbidden
from ..protocol.bodies import VERIFIED, RepeatedKey, check_json, parse_form, unique_keys
from ..protocol.content import read_content
from .request import SignedRequest

# A router may read what is nested more deeply than `parse_json` does.
_ANY_DEPTH = replace(VERIFIED, depth=1 << 40)

# After any byte order mark and white space, in any encoding.
_OBJECT = re.compile(rb"[\s\0\xef\xbb\xbf\xff\xfe]*\{")


def readings_of(request: SignedRequest) -> Iterator[Mapping[str, Any]]:
    """The objects that a reader may find in the body, whatever it takes the body for: JSON, a form, or JSON in one.

    Raises `BodyTooLarge` beyond the ceiling of verified bodies, and `Forbidden` if readers might differ.
    """
    fields = parse_form(request.body, VERIFIED) if request.is_form else []
    payloads = (value.encode("utf-8", "surrogatepass") for name, value in fields if name == "payload")
    for value in (_value(request.body), dict(fields), *map(_value, payloads), _content(request)):
        if isinstance(value, dict):
            yield value


def _content(request: SignedRequest) -> Any:
    """The content as routers read it, which may be in another charset, or a form of several parts."""
    return read_content(request.body, request.find("Content-Type") or "", VERIFIED)


def _value(text: bytes) -> Any:
    try:
        encoding = detect_encoding(text)
        if not encoding.startswith("utf-8"):
            # UTF-16 or UTF-32, which json.loads reads as well, and so `Message.json`. Bytes of theirs are not counted.
            text = text.decode(encoding, "surrogatepass").encode("utf-8", "surrogatepass")
        check_json(text, _ANY_DEPTH)
        return json.loads(text, object_pairs_hook=unique_keys)
    except RepeatedKey as error:
        raise Forbidden(str(error)) from None
    except ValueError:
        # Other readers take bytes that are not UTF-8, or numbers of any length.
        if _OBJECT.match(text):
            raise Forbidden("the body cannot be read as JSON, so that nobody can tell whom it names") from None
        return None
    except RecursionError:
        # A router with fewer calls on its stack might be able to read it.
        raise Forbidden("the body is nested too deeply to tell whom it names") from None
