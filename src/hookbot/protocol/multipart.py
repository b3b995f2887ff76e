"""Forms of several parts (multipart/form-data, RFC 7578): fields and files.

Import it where a form is parsed: it takes Werkzeug with it, which few messages need.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData

from ..errors import BodyTooLarge

MAX_PARTS = 100
MAX_HEADER_BYTES = 16 << 10
"""Size of the headers of all parts together, which take a hundred times as long to parse as what is in the parts."""
# Longest boundary (RFC 2046, section 5.1.1).
_MAX_BOUNDARY = 70
_CHUNK_BYTES = 8 << 10


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a form. `filename` is None unless it is a file; `content_type` is empty if it has none."""

    name: str
    data: bytes
    filename: str | None
    content_type: str


def parse_parts(body: bytes, boundary: str) -> list[Part]:
    """Parts of a form, in order; those without a name are left out. Headers that are not UTF-8 are read as Latin-1.

    Raises `ValueError` if it is malformed, and `BodyTooLarge` beyond `MAX_PARTS` or `MAX_HEADER_BYTES`.
    """
    if len(boundary) > _MAX_BOUNDARY:
        raise ValueError(f"the boundary has more than {_MAX_BOUNDARY} characters")
    try:
        try:
            return list(_parts(body, boundary.encode("latin-1")))
        except UnicodeDecodeError:
            # Werkzeug takes headers in UTF-8 only, and older senders have names of files in Latin-1.
            parts = _parts(body.decode("latin-1").encode(), boundary.encode())
            return [replace(part, data=part.data.decode().encode("latin-1")) for part in parts]
    except RequestEntityTooLarge:
        raise BodyTooLarge(
            f"the form has more than {MAX_PARTS} parts, or {MAX_HEADER_BYTES >> 10} KiB of headers in them"
        ) from None


def _parts(body: bytes, boundary: bytes) -> Iterator[Part]:
    head: Field | File | None = None
    data: list[bytes] = []
    header_bytes = 0
    for event in _events(body, boundary):
        if isinstance(event, Field | File):
            head, data = event, []
            header_bytes += sum(len(name) + len(value) for name, value in event.headers)
            if header_bytes > MAX_HEADER_BYTES:
                raise RequestEntityTooLarge
        elif isinstance(event, Data):
            data.append(event.data)
            if head and head.name and not event.more_data:
                filename = head.filename if isinstance(head, File) else None
                yield Part(head.name, b"".join(data), filename, head.headers.get("Content-Type", ""))


def _events(body: bytes, boundary: bytes) -> Iterator[Event]:
    # What it keeps between two chunks is a header, or too little to matter.
    decoder = MultipartDecoder(boundary, MAX_HEADER_BYTES, max_parts=MAX_PARTS)
    chunks = (body[start : start + _CHUNK_BYTES] for start in range(0, len(body), _CHUNK_BYTES))
    for chunk in (*chunks, None):
        decoder.receive_data(chunk)
        while not isinstance(event := decoder.next_event(), NeedData | Epilogue):
            yield event
