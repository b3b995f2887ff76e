"""Authorization: the grant that a token gives, and its validity over time."""

from collections.abc import Collection, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from math import inf
from typing import Literal

from ..errors import Unauthorized
from ..protocol.message import format_time
from .narrowed_tokens import CAVEATS, NarrowedToken
from .rejections import plain_rejection
from .tokens import DIGESTS, Digest, find_opening, opening_paths

Action = Literal["publish", "subscribe", "operate"]
CACHED = 4096
"""Size of each cache: of plain tokens by path, and of narrowed ones. A check costs an HMAC for each key and prefix."""

# The end of the year 9999, the last that RFC 3339 can write.
LAST_S = 253_402_300_799

_ONLY: dict[Action, str] = {"publish": "pub", "subscribe": "sub"}


@dataclass(frozen=True, slots=True)
class Grant:
    """Permissions of a valid token."""

    key: str = field(default="", repr=False)
    """Key that the token was made with; the grant ends when the hub drops that key."""
    digest: Digest = "sha1"
    path: str = ""
    """Path that the token was made for."""
    names: tuple[str, ...] = ()
    """Names by which the token can be revoked."""
    expires_s: float = inf
    """Expiry, in seconds since 1970."""
    since_us: int = 0
    """Start of the visible history, in microseconds since 1970; older messages are hidden."""
    live_only: bool = False
    """True if no history is visible at all."""
    cursor: str = ""
    """The cursor or group that every subscription has to use; empty if any or none will do."""
    named: tuple[str, ...] = ()
    """Caveats of the token up to its first name; none if it has no name."""

    @property
    def expires(self) -> str | None:
        """Time at which the token expires, as text; None if it does not."""
        return None if self.expires_s == inf else format_time(int(self.expires_s) * 1_000_000)

    @property
    def holder(self) -> Hashable:
        """Identity for the limit per token: tokens of one key and path share it, unless they are named differently.

        The caveats before the name count, too: adding another holder's name to a token of one's own does not make one
        that holder.
        """
        return self.key, self.path, self.names[:1], self.named


class _Rejected(Exception):
    """The token of a request is not valid for it; the message is the reason, for the client."""


class _NotGenuine(_Rejected):
    """It is no narrowed token, or not made with a key of this hub."""


class Authorizer:
    """Validator of tokens: one made with any of the keys, and not revoked, gets a `Grant`."""

    def __init__(
        self,
        keys: Sequence[str],
        *,
        digests: Sequence[Digest] = ("sha1", "sha256"),
        live_only: Collection[Digest] = (),
        revoked: Collection[str] = (),
    ) -> None:
        """`live_only`: digests whose tokens, plain or narrowed, show no history. `revoked`: names of revoked tokens."""
        self.keys = tuple(keys)
        """Keys that tokens may be made with; the first is that of what the hub itself signs."""
        self._digests = tuple(digests)
        self._live_only = frozenset(live_only)
        self.revoked = frozenset(revoked)
        """Names of tokens that are not valid any more."""
        # lru_cache does not cache exceptions. So an untrusted client, who can send any number of invalid tokens, cannot
        # evict the valid ones.
        self._plain_grant = lru_cache(CACHED)(partial(_plain_grant, self.keys, self._digests, self._live_only))
        self._genuine = lru_cache(CACHED)(partial(_genuine, self.keys))

    def grant(self, token: str, path: str, action: Action, *, now_s: float) -> Grant | None:
        """Grant of a token for an action at `path`, or None if it is not allowed. Comparisons take constant time."""
        try:
            return self._plain_grant(token, path)
        except Unauthorized:
            pass
        try:
            return self._narrowed_grant(token, path, action, now_s)
        except _Rejected:
            return None

    def may_open(self, token: str) -> bool:
        """False if a token opens nothing at all, wherever: so that it is not checked for several paths."""
        if len(token) in DIGESTS.values():
            return True
        with suppress(ValueError):
            return bool(self._genuine(token))
        return False

    def rejection(self, token: str, path: str, action: Action, *, now_s: float) -> str:
        """Reason for which `grant` returns None, for the client."""
        try:
            self._narrowed_grant(token, path, action, now_s)
        except _NotGenuine:
            return plain_rejection(token, self.keys, path, self._digests)
        except _Rejected as error:
            return str(error)
        return "the token was not valid a moment ago; try again"

    def is_valid(self, grant: Grant, *, now_s: float) -> bool:
        """True if the grant has not expired, its names are not revoked, and its key and digest are still accepted."""
        return (
            grant.key in self.keys
            and grant.digest in self._digests
            and now_s < grant.expires_s
            and self.revoked.isdisjoint(grant.names)
        )

    def _narrowed_grant(self, token: str, path: str, action: Action, now_s: float) -> Grant:
        """Grant of a narrowed token. Raises `_Rejected` with the reason."""
        try:
            narrowed, key = self._genuine(token)
        except ValueError:
            raise _NotGenuine from None
        caveats = _read(narrowed.caveats)
        grant = self._grant(key, narrowed, caveats)
        if not self.is_valid(grant, now_s=now_s):
            raise _Rejected(self._why_invalid(grant, now_s))
        _check(narrowed.path, caveats, frozenset(opening_paths(path)), action)
        return grant

    def _why_invalid(self, grant: Grant, now_s: float) -> str:
        if now_s >= grant.expires_s:
            return f"the token expired at {format_time(int(grant.expires_s) * 1_000_000)[:19]}Z"
        if not self.revoked.isdisjoint(grant.names):
            return "the token is revoked"
        return f"this hub takes no tokens made with {grant.digest}"

    def _grant(self, key: str, narrowed: NarrowedToken, caveats: "Caveats") -> Grant:
        """Grant of a narrowed token. Of repeated caveats the strictest applies, so that adding one never widens it."""
        ends = [min(int(end), LAST_S) for end in (*caveats["expires"], *caveats["session"])]
        return Grant(
            key,
            narrowed.digest,
            narrowed.path,
            names=tuple(caveats["name"]),
            expires_s=min(ends, default=inf),
            since_us=min(max(map(int, caveats["since"]), default=0), LAST_S) * 1_000_000,
            live_only=bool(caveats["live"]) or narrowed.digest in self._live_only,
            cursor="".join(set(caveats["cursor"])),
            named=_up_to_name(narrowed.caveats),
        )


def _up_to_name(caveats: Sequence[str]) -> tuple[str, ...]:
    named = next((number for number, caveat in enumerate(caveats, 1) if caveat.startswith("name=")), 0)
    return tuple(caveats[:named])


def _plain_grant(
    keys: Sequence[str], digests: Collection[Digest], live_only: Collection[Digest], token: str, path: str
) -> Grant:
    """Grant of a plain token. Raises `Unauthorized` if it does not open `path`.

    The cache around it compares tokens in variable time, but only after their hashes match; Python keys those
    randomly for each process, so timing reveals nothing about other tokens.
    """
    for key in keys:
        opening = find_opening(token, key, path, digests)
        if opening is not None:
            digest = next(digest for digest, length in DIGESTS.items() if length == len(token))
            return Grant(key, digest, opening, live_only=digest in live_only)
    raise Unauthorized


def _genuine(keys: Sequence[str], token: str) -> tuple[NarrowedToken, str]:
    """Narrowed token, parsed, and the key that it was made with. Raises `ValueError` if malformed or not genuine."""
    narrowed = NarrowedToken.parse(token)
    for key in keys:
        if narrowed.is_made_with(key):
            return narrowed, key
    raise ValueError("the token was not made with a key of this hub")


Caveats = Mapping[str, Sequence[str]]
"""Values of caveats, by name. A caveat may be repeated."""


def _read(caveats: Sequence[str]) -> Caveats:
    """Caveats by name. Raises `_Rejected` if one is unknown or malformed: a newer hub may understand it."""
    values: dict[str, list[str]] = {name: [] for name in CAVEATS}
    for caveat in caveats:
        name, _, value = caveat.partition("=")
        if name not in CAVEATS or not CAVEATS[name].fullmatch(value):
            raise _Rejected(f"the token has a restriction that this hub does not know: {caveat[:80]!r}")
        values[name].append(value)
    return values


def _check(path: str, caveats: Caveats, opening: Collection[str], action: Action) -> None:
    """Raise `_Rejected` unless `path` and all caveats allow the action at what the `opening` paths open.

    A token limited to one cursor or to a part of the history is not for operators, who see and move everything.
    """
    for allowed in (path, *caveats["path"]):
        if allowed not in opening:
            raise _Rejected(f"the token is for {allowed[:100]!r}")
    for only in caveats["only"]:
        if only != _ONLY.get(action):
            raise _Rejected(f"the token is only for /{only}/ paths")
    if len(set(caveats["cursor"])) > 1:
        raise _Rejected("the token is limited to two cursors, so that none is left")
    if action == "operate" and any(caveats[name] for name in ("live", "since", "cursor")):
        raise _Rejected("the token shows only a part of the messages, and this path is for operators, who see all")
