"""Details of a delivery: its attempts, and the headers and bodies of request and response."""

import time
from collections.abc import Iterator

from rich.text import Text

from ...delivery.outcome import Exchange
from ...protocol.charsets import decode, parameter
from ...protocol.message import Headers, Message
from ...protocol.response import title_of
from ...terminal import one_line
from ..display import JSON_KEY, readable, size_of
from .deliveries import Delivery

SECTION = "bold underline"
# Bytes shown of a body that is not text, sixteen in a line.
_DUMPED_BYTES = 4096
_DUMPED_LINE = 16
_MAX_HEADERS = 200


def details(delivery: Delivery) -> Iterator[Text]:
    """Lines about a delivery, which are bounded in number, but not in width."""
    yield from _about(delivery)
    yield from _attempts(delivery)
    exchange = delivery.outcome.exchange if delivery.outcome else None
    yield from _request(delivery.message, exchange)
    if exchange:
        yield from _response(exchange)


def _about(delivery: Delivery) -> Iterator[Text]:
    message = delivery.message
    yield Text.assemble(
        (one_line(delivery.event or "message"), "bold yellow"), "  ", (one_line(message.topic), "bold cyan")
    )
    facts = [_moment(message.time_us / 1e6), size_of(len(message.body)), one_line(message.id)]
    if message.verified:
        facts.append(f"verified by {one_line(message.verified.provider)}")
    yield Text("  ".join(filter(None, facts)), "dim")


def _attempts(delivery: Delivery) -> Iterator[Text]:
    if not delivery.history:
        return
    yield from (Text(), Text("Attempts", SECTION))
    for number, ended, words in delivery.history:
        yield Text(f"{number:>3}  {_moment(ended)}  {one_line(words)}")
    if delivery.kept_in:
        yield Text(f"     given up, and kept in {one_line(delivery.kept_in)}", "red")


def _request(message: Message, exchange: Exchange | None) -> Iterator[Text]:
    yield from (Text(), Text("Request", SECTION))
    if message.query:
        yield Text(f"?{one_line(message.query)}", "cyan")
    yield from _headers(exchange.request_headers if exchange else message.headers)
    yield from _body(message.body, message.header("content-type"))


def _response(exchange: Exchange) -> Iterator[Text]:
    yield from (Text(), Text(f"Response {title_of(exchange.status)}", SECTION))
    yield from _headers(exchange.headers)
    kind = next((value for name, value in exchange.headers if name.lower() == "content-type"), None)
    yield from _body(exchange.body, kind)
    if not exchange.is_whole:
        yield Text("... there is more of it, or it broke off", "dim")


def _headers(headers: Headers) -> Iterator[Text]:
    for name, value in headers[:_MAX_HEADERS]:
        yield Text.assemble((one_line(name), "blue"), f": {one_line(value)}")
    if len(headers) > _MAX_HEADERS:
        yield Text(f"... and {len(headers) - _MAX_HEADERS} more", "dim")


def _body(body: bytes, kind: str | None) -> Iterator[Text]:
    yield Text()
    text = decode(body, parameter(kind or "", "charset"))
    if text is None:
        yield from _dump(body)
        return
    for line in readable(text).split("\n") if text else ():
        key = JSON_KEY.match(line)
        yield Text.assemble(key[1], (key[2], "blue"), line[key.end(2) :]) if key else Text(line)


def _dump(body: bytes) -> Iterator[Text]:
    """The body in hexadecimal, with its characters of ASCII beside it."""
    for start in range(0, min(len(body), _DUMPED_BYTES), _DUMPED_LINE):
        part = body[start : start + _DUMPED_LINE]
        characters = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)
        yield Text.assemble((f"{start:08x}  ", "dim"), f"{part.hex(' '):<47}  ", (characters, "cyan"))
    if len(body) > _DUMPED_BYTES:
        yield Text(f"... and {len(body) - _DUMPED_BYTES} more bytes", "dim")


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
