"""Plain tokens: the HMAC of a path opens that path.

A token is the lower-case hex HMAC of the decoded path under the hub's key: HMAC-SHA1 as in the ancestor
(40 digits), or HMAC-SHA256 (64 digits). A token for a path that ends in ``/`` opens everything beneath it; a token
for a path without the leading ``/pub`` or ``/sub`` opens both. It never expires; one narrowed from it may
(`hookbot.access.narrowed_tokens`).
"""

import hmac
from binascii import a2b_base64
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from typing import Literal

from ..protocol.request import Request
from ..protocol.subscribe import offered_subprotocols

Digest = Literal["sha1", "sha256"]
DIGESTS: dict[Digest, int] = {"sha1": 40, "sha256": 64}
"""Kinds of plain tokens, and the number of hexadecimal digits of each."""
TOKEN_PROTOCOL = "hookbot.token."  # noqa: S105 - a prefix, not a token

MAX_TOKENS = 4
"""Number of tokens that one request may show: each is checked at up to a thousand prefixes of a path, before anybody
knows the client."""


def find_tokens(request: Request) -> Sequence[str]:
    """Tokens of a request: Bearer, Basic user name, and of a GET the websocket subprotocol and ``?token=``.

    Those beyond `MAX_TOKENS` do not count. Raises `Refused` if the query of such a GET repeats a parameter with another
    value.
    """
    scheme, _, credentials = request.header("authorization").partition(" ")
    tokens = []
    if scheme.lower() == "bearer":
        tokens.append(credentials.strip())
    elif user := basic_credentials(request)[0]:
        tokens.append(user)
    if request.method == "GET":
        offered = offered_subprotocols(request)
        tokens += [protocol.removeprefix(TOKEN_PROTOCOL) for protocol in offered if protocol.startswith(TOKEN_PROTOCOL)]
        if "token=" in request.query:
            tokens.append(request.parameters.get("token", ""))
    return tokens[:MAX_TOKENS]


def basic_credentials(request: Request) -> tuple[str, str]:
    """User name and password of Basic credentials (RFC 7617); both are empty if there are none, or no valid ones."""
    scheme, _, credentials = request.header("authorization").partition(" ")
    if scheme.lower() == "basic":
        with suppress(ValueError):
            user, _, password = a2b_base64(credentials.strip(), strict_mode=True).decode("latin-1").partition(":")
            return user, password
    return "", ""


def make_token(key: str, path: str, digest: Digest = "sha1") -> str:
    """Token that opens `path` (decoded, without query) and, if it ends in ``/``, everything beneath it."""
    return hmac.new(_bytes(key), _bytes(path), digest).hexdigest()


def find_opening(token: str, key: str, path: str, digests: Collection[Digest]) -> str | None:
    """Path that `token` was made for, among those that open `path`, or None. Comparisons take constant time.

    The length of a token determines its digest; a token of any other length is rejected without an HMAC.
    """
    given = token.encode("utf-8", "replace")
    for digest in digests:
        if DIGESTS[digest] == len(given):
            # Keyed once and copied, since hashing the key costs as much as hashing a path.
            keyed = hmac.new(_bytes(key), digestmod=digest)
            for opening in opening_paths(path):
                made = keyed.copy()
                made.update(_bytes(opening))
                if hmac.compare_digest(given, made.hexdigest().encode()):
                    return opening
    return None


def opening_paths(path: str) -> Iterator[str]:
    """Paths whose tokens open `path`: itself, its prefixes ending in ``/``, and these without ``/pub`` or ``/sub``."""
    yield from _prefixes(path)
    for segment in ("/pub/", "/sub/"):
        if path.startswith(segment):
            yield from _prefixes(path[len(segment) - 1 :])


def _prefixes(path: str) -> Iterator[str]:
    end = path.find("/")
    while end >= 0:
        yield path[: end + 1]
        end = path.find("/", end + 1)
    if not path.endswith("/"):
        yield path


def _bytes(text: str) -> bytes:
    """Original bytes of a key or path, which Python decoded from the environment or command line (PEP 383)."""
    return text.encode("utf-8", "surrogateescape")
