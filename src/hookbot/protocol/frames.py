"""Formats of subscriptions: how messages, gaps and heartbeats become bytes, and how the client reads two of them.

Encoding is slow, so the hub caches the frames of a message by the key of their framing.
"""

import json
import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from ..version import __version__
from .envelope import base64_field, encode_envelope, encode_json, from_envelope, join_object, text_of
from .github_metadata import encode_github_metadata
from .message import Gap, Message, check_id, format_time, parse_time
from .paths import path_of
from .replies import MAX_WAIT_S
from .subscribe import SubscribeRequest
from .topics import TopicFilter

SUBPROTOCOL = "hookbot.v1"

_MEDIA_TYPE = re.compile(r"[!#$%&'*+.^`|~\w-]+/[!#$%&'*+.^`|~\w-]+(?:\s*;[\x20-\x7e]*)?", re.ASCII)


class Framing(Protocol):
    """Encoder of one format. `text`: True if its websocket frames are text, False if they are binary."""

    text: bool

    @property
    def key(self) -> Hashable:
        """Cache key of its frames: framings with equal keys encode a message to the same bytes."""

    def message(self, message: Message) -> bytes:
        """The frame of a message."""

    def gap(self, gap: Gap) -> bytes | None:
        """The frame of a gap before the next message; None if the format has none."""

    def heartbeat(self, id: str) -> bytes | None:
        """The frame that reports that everything up to `id` has been sent; None if the format has none."""


def framing_for(request: SubscribeRequest) -> Framing:
    """The framing of the format that a subscription requests."""
    match request.format:
        case "raw":
            return Raw(request.wanted.subtree)
        case "v1":
            return HookbotV1()
        case "cloudevents":
            return CloudEvents(path_of(request.wanted))
        case "sse":
            return ServerSentEvents(resumable=not request.newest)
    return JsonLines()


def hello(request: SubscribeRequest, last_id: str, **more: str | float) -> bytes:
    """First frame of a ``hookbot.v1`` connection, with the fields `more`; the subscription starts after `last_id`."""
    return _object("hello", {"hub": f"hookbot/{__version__}", "topic": request.topic, "last_id": last_id, **more})


class Raw:
    """The ancestor's frames: the body, or its ``extra-metadata=github`` object if the publish requested that.

    ``topic NUL`` precedes it if more than one topic can match.
    """

    text = False

    def __init__(self, subtree: bool) -> None:
        self.key = "raw", subtree
        self._subtree = subtree

    def message(self, message: Message) -> bytes:
        before = b"%b\0" % message.topic.encode() if self._subtree else b""
        if message.wrapped:
            return encode_github_metadata(message, before=before)
        return b"".join((before, message.body)) if before else message.body

    def gap(self, gap: Gap) -> None:
        return None

    def heartbeat(self, id: str) -> None:
        return None


class HookbotV1:
    """``hookbot.v1``: a JSON object in each text frame."""

    key = "v1"
    text = True

    def message(self, message: Message) -> bytes:
        return encode_envelope(message, type="message")

    def gap(self, gap: Gap) -> bytes:
        return _object("gap", _gap_fields(gap))

    def heartbeat(self, id: str) -> bytes:
        return _object("heartbeat", {"id": id})

    def error(self, title: str) -> bytes:
        """The frame that answers an invalid frame from the client."""
        return _object("error", {"title": title})


class CloudEvents:
    """``cloudevents.json``: CloudEvents 1.0 in JSON, an event in each text frame (CloudEvents WebSockets binding)."""

    text = True

    def __init__(self, path: str) -> None:
        self.key = "cloudevents", path
        self._source = quote(path)

    def message(self, message: Message) -> bytes:
        content_type = message.header("content-type") or ""
        event = {
            "specversion": "1.0",
            "id": message.id,
            "source": self._source,
            "type": "hookbot.message",
            "time": format_time(message.time_us),
            "datacontenttype": content_type if _MEDIA_TYPE.fullmatch(content_type) else "application/octet-stream",
            "data_base64": base64_field(message.body),
        }
        if message.topic:
            event["subject"] = message.topic
        return join_object(event)

    def gap(self, gap: Gap) -> bytes:
        event = {"specversion": "1.0", "id": f"gap-before-{gap.before}", "source": self._source, "type": "hookbot.gap"}
        return encode_json({**event, "datacontenttype": "application/json", "data": _gap_fields(gap)}).encode("ascii")

    def heartbeat(self, id: str) -> None:
        return None


class ServerSentEvents:
    """``text/event-stream`` (HTML Living Standard, section 9.2). Heartbeats have ids, so clients resume after them.

    Without `resumable`, events have none: a client, which reconnects by itself, begins again.
    """

    text = True

    def __init__(self, *, resumable: bool = True) -> None:
        self.key = "sse", resumable
        self._resumable = resumable

    def message(self, message: Message) -> bytes:
        return encode_envelope(message, before=_event_head("message", self._event_id(message.id)), after=b"\n\n")

    def gap(self, gap: Gap) -> bytes:
        return _event("gap", encode_json(_gap_fields(gap)).encode("ascii"))

    def heartbeat(self, id: str) -> bytes:
        return _event("heartbeat", encode_json({"id": id}).encode("ascii"), self._event_id(id))

    def _event_id(self, id: str) -> str:
        return id if self._resumable else ""


class JsonLines:
    """``application/x-ndjson``: a JSON object in each line, for messages, gaps and heartbeats."""

    key = "jsonl"
    text = True

    def message(self, message: Message) -> bytes:
        return encode_envelope(message, after=b"\n")

    def gap(self, gap: Gap) -> bytes:
        return _object("gap", _gap_fields(gap)) + b"\n"

    def heartbeat(self, id: str) -> bytes:
        return _object("heartbeat", {"id": id}) + b"\n"


def _object(type: str, fields: dict[str, Any]) -> bytes:
    return encode_json({"type": type, **fields}).encode("ascii")


def _event(event: str, data: bytes, id: str = "") -> bytes:
    return _event_head(event, id) + data + b"\n\n"


def _event_head(event: str, id: str) -> bytes:
    return (f"id: {id}\nevent: {event}\ndata: " if id else f"event: {event}\ndata: ").encode("ascii")


def _gap_fields(gap: Gap) -> dict[str, Any]:
    return {"reason": gap.reason, "after": gap.after, "before": gap.before}


_IDS_OF_HELLO = ("last_id", "position", "generation")


@dataclass(frozen=True, slots=True)
class Hello:
    """First frame: messages after `last_id` follow. A cursor or group has acknowledged everything up to `position`.

    Its `generation` is another one after it was moved by hand, or deleted and created again. `time_us` is the time of
    the hub, and `reply_timeout_s` how long senders wait there, if the subscription gives replies.
    """

    hub: str
    last_id: str | None
    position: str | None = None
    generation: str | None = None
    time_us: int | None = None
    reply_timeout_s: float = MAX_WAIT_S


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Heartbeat: every message of this subscription up to `id` has been sent."""

    id: str


@dataclass(frozen=True, slots=True)
class ErrorFrame:
    """Report that the hub rejected a frame from the client."""

    title: str


Frame = Hello | Message | Gap | Heartbeat | ErrorFrame


def parse_frame(data: str | bytes) -> Frame | None:
    """The content of a ``hookbot.v1`` frame; None if its type is unknown.

    Raises `ValueError` if the frame is binary, is not a JSON object, or lacks a field.
    """
    if isinstance(data, bytes):
        raise ValueError(f"not a frame of {SUBPROTOCOL}: it is binary")
    try:
        fields = json.loads(data)
    except ValueError:
        raise ValueError(f"not a frame of {SUBPROTOCOL}: it is not JSON") from None
    except RecursionError:
        raise ValueError(f"not a frame of {SUBPROTOCOL}: it is nested too deeply") from None
    if isinstance(fields, dict) and fields.get("type") == "message":
        return from_envelope(fields)
    try:
        match fields["type"]:
            case "heartbeat":
                return Heartbeat(check_id(fields["id"]))
            case "gap":
                return Gap(text_of(fields["reason"]), _id_or_none(fields, "after"), check_id(fields["before"]))
            case "hello":
                last_id, position, generation = (_id_or_none(fields, name) for name in _IDS_OF_HELLO)
                time_us = parse_time(text_of(fields["time"])) if "time" in fields else None
                wait_s = float(fields.get("reply_timeout_s", MAX_WAIT_S))
                return Hello(text_of(fields.get("hub", "")), last_id, position, generation, time_us, wait_s)
            case "error":
                return ErrorFrame(text_of(fields.get("title", "")))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"not a frame of {SUBPROTOCOL}: a field is missing or malformed ({error})") from None
    return None


def parse_raw(data: str | bytes, wanted: TopicFilter, *, time_us: int) -> Message:
    """The message in a raw frame, without id and headers; `time_us` is the time at which it arrived."""
    body = data.encode() if isinstance(data, str) else data
    topic = wanted.patterns[0]
    if wanted.subtree:
        name, _, body = body.partition(b"\0")
        topic = name.decode("utf-8", "replace")
    return Message(topic, body, time_us=time_us)


def _id_or_none(fields: dict[str, Any], name: str) -> str | None:
    return None if (id := fields.get(name)) is None else check_id(id)


def format_ack(*, up_to: str | None = None, each: Sequence[str] = ()) -> str:
    """The frame that acknowledges everything up to an id (cursor), or each of several ids (group)."""
    return encode_json({"type": "ack", "ids": each} if up_to is None else {"type": "ack", "id": up_to})
