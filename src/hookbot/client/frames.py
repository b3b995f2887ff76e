"""What stands in the frames of a subscription: the objects of ``hookbot.v1``, and the ancestor's raw frames.

hub → client   hello, message, gap, heartbeat, error      a JSON object each, told apart by "type"
client → hub   ack
raw            body, or topic NUL body for a subtree
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from ..protocol.message import Gap, Message, encode_json, from_envelope
from ..protocol.topics import TopicFilter

SUBPROTOCOL = "hookbot.v1"


@dataclass(frozen=True, slots=True)
class Hello:
    """The first frame. Everything after `last_id` will come; up to `position`, the hub knows it to be done."""

    hub: str
    last_id: str | None
    position: str | None = None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Everything of this subscription up to `id` has been sent."""

    id: str


@dataclass(frozen=True, slots=True)
class ErrorFrame:
    """The hub did not understand something."""

    title: str


Frame = Hello | Message | Gap | Heartbeat | ErrorFrame


def parse_frame(data: str | bytes) -> Frame | None:
    """Read a frame of ``hookbot.v1``; None for a type that this version does not know; raises `ValueError`."""
    if isinstance(data, bytes):
        raise ValueError("a binary frame")
    fields = json.loads(data)
    try:
        match fields["type"]:
            case "message":
                return from_envelope(fields)
            case "heartbeat":
                return Heartbeat(fields["id"])
            case "gap":
                return Gap(fields["reason"], fields.get("after"), fields["before"])
            case "hello":
                return Hello(fields.get("hub", ""), fields.get("last_id"), fields.get("position"))
            case "error":
                return ErrorFrame(fields.get("title", ""))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a frame of {SUBPROTOCOL}: {error!r}") from None
    return None


def parse_raw(data: str | bytes, wanted: TopicFilter, *, time_us: int) -> Message:
    """Read a raw frame, which has no id and no headers; `time_us` is when it arrived."""
    body = data.encode() if isinstance(data, str) else data
    topic = wanted.patterns[0]
    if wanted.subtree:
        name, _, body = body.partition(b"\0")
        topic = name.decode("utf-8", "replace")
    return Message(topic, body, time_us=time_us)


def format_ack(*, up_to: str | None = None, each: Sequence[str] = ()) -> str:
    """The acknowledgement of everything up to an id (a cursor), or of each id (a group)."""
    return encode_json({"type": "ack", "ids": each} if up_to is None else {"type": "ack", "id": up_to})
