"""Paths of a hub: the one table of what they mean, to publish to a topic or to subscribe to one."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal
from urllib.parse import quote

from ..errors import MethodNotAllowed, NotFound
from .topics import RECURSIVE, RESERVED, UNSAFE, TopicFilter, check_topic, decode_path

RouteAction = Literal["publish", "subscribe"]

CURSORS = "/hookbot/v1/cursors"
MESSAGES = "/hookbot/v1/messages/"
ROUTERS = "/hookbot/v1/routers"
"""The operators' paths."""

METHODS: dict[RouteAction, str] = {"publish": "POST", "subscribe": "GET"}
_ACTIONS = {method: action for action, method in METHODS.items()}
_APP = frozenset({b"status", b"healthz", b"readyz", b"metrics", b"hookbot", b""})
_PREFIXES: tuple[tuple[str, RouteAction, str], ...] = (
    ("/pub/", "publish", ""),
    ("/sub/", "subscribe", ""),
    ("/unsafe/pub/", "publish", UNSAFE),
    ("/unsafe/sub/", "subscribe", UNSAFE),
)
"""What a path begins with, the action that this names, and what the topics beneath it begin with."""


@dataclass(frozen=True, slots=True)
class Route:
    """An action and the topic it is for; tokens are made of `path`."""

    action: RouteAction
    path: str
    topic: str


def is_for_app(raw_path: bytes) -> bool:
    """True for paths that only the app knows: its first segment is the hub's own, or not plain to see."""
    first = raw_path[1:].partition(b"/")[0]
    return first in _APP or b"%" in first


@lru_cache(maxsize=2048)
def find_route(method: str, raw_path: bytes) -> Route:
    """The route of a request; raises `InvalidTopic`, `NotFound` or `MethodNotAllowed`.

    A path that names no action is a topic by itself: POST publishes, GET subscribes.
    """
    path = decode_path(raw_path)
    route = _route(method, path)
    if method != METHODS[route.action]:
        raise _not_for(method, path, METHODS[route.action])
    if route.action == "publish":
        check_topic(route.topic)
    else:
        TopicFilter.parse(route.topic)
    return route


def split_path(path: str) -> tuple[RouteAction | None, str]:
    """The action that a decoded path names (None where it names none) and the topic behind it."""
    for prefix, action, root in _PREFIXES:
        if path.startswith(prefix):
            return action, root + path.removeprefix(prefix)
    return None, path.removeprefix("/")


def path_to(action: RouteAction, topic: str) -> str:
    """The path that publishes or subscribes to a topic, with its action named."""
    root = UNSAFE if topic.startswith(UNSAFE) else ""
    prefix = next(prefix for prefix, its_action, its_root in _PREFIXES if (its_action, its_root) == (action, root))
    return prefix + topic.removeprefix(root)


def path_of(wanted: TopicFilter) -> str:
    """The path that subscribes to `wanted`."""
    return path_to("subscribe", wanted.patterns[0] + (RECURSIVE if len(wanted.patterns) > 1 else ""))


def wanted_at(path: str) -> TopicFilter:
    """The filter of a subscription to `path`, which is percent-decoded; raises `Refused` if it is no such path."""
    return TopicFilter.parse(find_route("GET", quote(path).encode()).topic)


def _route(method: str, path: str) -> Route:
    action, topic = split_path(path)
    if action:
        return Route(action, path, topic)
    if path == "/" or topic.partition("/")[0] in RESERVED:
        raise NotFound(f"nothing lives at {path[:100]!r}; publish to /pub/<topic>, subscribe to /sub/<topic>")
    if method not in _ACTIONS:
        raise _not_for(method, path, ", ".join(_ACTIONS))
    return Route(_ACTIONS[method], path, topic)


def _not_for(method: str, path: str, allow: str) -> MethodNotAllowed:
    return MethodNotAllowed(f"{method[:20]} is not for {path[:100]!r}", allow=allow)
