"""Replies: what a listener answers to a message whose sender waits for it.

One comes as a frame of ``hookbot.v1``, is stored as a message of its own, which is an `Answer`, and becomes the
response to the sender.
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from pybase64 import b64encode

from ..errors import kind_of
from .envelope import body_of, encode_json, text_of
from .message import Draft, Headers, Message, Once, check_id
from .response import NO_SNIFFING, PLAIN, Response
from .topics import UNSAFE, is_unsafe

REPLY = "reply"
"""Query parameter of a publish whose sender waits for a reply, and of a subscription that gives some."""

REPLIES = "hookbot/replies/"
_HEADERS = "hookbot-reply-"

# As long as GitHub waits for a response. Slack and Discord give up after three seconds, Shopify after five.
MAX_WAIT_S = 10.0
MAX_REPLY_BODY = 64 << 10
MAX_REPLY_HEADERS = 64
# With a body of `MAX_REPLY_BODY` in base64, and each character escaped, it fits into a frame.
MAX_REPLY_HEADER_BYTES = 6 << 10
MAX_REPLY_FRAME = 128 << 10

_MAX_TEXT = MAX_REPLY_BODY * 4 // 3
# RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5.
_WITHOUT_BODY = frozenset({204, 205, 304})
_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")

# A browser that is signed in to the console may be the sender: by a form of any page, to a topic without a signature.
# Whatever the body is, nothing in it runs with the rights of the hub's own pages.
_HARMLESS: Headers = (*NO_SNIFFING, ("Content-Security-Policy", "sandbox"), ("Cache-Control", "no-store"))

# What senders look at. All others have a meaning to a browser, a proxy or the hub that a listener has no say in: it
# answers under the hub's name, where somebody may be signed in to the console.
_SAFE = frozenset(
    {"content-type", "content-encoding", "content-language", "content-disposition", "location", "retry-after", "allow"}
    | {"traceparent", "tracestate", "webhook-allowed-origin", "webhook-allowed-rate"}
)
# Headers of applications, and of CloudEvents.
_SAFE_PREFIXES = ("x-", "ce-")
# Orders to a proxy in front of the hub: to send one of its own files, say; and what the hub itself says.
_UNSAFE_PREFIXES = ("x-accel-", "x-sendfile", "x-lighttpd-", "x-litespeed-", "x-reproxy-", "x-hookbot-")
_UNSAFE = frozenset({"x-content-type-options", "x-webkit-csp", "x-content-security-policy"})


@dataclass(frozen=True, slots=True)
class Reply:
    """Reply of a listener: the response to the sender of a message. Raises `ValueError` if it is out of bounds.

    Its headers may be any; `safe_headers` tells which of them the sender gets.
    """

    status: int = 200
    headers: Headers = ()
    body: bytes = b""

    def __post_init__(self) -> None:
        if not 200 <= self.status <= 599:
            raise ValueError(f"the status of a reply is a number from 200 to 599, not {self.status}")
        if self.status in _WITHOUT_BODY and self.body:
            raise ValueError(f"a reply with the status {self.status} has no body")
        if len(self.body) > MAX_REPLY_BODY:
            raise ValueError(f"the body of a reply has at most {MAX_REPLY_BODY} bytes, not {len(self.body)}")
        if len(self.headers) > MAX_REPLY_HEADERS:
            raise ValueError(f"a reply has at most {MAX_REPLY_HEADERS} headers, not {len(self.headers)}")
        if sum(len(name) + len(value) for name, value in self.headers) > MAX_REPLY_HEADER_BYTES:
            raise ValueError(f"the headers of a reply have together at most {MAX_REPLY_HEADER_BYTES} bytes")
        for name, value in self.headers:
            if not _is_valid(name, value):
                raise ValueError(f"a reply has a malformed header: {name[:80]!r}")

    def response(self, *more: tuple[str, str]) -> Response:
        """The response to the sender, with headers of the hub."""
        safe = safe_headers(self.headers)
        typed = not self.body or any(name.lower() == "content-type" for name, _ in safe)
        return Response(self.body, self.status, (*(() if typed else PLAIN), *safe, *_HARMLESS, *more))

    def to_frame(self, id: str) -> str:
        """The frame that gives this reply to the message with an id; it has at most `MAX_REPLY_FRAME` bytes."""
        fields = {"type": "reply", "id": id, "status": self.status, "headers": self.headers}
        return encode_json({**fields, **_body_fields(self.body)})


@dataclass(frozen=True, slots=True)
class Answer:
    """Reply to a message, whose own `id` and `topic` these are, as the hub stores it on a topic of its own."""

    id: str
    topic: str
    reply: Reply

    @classmethod
    def of(cls, message: Message) -> "Answer | None":
        """The answer that a message is; None if it is not on a topic of answers, which is the hub's."""
        if not is_answer(message):
            return None
        told = {name.lower(): value for name, value in message.headers if name.lower().startswith(_HEADERS)}
        headers = tuple(pair for pair in message.headers if pair[0].lower() not in told)
        reply = Reply(int(told[f"{_HEADERS}status"]), headers, message.body)
        return cls(told[f"{_HEADERS}id"], answered_topic(message.topic), reply)

    @property
    def draft(self) -> Draft:
        """The draft that stores it, if it is the first to the message."""
        told = (("Hookbot-Reply-Id", self.id), ("Hookbot-Reply-Status", str(self.reply.status)))
        headers = (*safe_headers(self.reply.headers), *told)
        topic, once = answers_topic(self.topic), (first_answer(self.id),)
        return Draft(topic, self.reply.body, headers, once=once, routed_from=self.id)


def is_answer(message: Message) -> bool:
    """True if a message is an `Answer`."""
    return message.topic.removeprefix(UNSAFE).startswith(REPLIES)


def first_answer(id: str) -> Once:
    """The key by which only the first answer to a message is stored, at whichever hub it is given."""
    return Once("reply", REPLIES, id)


def answers_topic(topic: str) -> str:
    """Topic, or pattern of topics, to which answers to the messages of a topic, or of such a pattern, are published."""
    return f"{UNSAFE}{REPLIES}{topic.removeprefix(UNSAFE)}" if is_unsafe(topic) else REPLIES + topic


def answered_topic(topic: str) -> str:
    """Topic to whose messages the answers of a topic are."""
    return f"{UNSAFE if is_unsafe(topic) else ''}{topic.removeprefix(UNSAFE).removeprefix(REPLIES)}"


def awaits_reply(message: Message) -> bool:
    """True if the sender of a message waits for a reply. Nobody waits for one to a copy of it."""
    return not (message.replay_of or message.routed_from) and asks_reply(message.query)


def parse_reply(fields: dict[str, Any]) -> tuple[str, Reply]:
    """The id of a message, and the reply to it, in the JSON object of a frame; raises `ValueError`."""
    try:
        status = fields["status"]
        if type(status) is not int:
            raise TypeError(f"the status is not a number, but {kind_of(status)}")
        if not isinstance(given := fields.get("headers", []), list):
            raise TypeError(f"the headers are not a list, but {kind_of(given)}")
        headers = tuple((text_of(name), text_of(value)) for name, value in given)
        has_body = "body" in fields or "body_base64" in fields
        return check_id(fields["id"]), Reply(status, headers, body_of(fields) if has_body else b"")
    except KeyError as error:
        raise ValueError(f"a reply lacks the field {error}") from None
    except (TypeError, AttributeError) as error:
        raise ValueError(f"a reply has a malformed field: {error}") from None


def asks_reply(query: str) -> bool:
    """True if a query asks for a reply: ``reply`` or ``reply=1``. Any other value is a part of the message."""
    return REPLY in query and any(
        name == REPLY and value in ("", "1") for name, value in parse_qsl(query, keep_blank_values=True)
    )


def safe_headers(headers: Iterable[tuple[str, str]]) -> Headers:
    """Those headers of an answer that a sender gets; all others, and malformed ones, are left out.

    Of two content types, say, some senders would take the first, and others the last: only the first is left. Those of
    applications may be repeated.
    """
    safe: list[tuple[str, str]] = []
    once = set(_SAFE)
    for name, value in headers:
        if is_safe(name) and _is_valid(name, value) and (name.lower() in once or name.lower() not in _SAFE):
            safe.append((name, value))
            once.discard(name.lower())
    return tuple(safe)


def is_safe(name: str) -> bool:
    """True if an answer may carry a header of this name."""
    name = name.lower()
    if name in _UNSAFE or name.startswith(_UNSAFE_PREFIXES):
        return False
    return name in _SAFE or name.startswith(_SAFE_PREFIXES)


def _is_valid(name: str, value: str) -> bool:
    return bool(_NAME.fullmatch(name) and _VALUE.fullmatch(value))


def _body_fields(body: bytes) -> dict[str, str]:
    """The body as text, unless it is none, or longer with its escapes than any body in base64."""
    with suppress(UnicodeDecodeError):
        text = body.decode()
        if len(encode_json(text)) <= _MAX_TEXT:
            return {"body": text}
    return {"body_base64": b64encode(body).decode("ascii")}
