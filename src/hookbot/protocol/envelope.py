"""Large bodies as JSON, slice by slice.

One call of `json` or `base64` on 25 MB holds the interpreter for a tenth of a second, in whichever thread
it is made. Between slices everybody else gets a turn.
"""

from base64 import b64encode
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator, Mapping
from time import sleep
from typing import Any

from .message import encode_json

SLICE_BYTES = 48 << 10  # takes a fraction of a millisecond; a multiple of 3, so that base64 has no padding inside


class Sliced(tuple[bytes, ...]):
    """A JSON string in pieces, quotes included."""


def body_in_slices(body: bytes) -> dict[str, Sliced]:
    """The body's field of an envelope: ``body`` if it is UTF-8, otherwise ``body_base64``."""
    try:
        return {"body": Sliced((b'"', *_text(body), b'"'))}
    except UnicodeDecodeError:
        return {"body_base64": base64_in_slices(body)}


def base64_in_slices(body: bytes) -> Sliced:
    """The body in standard base64."""
    return Sliced((b'"', *map(b64encode, _slices(body)), b'"'))


def join_object(fields: Mapping[str, Any], encode: Callable[[Any], str] = encode_json) -> bytes:
    """A JSON object, as `encode` would write it, of values of which some are `Sliced`."""
    parts = [b"{"]
    for name, value in fields.items():
        parts.append(encode(name).encode() + b":")
        parts += value if isinstance(value, Sliced) else [encode(value).encode()]
        parts.append(b",")
    parts[-1] = b"}"
    return b"".join(parts)  # lets go of the interpreter by itself


def _text(body: bytes) -> Iterator[bytes]:
    decoder = getincrementaldecoder("utf-8")()
    for piece in _slices(body):
        yield encode_json(decoder.decode(piece))[1:-1].encode("ascii")
    decoder.decode(b"", final=True)


def _slices(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), SLICE_BYTES):
        sleep(0)  # otherwise a thread that waits has to wait for the switch interval, 5 ms
        yield body[start : start + SLICE_BYTES]
