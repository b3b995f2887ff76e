"""Paths of a hub, and the actions and topics that they name."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal
from urllib.parse import quote, unquote

from ..errors import MethodNotAllowed, NotFound, Refused
from . import pasted
from .topics import RECURSIVE, RESERVED, UNSAFE, TopicFilter, check_topic, decode_path

RouteAction = Literal["publish", "subscribe"]

# Paths for operators. `hookbot` is in `RESERVED`, so no topic has one of them.
API = "/hookbot/v1/"
ALERTS = f"{API}alerts"
CURSORS = f"{API}cursors"
HUBS = f"{API}hubs"
LIVE = f"{API}live"
MESSAGES = f"{API}messages"
QUOTAS = f"{API}quotas"
REDELIVER = f"{API}redeliver"
REFUSALS = f"{API}refusals"
RETRY = f"{API}retry"
ROUTERS = f"{API}routers"
SESSION = f"{API}session"
SOURCES = f"{API}sources"
BUDGETS = f"{API}budgets"
STATS = f"{API}stats"
SUBSCRIPTIONS = f"{API}subscriptions"
TOKENS = f"{API}tokens"
TOPICS = f"{API}topics"
HISTORY = (MESSAGES, LIVE, REDELIVER, RETRY, TOPICS)
"""Beginnings of the paths that show stored messages."""

METHODS: dict[RouteAction, str] = {"publish": "POST", "subscribe": "GET"}
_ACTIONS = {method: action for action, method in METHODS.items()}
_APP = frozenset({b"status", b"healthz", b"readyz", b"metrics", b"hookbot", b""})
# A host without a scheme, where nothing but a path can follow.
_HUB = re.compile("[^/]+/unsafe/(pub|sub)/")
# A query, a fragment, and what other systems write for everything beneath a topic.
_BEHIND = re.compile(r"[?#].*|(?<=/)(\*+|\+)$", re.DOTALL)
_PREFIXES: tuple[tuple[str, RouteAction, str], ...] = (
    ("/pub/", "publish", ""),
    ("/sub/", "subscribe", ""),
    ("/unsafe/pub/", "publish", UNSAFE),
    ("/unsafe/sub/", "subscribe", UNSAFE),
)
"""Beginning of a path, the action that it names, and the beginning of the topics beneath it."""


@dataclass(frozen=True, slots=True)
class Route:
    """An action and its topic. `path` is the decoded path of the request, which tokens are made for."""

    action: RouteAction
    path: str
    topic: str


def is_for_app(raw_path: bytes) -> bool:
    """True if only the app serves the path: its first segment is in `_APP`, or contains an escape."""
    first = raw_path[1:].partition(b"/")[0]
    return first in _APP or b"%" in first


# Senders repeat a few paths. Errors are not cached, and a topic has at most 1 KiB, so 2048 routes stay small.
@lru_cache(maxsize=2048)
def find_route(method: str, raw_path: bytes) -> Route:
    """The route of a request; raises `InvalidTopic`, `NotFound` or `MethodNotAllowed`.

    A path without ``pub`` or ``sub`` is itself the topic: POST publishes to it, GET subscribes.
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
    """The action that a decoded path names, or None if it names none, and its topic."""
    for prefix, action, root in _PREFIXES:
        if path.startswith(prefix):
            return action, root + path.removeprefix(prefix)
    return None, path.removeprefix("/")


def topic_meant(text: str) -> str:
    """The topic that people mean by a topic, by the path or the URL of one, or by one with a slash more or less.

    ``/unsafe/stripe/`` is meant by ``unsafe/stripe/``, ``/unsafe/pub/stripe/*`` and ``https://h/unsafe/pub/stripe/?x``,
    and nobody means a character that cannot be seen.
    """
    text = pasted.unquote(pasted.trim(text))
    _, scheme, rest = (f"https://{text}" if _HUB.match(text) else text).partition("://")
    path = "/" + (rest.partition("/")[2] if scheme else text.lstrip("/"))
    path = pasted.as_seen(unquote(_BEHIND.sub("", path), errors="surrogateescape"))
    if path == UNSAFE.rstrip("/"):
        return UNSAFE
    action, topic = split_path(path)
    return path if path.startswith(UNSAFE) and not action else topic


def path_to(action: RouteAction, topic: str) -> str:
    """The decoded path, with ``pub`` or ``sub``, that publishes or subscribes to a topic."""
    root = UNSAFE if topic.startswith(UNSAFE) else ""
    prefix = next(prefix for prefix, its_action, its_root in _PREFIXES if (its_action, its_root) == (action, root))
    return prefix + topic.removeprefix(root)


def path_of(wanted: TopicFilter) -> str:
    """The decoded path that subscribes to `wanted`."""
    return path_to("subscribe", wanted.patterns[0] + (RECURSIVE if len(wanted.patterns) > 1 else ""))


def wanted_at(path: str) -> TopicFilter:
    """The filter of a subscription to the decoded `path`; raises `Refused` if that is not the path of one."""
    try:
        return TopicFilter.parse(find_route("GET", quote(path).encode()).topic)
    except (NotFound, MethodNotAllowed):
        raise Refused(f"{path[:100]!r} is not the path of a subscription, such as /sub/acme/") from None


def _route(method: str, path: str) -> Route:
    action, topic = split_path(path)
    if action:
        return Route(action, path, topic)
    if path == "/" or topic.partition("/")[0] in RESERVED:
        raise NotFound(f"no such path: {path[:100]!r}; publish to /pub/<topic>, subscribe to /sub/<topic>")
    if method not in _ACTIONS:
        raise _not_for(method, path, ", ".join(_ACTIONS))
    return Route(_ACTIONS[method], path, topic)


def _not_for(method: str, path: str, allow: str) -> MethodNotAllowed:
    return MethodNotAllowed(f"{method[:20]} is not allowed at {path[:100]!r}; use {allow}", allow=allow)
