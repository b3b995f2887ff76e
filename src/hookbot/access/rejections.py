"""Reasons for which a request has no valid token, told to whoever sent it.

A reason says only what the request itself shows, and of a genuine token what its holder may know: which path it is for,
and how it was restricted. Of any other, it says that it is none: nobody learns from it which tokens or names exist.
"""

import re
from collections.abc import Collection, Iterator, Sequence

from ..protocol.paths import path_to, split_path
from ..protocol.request import Request
from .tokens import DIGESTS, Digest, find_opening

_DIGITS = frozenset("0123456789abcdef")
# Plain tokens are hexadecimal, narrowed ones base64url.
_NOT_IN_TOKENS = re.compile(r"[^A-Za-z0-9_-]")


def missing_token(request: Request) -> str:
    """Reason for a request in which `find_tokens` finds no token: it has none, or it has one in the wrong place."""
    sent = request.sent("authorization")
    if sent is None:
        if request.method != "GET" and "token=" in request.query:
            return "a token in the query counts only in a GET; send it as the user name, or as 'Authorization: Bearer'"
        return "there is no token; send one as the user name in the URL, or as 'Authorization: Bearer TOKEN'"
    scheme, _, credentials = sent.partition(" ")
    if scheme.lower() not in ("basic", "bearer"):
        # Not shown: without a scheme, this is the token itself.
        return "the header Authorization has to begin with 'Bearer' or 'Basic', followed by a space and the token"
    if scheme.lower() == "basic" and credentials.strip():
        return "the Basic credentials have no token as their user name, or are not base64"
    return f"the header Authorization has nothing after {scheme.title()!r}"


def plain_rejection(token: str, keys: Sequence[str], path: str, digests: Collection[Digest]) -> str:
    """Reason for which a token that is not a genuine narrowed one does not open `path`."""
    digest = next((digest for digest, length in DIGESTS.items() if length == len(token)), None)
    if foreign := _NOT_IN_TOKENS.search(token):
        return f"the token contains {foreign[0]!a}, which no token does: remove what is not a part of it"
    if digest is None or not _DIGITS.issuperset(token.lower()):
        return "the token is malformed or was not made by this hub; was all of it copied?"
    if not _DIGITS.issuperset(token):
        return "the token has capital letters; the digits of a token are 0-9 and a-f"
    if digest not in digests:
        return f"this hub takes no tokens of {len(token)} digits ({digest})"
    for near in _near(path):
        for key in keys:
            if (made_for := find_opening(token, key, near, digests)) is not None:
                return f"the token is for {made_for[:100]!r}"
    return f"the token is for another path than {path[:100]!r}, or made with another key"


def _near(path: str) -> Iterator[str]:
    """Paths that are easily mistaken for `path`: of the other action, and with or without a slash at the end."""
    for similar in (path, path[:-1] if path.endswith("/") else f"{path}/"):
        yield similar
        action, topic = split_path(similar)
        if action:
            yield path_to("subscribe" if action == "publish" else "publish", topic)
