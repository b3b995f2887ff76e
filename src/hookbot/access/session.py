"""Sessions of the console: one to four narrowed tokens with an end, which a browser keeps in a cookie.

The hub stores nothing: a session ends with its tokens, when they expire, are revoked, or the hub drops their key. Only
paths beneath ``/hookbot/`` take it, and changes need a proof that a page of this hub asks for them.
"""

import re
from collections.abc import Sequence
from contextlib import suppress

from ..errors import Forbidden, Refused, as_refusal
from ..protocol.message import Headers
from ..protocol.request import Request
from ..protocol.response import CONSOLE
from .authorizer import Action, Authorizer
from .narrowed_tokens import NarrowedToken
from .tokens import MAX_TOKENS, Digest

SESSION_S = 12 * 3600
# Browsers take cookies of 4 KiB, with name and attributes.
MAX_BYTES = 3800
# With the prefix, a browser takes it only over TLS, and from no other host (draft-ietf-httpbis-rfc6265bis, 4.1.3.2).
COOKIES = ("__Host-hookbot", "hookbot")
_ONLY_OWN = "the session of the console is only for its own pages; anything else needs a token"
_BETWEEN = "."
# A comma is between the fields of a repeated header (HTTP/2 may divide this one).
_SEPARATOR = re.compile(r"[;,]")
_COMMON = ("/", "/hookbot/v1/", "/sub/", "/unsafe/sub/", "/pub/", "/unsafe/pub/")
_ACTIONS: tuple[Action, ...] = ("operate", "subscribe", "publish")


def session_tokens(request: Request) -> Sequence[str]:
    """Tokens of the session in a request beneath ``/hookbot/``; none if there is no session."""
    if not request.raw_path.startswith(b"/hookbot/"):
        return ()
    # Not by `http.cookies`: that gives up at a cookie of another service, and takes quadratic time for some.
    pairs = (pair.strip().partition("=") for pair in _SEPARATOR.split(request.header("cookie")))
    cookies = {name: value for name, _, value in pairs if name in COOKIES}
    # Other services of this host, on another port or name, can set one, but not that with the prefix.
    value = next((cookies[name] for name in COOKIES if name in cookies), "")
    return [token for token in value.split(_BETWEEN, MAX_TOKENS)[:MAX_TOKENS] if token]


def join_session(tokens: Sequence[str]) -> str:
    """The value of the cookie with these tokens. Raises `Refused` if there are too many, or they are too long."""
    value = _BETWEEN.join(dict.fromkeys(tokens))
    if len(set(tokens)) > MAX_TOKENS or len(value) > MAX_BYTES:
        raise Refused(f"a session has at most {MAX_TOKENS} tokens, of {MAX_BYTES} characters together; sign out first")
    return value


def session_fields(request: Request) -> Headers:
    """Header fields with which another hub of the family takes the session of a request that this one has admitted."""
    if not (tokens := session_tokens(request)):
        return ()
    return ("Cookie", f"{COOKIES[1]}={_BETWEEN.join(tokens)}"), ("Sec-Fetch-Site", "same-origin"), (CONSOLE, "1")


def check_same_origin(request: Request, public_url: str) -> None:
    """Raise `Forbidden` unless a page of this hub has sent the request; the hub is also known by its public URL.

    Browsers tell it in ``Sec-Fetch-Site`` (Fetch Metadata Request Headers, 2.3), over plain HTTP only in ``Origin``.
    """
    told = request.header("sec-fetch-site") or request.header("origin")
    # None: somebody has typed the address, or opened a bookmark.
    if told in ("", "none"):
        raise Forbidden(_ONLY_OWN)
    check_not_foreign(request, public_url)


def check_not_foreign(request: Request, public_url: str) -> None:
    """Raise `Forbidden` if a page of another origin has sent the request, as far as the browser tells.

    A page on another port of the same host counts as the same site, so that a browser adds the cookie. It could not
    read the answer, but draw an image, or learn from the time it takes what is found.
    """
    site = request.header("sec-fetch-site")
    own = {"/".join(public_url.lower().split("/")[:3])}
    if site not in ("same-origin", "none") if site else request.is_foreign(own):
        raise Forbidden(_ONLY_OWN)


def check_asked_by_page(request: Request, public_url: str) -> None:
    """Raise `Forbidden` unless a module of a page of this hub has sent the request."""
    check_same_origin(request, public_url)
    if request.header(CONSOLE) != "1":
        raise Forbidden("with the session of the console, a change needs the header Hookbot-Console: 1")


def open_session(authorizer: Authorizer, token: str, path: str, *, now_s: float) -> str | None:
    """The token narrowed to a session's time; None if it is not valid.

    A plain token does not tell what it is for: `path` does, or it is one for all topics or for operators. Raises
    `Refused` if it cannot be narrowed.
    """
    if not authorizer.may_open(token):
        return None
    own = _path_of(authorizer, token, path, now_s)
    if own is None:
        return None
    with as_refusal():
        return NarrowedToken.read(token, own).narrow("session", str(int(now_s + SESSION_S))).text()


def add_to_session(authorizer: Authorizer, tokens: Sequence[str], token: str, *, now_s: float) -> Sequence[str]:
    """The tokens of a session that are valid, and one more, in place of any that was made of the same one."""
    kept = []
    for one in tokens:
        # Those of a session are narrowed, but a cookie may hold anything.
        with suppress(ValueError):
            if _signed_in_with(one) != _signed_in_with(token) and _path_of(authorizer, one, "", now_s) is not None:
                kept.append(one)
    return [*kept, token]


def signed_in_with(token: str, key: str) -> NarrowedToken:
    """The token that somebody signed in with, made anew from its `key`: a session's token without the session's end.

    A cookie may hold any other token as well: that is the one signed in with, whatever it ends in. Raises `ValueError`
    for a plain one.
    """
    return NarrowedToken.made_with(key, *_signed_in_with(token))


def _signed_in_with(token: str) -> tuple[Digest, str, Sequence[str]]:
    """Digest, path and caveats of the token that somebody signed in with. Raises `ValueError` for a plain one."""
    narrowed = NarrowedToken.parse(token)
    *caveats, last = narrowed.caveats or ("",)
    return narrowed.digest, narrowed.path, tuple(caveats) if last.startswith("session=") else narrowed.caveats


def _path_of(authorizer: Authorizer, token: str, path: str, now_s: float) -> str | None:
    """Path that a valid token was made for; None if it is not valid, or a plain one for neither `path` nor a common."""
    known = [path, *_COMMON] if path else list(_COMMON)
    with suppress(ValueError):
        known.append(NarrowedToken.parse(token).narrowest)
    grants = (authorizer.grant(token, one, action, now_s=now_s) for one in known for action in _ACTIONS)
    return next((grant.path for grant in grants if grant), None)
