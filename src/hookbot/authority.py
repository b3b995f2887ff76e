"""The authority: which tokens the hub honours, and for what."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import inf
from typing import Literal

from .errors import Unauthorized
from .narrowed import Narrowed
from .tokens import Digest, find_opening, opening_paths

Action = Literal["publish", "subscribe", "operate"]
_ONLY: dict[str, Action] = {"pub": "publish", "sub": "subscribe"}


@dataclass(frozen=True, slots=True)
class Grant:
    """What a good token allows, beside the path that it opens."""

    key: str = field(default="", repr=False)
    """What it was made with: a grant ends with its key."""
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
    def shows_all_history(self) -> bool:
        """Whether it sets no limit on how far back a subscription may start."""
        return not self.live_only and not self.since_us


class Authority:
    """Says what a token allows. The tokens of several keys are good; only the first makes new ones."""

    def __init__(
        self,
        keys: Sequence[str],
        *,
        digests: Sequence[Digest] = ("sha1", "sha256"),
        revoked: Collection[str] = (),
        plain_live_only: bool = False,
    ) -> None:
        self._keys = tuple(keys)
        self._digests = tuple(digests)
        self._revoked = frozenset(revoked)

        @lru_cache(maxsize=4096)
        def plain_grant(token: str, path: str) -> Grant:
            """Raises `Unauthorized`, and so remembers nothing of strangers, who may come with any number of paths.

            What was good before is found by its hash, which is randomly keyed, and so tells nothing of other tokens.
            """
            for key in keys:
                opening = find_opening(token, key, path, digests)
                if opening is not None:
                    return Grant(key, opening, live_only=plain_live_only)
            raise Unauthorized

        self._plain_grant = plain_grant

    def grant(self, token: str, path: str, action: Action, *, now_s: float) -> Grant | None:
        """What the token allows at `path`; None if that is nothing. Every comparison takes constant time."""
        try:
            return self._plain_grant(token, path)
        except Unauthorized:
            return self._narrowed_grant(token, path, action, now_s)

    def stands(self, grant: Grant, *, now_s: float) -> bool:
        """Whether what was granted once still is: its key, its names, its time."""
        return grant.key in self._keys and now_s < grant.expires_s and self._revoked.isdisjoint(grant.names)

    def _narrowed_grant(self, token: str, path: str, action: Action, now_s: float) -> Grant | None:
        try:
            narrowed = Narrowed.parse(token)
            opening = frozenset(opening_paths(path))
            if narrowed.path not in opening or narrowed.digest not in self._digests:
                return None
            keys = [key for key in self._keys if narrowed.is_made_with(key)]
            grant = _grant(narrowed, opening, action, keys[0]) if keys else None
        except ValueError:
            return None
        return grant if grant and self.stands(grant, now_s=now_s) else None


def _grant(narrowed: Narrowed, opening: Collection[str], action: Action, key: str) -> Grant | None:
    """What the caveats leave, of which each can only take away; None for nothing. Raises `ValueError`."""
    values: dict[str, list[str]] = {}
    for caveat in narrowed.caveats:
        name, _, value = caveat.partition("=")
        values.setdefault(name, []).append(value)
    allowed = (
        all(path in opening for path in values.pop("path", ()))
        and all(_ONLY.get(only) == action for only in values.pop("only", ()))
        and len(set(values.get("cursor", ()))) <= 1
    )
    grant = Grant(
        key=key,
        path=narrowed.path,
        names=tuple(values.pop("name", ())),
        expires_s=min(map(float, values.pop("expires", ())), default=inf),
        since_us=max((int(since) * 1_000_000 for since in values.pop("since", ())), default=0),
        live_only=bool(values.pop("live", ())),
        cursor=values.pop("cursor", [""])[0],
    )
    return grant if allowed and not values else None  # a caveat that this hub does not know takes everything away
