"""Publish requests before their body is read: topic, query and headers, checked."""

from difflib import get_close_matches
from typing import Self
from urllib.parse import parse_qsl

from ..errors import Refused
from .request import Request
from .topics import is_unsafe

# GitHub limits payloads to 25 MB.
DEFAULT_MAX_BODY_BYTES = 25 << 20
# A loop through several hubs is invisible to each of them, so a limit on hops ends it.
MAX_HOPS = 16
# The longest key that Stripe's API accepts. The log stores a digest of it.
MAX_KEY = 255

METADATA = "extra-metadata"
"""The only parameter of a publish."""
# Up to one letter of five, as in "sinse", but not "sign", which some senders use.
_SIMILAR = 0.75


class PublishRequest:
    """A publish as its sender requests it. Read-only; a plain class as `Request` is."""

    __slots__ = ("hops", "http", "idempotency_key", "topic")

    def __init__(self, http: Request, topic: str, hops: tuple[str, ...] = (), idempotency_key: str = "") -> None:
        self.http = http
        self.topic = topic
        self.hops = hops
        """Routers that the message passed through, as its sender claims; empty for unsafe topics (not trusted)."""
        self.idempotency_key = idempotency_key

    @classmethod
    def read(cls, request: Request, topic: str) -> Self:
        """The publish that query and headers of a request describe; raises `Refused` if one of them is invalid."""
        with_token = not is_unsafe(topic)
        if request.query:
            _check_parameters(request.query, with_token=with_token)
        hops = _hops(request) if with_token else ()
        return cls(request, topic, hops, idempotency_key(request))

    @property
    def declared_bytes(self) -> int:
        """Declared length of the body; 0 if none was declared."""
        declared = self.http.header("content-length")
        return int(declared[:18]) if declared.isdecimal() else 0


def _check_parameters(query: str, *, with_token: bool) -> None:
    """Raise `Refused` for other metadata than GitHub's; `with_token` also for misspelt ones, and for `since`.

    Any other parameter is a part of the message. Senders without a token add what they like.
    """
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name == METADATA:
            if value != "github":
                raise Refused(f"400 Bad Request (bad ?extra-metadata=): the only value is 'github', not {value[:40]!r}")
        elif with_token and get_close_matches(name, [METADATA], cutoff=_SIMILAR):
            raise Refused(f"unknown query parameter {name[:40]!r}: did you mean {METADATA!r}?")
        elif with_token and get_close_matches(name, ["since"], cutoff=_SIMILAR):
            raise Refused(f"a publish has no query parameter {name[:40]!r}: 'since' is for subscriptions")


def idempotency_key(request: Request) -> str:
    """The ``Idempotency-Key`` of a request, empty if it has none; raises `Refused` if it is too long."""
    key = request.header("idempotency-key")
    if len(key) > MAX_KEY:
        raise Refused(f"an Idempotency-Key has at most {MAX_KEY} characters, not {len(key)}")
    return key


def _hops(request: Request) -> tuple[str, ...]:
    sent = request.sent("hookbot-hops")
    hops = tuple(hop.strip() for hop in sent.split(",") if hop.strip()) if sent else ()
    if len(hops) > MAX_HOPS:
        raise Refused(f"the message came through {len(hops)} routers, more than {MAX_HOPS}: is there a loop?")
    return hops
