"""Authorization: the grant that a token gives, and whether it is still valid."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from math import inf
from typing import Literal

from ..errors import Unauthorized
from .narrowed_tokens import CAVEATS, NarrowedToken
from .tokens import DIGESTS, Digest, find_opening, opening_paths

Action = Literal["publish", "subscribe", "operate"]
CACHED = 4096
"""How many valid tokens are cached of each kind."""

_ONLY: dict[Action, str] = {"publish": "pub", "subscribe": "sub"}


@dataclass(frozen=True, slots=True)
class Grant:
    """The permissions of a valid token, beside the path that it opens."""

    key: str = field(default="", repr=False)
    """The key that the token was made with: the grant ends with it."""
    digest: Digest = "sha1"
    path: str = ""
    """The path that the token was made for."""
    names: tuple[str, ...] = ()
    """The names by which it can be revoked."""
    expires_s: float = inf
    """When it ends, in seconds since 1970."""
    since_us: int = 0
    """Messages that were stored before are not shown."""
    live_only: bool = False
    cursor: str = ""
    """The only cursor or group that it may use; empty: any."""

    @property
    def holder(self) -> object:
        """The holder of the token: all that is narrowed from one token has one holder, until it gets a name."""
        return self.key, self.path, self.names[:1]


class Authorizer:
    """Grants by token. The tokens of several keys are valid; only the first key makes new ones."""

    def __init__(
        self,
        keys: Sequence[str],
        *,
        digests: Sequence[Digest] = ("sha1", "sha256"),
        live_only: Collection[Digest] = (),
        revoked: Collection[str] = (),
    ) -> None:
        """`live_only`: plain tokens of these digests, and what is narrowed from them, show no history."""
        self._keys = tuple(keys)
        self._digests = tuple(digests)
        self._live_only = frozenset(live_only)
        self._revoked = frozenset(revoked)
        # errors are not cached, and so nothing of untrusted clients, who may send any number of tokens and paths
        self._plain_grant = lru_cache(CACHED)(partial(_plain_grant, self._keys, self._digests, self._live_only))
        self._genuine = lru_cache(CACHED)(partial(_genuine, self._keys))

    def grant(self, token: str, path: str, action: Action, *, now_s: float) -> Grant | None:
        """The grant of a token for an action at `path`, None if it has none. Every comparison takes constant time."""
        try:
            return self._plain_grant(token, path)
        except Unauthorized:
            return self._narrowed_grant(token, path, action, now_s)

    def is_valid(self, grant: Grant, *, now_s: float) -> bool:
        """Whether a grant is still valid: its key, its digest, its names, its time."""
        return (
            grant.key in self._keys
            and grant.digest in self._digests
            and now_s < grant.expires_s
            and self._revoked.isdisjoint(grant.names)
        )

    def _narrowed_grant(self, token: str, path: str, action: Action, now_s: float) -> Grant | None:
        try:
            narrowed, key = self._genuine(token)
        except ValueError:
            return None
        opening = frozenset(opening_paths(path))
        caveats = _read(narrowed.caveats)
        if narrowed.path not in opening or caveats is None or not _allow(caveats, opening, action):
            return None
        grant = self._grant(key, narrowed, caveats)
        return grant if self.is_valid(grant, now_s=now_s) else None

    def _grant(self, key: str, narrowed: NarrowedToken, caveats: "Caveats") -> Grant:
        """The grant that the caveats leave, each of which can only take away."""
        return Grant(
            key,
            narrowed.digest,
            narrowed.path,
            names=tuple(caveats["name"]),
            expires_s=min(map(int, caveats["expires"]), default=inf),
            since_us=max(map(int, caveats["since"]), default=0) * 1_000_000,
            live_only=bool(caveats["live"]) or narrowed.digest in self._live_only,
            cursor="".join(set(caveats["cursor"])),
        )


def _plain_grant(
    keys: Sequence[str], digests: Collection[Digest], live_only: Collection[Digest], token: str, path: str
) -> Grant:
    """The grant of a plain token; raises `Unauthorized`.

    A token that is cached is found by its hash, which is randomly keyed, and so tells nothing of other tokens.
    """
    for key in keys:
        opening = find_opening(token, key, path, digests)
        if opening is not None:
            digest = next(digest for digest, length in DIGESTS.items() if length == len(token))
            return Grant(key, digest, opening, live_only=digest in live_only)
    raise Unauthorized


def _genuine(keys: Sequence[str], token: str) -> tuple[NarrowedToken, str]:
    """A narrowed token and the key that it begins with; raises `ValueError`."""
    narrowed = NarrowedToken.parse(token)
    for key in keys:
        if narrowed.is_made_with(key):
            return narrowed, key
    raise ValueError("not made with a key of this hub")


Caveats = Mapping[str, Sequence[str]]
"""The values of all caveats, by the name of the caveat."""


def _read(caveats: Sequence[str]) -> Caveats | None:
    """The caveats by name; None if there is one that this hub does not understand, which takes everything away."""
    values: dict[str, list[str]] = {name: [] for name in CAVEATS}
    for caveat in caveats:
        name, _, value = caveat.partition("=")
        if name not in CAVEATS or not CAVEATS[name].fullmatch(value):
            return None
        values[name].append(value)
    return values


def _allow(caveats: Caveats, opening: Collection[str], action: Action) -> bool:
    """Whether all caveats allow the action where any of the `opening` paths opens.

    What shows a part of the history, or one cursor, is for a subscription: an operator sees, and moves, all of them.
    """
    return (
        all(path in opening for path in caveats["path"])
        and all(only == _ONLY.get(action) for only in caveats["only"])
        and len(set(caveats["cursor"])) <= 1
        and not (action == "operate" and any(caveats[name] for name in ("live", "since", "cursor")))
    )
