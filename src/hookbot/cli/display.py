"""Display for people: messages and tables.

A publisher chooses every byte of a message, so characters that would control the terminal are escaped.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from ..errors import BodyTooLarge
from ..protocol.bodies import UNTRUSTED, check_json
from ..protocol.json_text import indent_json, read_json
from ..protocol.message import Message
from ..terminal import escaped, one_line

# Characters shown of a text: about 250 lines, more than anybody scrolls back.
SHOWN_CHARS = 20_000
# Bytes shown of a body that is not text: enough to recognise its format.
SHOWN_BYTES = 64
# A text of this length or more is not parsed as JSON, since only its beginning is shown.
READ_BYTES = 1 << 20
_INDENT = "    "
JSON_KEY = re.compile(r'^( *)("(?:[^"\\]|\\.)*")(: )', re.MULTILINE)


def show(message: Message, headers: Sequence[str] = ()) -> str:
    """Message as lines of text with ANSI colours: a heading, the headers named in `headers` (in any case), the body."""
    # Not by every command that prints a table: it takes msgspec with it.
    from ..protocol.event_type import event_type

    wanted = {name.lower() for name in headers}
    text = message.text()
    lines = [_heading(message, event_type(message) or "")]
    lines += [
        f"{_INDENT}{one_line(name)}: {one_line(value)}" for name, value in message.headers if name.lower() in wanted
    ]
    lines += [f"{_INDENT}{line}" for line in _body(message, text).split("\n") if message.body]
    return "\n".join(lines) + "\n"


def readable(text: str, hint: str = "") -> str:
    """Text of a body: JSON indented, nothing that controls the terminal, and the beginning if it is long.

    `hint` follows the sentence that there is more.
    """
    content = _json_in(text)
    return escaped(_cut(text if content is None else indent_json(content), hint)).removesuffix("\n")


def for_terminal(body: bytes) -> str:
    """Text of a whole body, with a newline at its end."""
    text = escaped(body.decode("utf-8", "backslashreplace"))
    return text if text.endswith("\n") else f"{text}\n"


def size_of(size: Any) -> str:
    """Text of a size in bytes, in B, kB, MB or GB (powers of 1000); of what is no size in the JSON of a hub, itself."""
    if type(size) is not int or size > 1 << 63:
        return str(size)
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"


def age_of(seconds: float) -> str:
    """Text of an age in its largest unit, of those that durations have."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f}{unit}"
    return f"{seconds:.0f}s"


def duration_of(seconds: float) -> str:
    """Text of a short duration: in milliseconds below a second, else in seconds."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def utc(time: Any) -> str:
    """Text of a time in the JSON of a hub, to the second."""
    return f"{str(time)[:19].replace('T', ' ')} UTC"


def table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as aligned columns below their names; characters that control a terminal are escaped."""
    cells = [[column.upper() for column in columns], *([_cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)
    return "\n".join(line.rstrip() for line in lines)


def to_json(value: Any) -> str:
    """The value as JSON in ASCII: indented, or in one line if it is nested too deeply for that."""
    import json

    try:
        return json.dumps(value, indent=2)
    except RecursionError:
        return json.dumps(value)


def _heading(message: Message, event: str) -> str:
    try:
        moment = message.time.astimezone()
    # Here it is the year 10000 already.
    except (OverflowError, ValueError):
        moment = message.time
    event = one_line(event[:80])
    verified = click.style(f"verified by {one_line(message.verified.provider)}", fg="green") if message.verified else ""
    parts = [
        moment.strftime("%Y-%m-%d %H:%M:%S"),
        click.style(one_line(message.topic), fg="cyan", bold=True),
        event and click.style(event, fg="yellow"),
        size_of(len(message.body)),
        verified,
    ]
    return "  ".join([*filter(None, parts), message.id and click.style(message.id, dim=True)]).rstrip()


def _json_in(text: str) -> Any:
    """Value of the JSON in a body, None for any other text and for what would take long to read."""
    if len(text) >= READ_BYTES:
        return None
    try:
        check_json(text.encode(), UNTRUSTED)
        return read_json(text)
    except (ValueError, BodyTooLarge):
        return None


def _body(message: Message, text: str | None) -> str:
    if text is None:
        more = ", ..." if len(message.body) > SHOWN_BYTES else ""
        return click.style(f"not text: {message.body[:SHOWN_BYTES].hex(' ')}{more}", dim=True)
    pretty = readable(text, "; --raw prints them all")
    return JSON_KEY.sub(lambda match: f"{match[1]}{click.style(match[2], fg='blue')}{match[3]}", pretty)


def _cut(text: str, hint: str) -> str:
    if len(text) <= SHOWN_CHARS:
        return text
    return f"{text[:SHOWN_CHARS]}\n... and {len(text) - SHOWN_CHARS} more characters{hint}"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return one_line(text)
