"""What a path of the hub means: publish to a topic, or subscribe to one."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal
from urllib.parse import quote

from ..errors import MethodNotAllowed, NotFound
from .topics import RECURSIVE, RESERVED, UNSAFE, TopicFilter, check_topic, decode_path

RouteAction = Literal["publish", "subscribe"]

METHODS: dict[RouteAction, str] = {"publish": "POST", "subscribe": "GET"}
_ACTIONS = {method: action for action, method in METHODS.items()}
_APP = frozenset({b"status", b"healthz", b"readyz", b"metrics", b"hookbot", b""})
_PLACES: tuple[tuple[str, RouteAction, str], ...] = (
    ("/pub/", "publish", ""),
    ("/sub/", "subscribe", ""),
    ("/unsafe/pub/", "publish", UNSAFE),
    ("/unsafe/sub/", "subscribe", UNSAFE),
)


@dataclass(frozen=True, slots=True)
class Route:
    """An action and the topic it is for; tokens are made of `path`."""

    action: RouteAction
    path: str
    topic: str


def is_for_app(raw_path: bytes) -> bool:
    """Whether only the app knows this path: its first segment is the hub's own, or not plain to see."""
    first = raw_path[1:].partition(b"/")[0]
    return first in _APP or b"%" in first


@lru_cache(maxsize=2048)
def find(method: str, raw_path: bytes) -> Route:
    """Read the path of a request; raises `InvalidTopic`, `NotFound` or `MethodNotAllowed`.

    A path that begins with neither is a topic by itself: POST publishes, GET subscribes.
    """
    path = decode_path(raw_path)
    place = _place(method, path)
    if method != METHODS[place.action]:
        raise _not_for(method, path, METHODS[place.action])
    if place.action == "publish":
        check_topic(place.topic)
    else:
        TopicFilter.parse(place.topic)
    return place


def path_of(wanted: TopicFilter) -> str:
    """The path that subscribes to `wanted`."""
    topic = wanted.patterns[0] + (RECURSIVE if len(wanted.patterns) > 1 else "")
    return f"{UNSAFE}sub/{topic.removeprefix(UNSAFE)}" if wanted.unsafe else f"/sub/{topic}"


def wanted_at(path: str) -> TopicFilter:
    """What a subscription to `path`, percent-decoded, hears; raises `Refused` if there is none."""
    return TopicFilter.parse(find("GET", quote(path).encode()).topic)


def _place(method: str, path: str) -> Route:
    for prefix, action, unsafe in _PLACES:
        if path.startswith(prefix):
            return Route(action, path, unsafe + path.removeprefix(prefix))
    if path == "/" or path[1:].partition("/")[0] in RESERVED:
        raise NotFound(f"nothing lives at {path[:100]!r}; publish to /pub/<topic>, subscribe to /sub/<topic>")
    if method not in _ACTIONS:
        raise _not_for(method, path, ", ".join(_ACTIONS))
    return Route(_ACTIONS[method], path, path[1:])


def _not_for(method: str, path: str, allow: str) -> MethodNotAllowed:
    return MethodNotAllowed(f"{method[:20]} is not for {path[:100]!r}", allow=allow)
