"""The authority: which tokens the hub honours, and for what."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import inf
from typing import Literal

from ..errors import Unauthorized
from .narrowed_tokens import CAVEATS, NarrowedToken
from .tokens import DIGESTS, Digest, find_opening, opening_paths

Action = Literal["publish", "subscribe", "operate"]
_ONLY: dict[Action, str] = {"publish": "pub", "subscribe": "sub"}


@dataclass(frozen=True, slots=True)
class Grant:
    """What a good token allows, beside the path that it opens."""

    key: str = field(default="", repr=False)
    """What it was made with: a grant ends with its key."""
    digest: Digest = "sha1"
    path: str = ""
    """What it was made for."""
    names: tuple[str, ...] = ()
    """What it can be revoked by."""
    expires_s: float = inf
    """When it ends, in seconds since 1970."""
    since_us: int = 0
    """Nothing that was stored before is shown."""
    live_only: bool = False
    cursor: str = ""
    """The only cursor or group that it may use; empty: any."""

    @property
    def holder(self) -> object:
        """Whom it was given to: all that is narrowed from one token is one holder's, until it gets a name."""
        return self.key, self.path, self.names[:1]


class Authorizer:
    """Says what a token allows. The tokens of several keys are good; only the first makes new ones."""

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

        @lru_cache(maxsize=4096)
        def plain_grant(token: str, path: str) -> Grant:
            """Raises `Unauthorized`, and so remembers nothing of strangers, who may come with any number of paths.

            What was good before is found by its hash, which is randomly keyed, and so tells nothing of other tokens.
            """
            for key in keys:
                opening = find_opening(token, key, path, digests)
                if opening is not None:
                    digest = next(digest for digest, length in DIGESTS.items() if length == len(token))
                    return Grant(key, digest, opening, live_only=digest in live_only)
            raise Unauthorized

        @lru_cache(maxsize=4096)
        def genuine(token: str) -> tuple[NarrowedToken, str]:
            """A narrowed token and the key that it begins with; raises `ValueError`, and remembers nothing then."""
            narrowed = NarrowedToken.parse(token)
            for key in keys:
                if narrowed.is_made_with(key):
                    return narrowed, key
            raise ValueError("not made with a key of this hub")

        self._plain_grant = plain_grant
        self._genuine = genuine

    def grant(self, token: str, path: str, action: Action, *, now_s: float) -> Grant | None:
        """What the token allows at `path`; None if that is nothing. Every comparison takes constant time."""
        try:
            return self._plain_grant(token, path)
        except Unauthorized:
            return self._narrowed_grant(token, path, action, now_s)

    def is_valid(self, grant: Grant, *, now_s: float) -> bool:
        """Whether what was granted once still is: its key, its digest, its names, its time."""
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
        """What the caveats leave, each of which can only take away."""
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


Caveats = Mapping[str, Sequence[str]]
"""For each name of a caveat what all caveats of that name say."""


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
