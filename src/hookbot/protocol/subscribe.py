"""Subscribe requests: topics, start, end, format and acknowledgements."""

import re
from dataclasses import dataclass
from typing import Literal, Self

from ..errors import Refused, UpgradeRequired
from .paths import Route
from .replies import REPLY
from .request import Request
from .since import FromOldest, Since, parse_duration, parse_since
from .topics import TopicFilter

Format = Literal["raw", "v1", "cloudevents", "sse", "jsonl"]
SUBPROTOCOLS: dict[str, Format] = {"hookbot.raw": "raw", "hookbot.v1": "v1", "cloudevents.json": "cloudevents"}

# Enough to keep a fast consumer busy for a round trip; the hub remembers every one of them.
MAX_UNACKED = 1000
# Most handlers take seconds; a message of a member that hangs is delivered again after a minute.
ACK_TIMEOUT_S = 60
# The longest visibility timeout of Amazon SQS, which groups resemble.
MAX_ACK_TIMEOUT_S = 12 * 3600
# Proxies, such as nginx, give up on a server that says nothing for a minute.
MAX_WAIT_S = 60

UNSAFE_HEADER = "X-Hookbot-Unsafe-Is-Ok"
UNSAFE_HEADER_VALUE = "I understand the security implications"
"""Header value required of subscriptions to unsafe topics, to which anybody may publish."""

# The ancestor has none of these parameters, so a plain GET with one requests a stream, even without an Accept header.
_HISTORY = frozenset({"since", "limit", "follow", "wait"})
PARAMETERS = _HISTORY | {"order", "cursor", "group", "takeover", "key", "max_unacked", "ack_timeout", REPLY, "token"}
"""Names of all query parameters of a subscription."""
_NUMBER = re.compile(r"[0-9]{1,10}")
_NAME = re.compile(r"[A-Za-z0-9._~-]{1,128}")


@dataclass(frozen=True, slots=True)
class SubscribeRequest:
    """A subscription as its client requests it."""

    wanted: TopicFilter
    path: str
    topic: str
    format: Format
    subprotocol: str | None = None
    since: Since | None = None
    follow: bool = True
    wait_s: int = 0
    """Longest time that a long poll waits for a message; 0 for what is no long poll."""
    limit: int | None = None
    newest: bool = False
    cursor: str = ""
    group: str = ""
    takeover: bool = False
    by_topic: bool = False
    max_unacked: int = MAX_UNACKED
    ack_timeout_s: int = ACK_TIMEOUT_S
    reply: bool = False

    @classmethod
    def read(cls, request: Request, route: Route, *, websocket: bool, now_us: int) -> Self:
        """The subscription that query and headers of a request describe; raises `Refused` if they are invalid.

        `websocket`: True if the request is a handshake. `now_us`: the time from which durations count back.
        """
        subprotocol = (
            next((offer for offer in offered_subprotocols(request) if offer in SUBPROTOCOLS), None)
            if websocket
            else None
        )
        # The ancestor ignores queries of raw subscriptions.
        if not websocket or SUBPROTOCOLS.get(subprotocol or "", "raw") != "raw":
            request.check_names(PARAMETERS)
        asked = request.parameters
        wait_s = _wait_s(asked)
        subscribe = cls(
            wanted=TopicFilter.parse(route.topic),
            path=route.path,
            topic=route.topic,
            format=SUBPROTOCOLS[subprotocol or "hookbot.raw"] if websocket else _streaming_format(request),
            subprotocol=subprotocol,
            since=_since(request, now_us),
            # A poll ends by itself, but waits for what is new.
            follow=_choice(asked, "follow", {"1": True, "0": False}, True) or wait_s > 0,
            wait_s=wait_s,
            limit=_count(asked, "limit"),
            newest=_choice(asked, "order", {"newest": True, "oldest": False}, False),
            cursor=_name(asked, "cursor"),
            group=_name(asked, "group"),
            takeover=_choice(asked, "takeover", {"1": True, "0": False}, False),
            by_topic=_choice(asked, "key", {"topic": True}, False),
            max_unacked=_count(asked, "max_unacked", MAX_UNACKED) or MAX_UNACKED,
            ack_timeout_s=_ack_timeout_s(asked),
            reply=_replies(asked),
        )
        _check_combination(subscribe)
        return subscribe

    @property
    def needs_app(self) -> bool:
        """True if the fan-out cannot serve it: it acknowledges, replies, has a limit, or does not follow."""
        return bool(self.cursor or self.group or self.reply or self.limit or not self.follow)


def offered_subprotocols(request: Request) -> list[str]:
    """The subprotocols that a websocket handshake offers, in its order."""
    sent = request.sent("sec-websocket-protocol")
    return [offer.strip() for offer in sent.split(",") if offer.strip()] if sent else []


def _since(request: Request, now_us: int) -> Since | None:
    asked = request.parameters
    since = request.header("last-event-id") or asked.get("since")
    if since is not None:
        return parse_since(since, now_us=now_us)
    return FromOldest() if asked.get("follow") == "0" and "cursor" not in asked else None


def _streaming_format(request: Request) -> Format:
    accept = request.header("accept").lower()
    if "text/event-stream" in accept:
        return "sse"
    if "ndjson" in accept or "application/json" in accept or not _HISTORY.isdisjoint(request.parameters):
        return "jsonl"
    raise UpgradeRequired(
        "subscribe with a websocket, or with 'Accept: text/event-stream' or 'Accept: application/x-ndjson'"
    )


def _check_combination(request: SubscribeRequest) -> None:
    if request.cursor and request.group:
        raise Refused("use either a cursor or a group, not both")
    if (request.cursor or request.group) and request.format != "v1":
        raise Refused("a cursor or a group needs acknowledgements: use the websocket subprotocol hookbot.v1")
    if request.wait_s and request.format != "jsonl":
        raise Refused("wait needs JSON lines: a plain GET, or one with 'Accept: application/x-ndjson'")
    if request.reply and request.format != "v1":
        raise Refused("a reply is a frame of the websocket subprotocol hookbot.v1: use that")
    if request.newest and request.follow:
        raise Refused("order=newest needs follow=0, without wait")
    if request.cursor and request.newest:
        raise Refused("order=newest cannot be combined with a cursor, which only moves forward")
    if request.group and not request.follow:
        raise Refused("follow=0 cannot be combined with a group, which never ends")


def _choice(asked: dict[str, str], name: str, choices: dict[str, bool], default: bool) -> bool:
    value = asked.get(name)
    if value is None:
        return default
    if value not in choices:
        raise Refused(f"{name} must be one of {', '.join(choices)}, not {value[:40]!r}")
    return choices[value]


def _replies(asked: dict[str, str]) -> bool:
    return REPLY in asked and _choice({REPLY: asked[REPLY] or "1"}, REPLY, {"1": True, "0": False}, False)


def _count(asked: dict[str, str], name: str, at_most: int = 10**9) -> int | None:
    value = asked.get(name)
    if value is None:
        return None
    if not _NUMBER.fullmatch(value) or not 0 < int(value) <= at_most:
        raise Refused(f"{name} must be a number from 1 to {at_most}, not {value[:40]!r}")
    return int(value)


def _wait_s(asked: dict[str, str]) -> int:
    if "wait" not in asked:
        return 0
    if asked.get("follow") == "1":
        raise Refused("wait cannot be combined with follow=1, which never ends")
    return _seconds(asked, "wait", MAX_WAIT_S, f"{MAX_WAIT_S}s")


def _ack_timeout_s(asked: dict[str, str]) -> int:
    return _seconds(asked, "ack_timeout", MAX_ACK_TIMEOUT_S, "12h") if "ack_timeout" in asked else ACK_TIMEOUT_S


def _seconds(asked: dict[str, str], name: str, at_most: int, longest: str) -> int:
    try:
        seconds = parse_duration(asked[name])
    except ValueError:
        seconds = 0
    if not 1 <= seconds <= at_most:
        raise Refused(f"{name} must be a duration from 1s to {longest}, not {asked[name][:40]!r}")
    return seconds


def _name(asked: dict[str, str], name: str) -> str:
    value = asked.get(name)
    if value is None:
        return ""
    return check_name(name, value)


def check_name(what: str, value: str) -> str:
    """The value unchanged, if it can be the name of a cursor or a group. Raises `Refused`."""
    if not _NAME.fullmatch(value):
        raise Refused(f"{what} must have 1 to 128 characters, of letters, digits and ._~-, not {value[:40]!r}")
    return value
