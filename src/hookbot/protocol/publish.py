"""Publishes as they are asked for, before their body: the topic, and what query and headers say."""

from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qsl

from ..errors import Refused
from .paths import Route
from .request import Request
from .topics import is_unsafe

# GitHub's own cap is 25 MB.
DEFAULT_MAX_BODY_BYTES = 25 << 20
# A circle that goes through several hubs is seen by none of them: it ends after so many routers.
MAX_HOPS = 16
# The longest key that Stripe's API takes; the log remembers a digest of it.
MAX_KEY = 255


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """A publish as it was asked for."""

    http: Request
    topic: str
    hops: tuple[str, ...] = ()
    """The routers that the message says it came through; believed of publishers with a token only."""
    idempotency_key: str = ""

    @classmethod
    def read(cls, request: Request, route: Route) -> Self:
        """Read query and headers; raises `Refused`."""
        _check_metadata(request.query)
        hops = () if is_unsafe(route.topic) else _hops(request)
        return cls(request, route.topic, hops, _idempotency_key(request))

    @property
    def declared_bytes(self) -> int:
        """The length of the body as it was declared; 0 where it was not."""
        declared = self.http.header("content-length")
        return int(declared[:18]) if declared.isdecimal() else 0


def _check_metadata(query: str) -> None:
    for name, value in parse_qsl(query, keep_blank_values=True) if query else ():
        if name == "extra-metadata" and value != "github":
            raise Refused(f"400 Bad Request (bad ?extra-metadata=): it can be 'github', not {value[:40]!r}")


def _idempotency_key(request: Request) -> str:
    key = request.header("idempotency-key")
    if len(key) > MAX_KEY:
        raise Refused(f"an Idempotency-Key has at most {MAX_KEY} characters, not {len(key)}")
    return key


def _hops(request: Request) -> tuple[str, ...]:
    sent = request.sent("hookbot-hops")
    hops = tuple(hop.strip() for hop in sent.split(",") if hop.strip()) if sent else ()
    if len(hops) > MAX_HOPS:
        raise Refused(f"a message goes through at most {MAX_HOPS} routers, this one came through {len(hops)}")
    return hops
